// Writes what is generated from the definitions of operations: the C++ parameter structs and the table in the docs.
// Run with: npm run generate -w @figment/tensor, and after a change of the kernels npm run build before it.

import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { generatedHeader } from "../dist/program/header.js";

function write(path, text) {
  const target = fileURLToPath(new URL(`../../../${path}`, import.meta.url));
  writeFileSync(target, text);
  console.log(`wrote ${target}`);
}

write("native/src/kernels/params.generated.h", generatedHeader());
// Loads the addon, which a new operation's kernels may not have been built into yet.
try {
  const { operationTable } = await import("../dist/program/operations.js");
  write("docs/operations.md", operationTable());
} catch (error) {
  console.error(`docs/operations.md was not written: ${error.message}\nBuild the addon and generate again.`);
  process.exitCode = 1;
}
