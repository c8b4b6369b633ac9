// Builds the addon, the parameter structs with it, and writes the table of operations and their kernels in the docs.
// Run with: npm run generate -w @figment/tensor

import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const table = "packages/tensor/docs/operations.md";
const root = fileURLToPath(new URL("../../../", import.meta.url));
const { status, stdout, stderr } = spawnSync("npm", ["run", "build", "-w", "@figment/native"], {
  cwd: root,
  encoding: "utf8",
  shell: process.platform === "win32",
});
if (status !== 0) {
  console.error(`${stdout}${stderr}\nThe addon could not be built, so ${table} was not written.`);
  process.exit(1);
}
const { operationTable } = await import("../dist/program/operations.js");
writeFileSync(`${root}${table}`, operationTable());
console.log(`wrote ${table}`);
