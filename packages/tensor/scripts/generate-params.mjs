// Writes native/src/kernels/params.generated.h from the op schemas and the elementwise opcodes.
// Run with: npm run generate -w @figment/tensor (after a build).

import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { generatedHeader } from "../dist/program/header.js";

const target = fileURLToPath(new URL("../../../native/src/kernels/params.generated.h", import.meta.url));
writeFileSync(target, generatedHeader());
console.log(`wrote ${target}`);
