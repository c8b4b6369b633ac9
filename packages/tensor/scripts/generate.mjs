// Writes what is generated from the definitions of operations: the C++ parameter structs, then, from an addon built with
// them, the table in the docs. Run with: npm run generate -w @figment/tensor

import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { generatedHeaders } from "../dist/program/header.js";

const root = fileURLToPath(new URL("../../../", import.meta.url));

function write(path, text) {
  writeFileSync(`${root}${path}`, text);
  console.log(`wrote ${path}`);
}

const params = "native/src/kernels/params";
rmSync(`${root}${params}`, { recursive: true, force: true });
mkdirSync(`${root}${params}`);
for (const [name, text] of generatedHeaders()) write(`${params}/${name}`, text);

const shell = process.platform === "win32";
const { status, stdout, stderr } = spawnSync("npm", ["run", "build", "-w", "@figment/native"], {
  cwd: root,
  encoding: "utf8",
  shell,
});
if (status !== 0) {
  console.error(`${stdout}${stderr}\nThe addon could not be built, so docs/operations.md was not written.`);
  process.exit(1);
}
const { operationTable } = await import("../dist/program/operations.js");
write("docs/operations.md", operationTable());
