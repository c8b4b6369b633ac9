// npm run clean: removes what builds and tests leave behind; node_modules and results stay.

import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { root } from "./lib.mjs";

const packages = readdirSync(join(root, "packages")).map((name) => join("packages", name));
const outputs = ["native", "cuda", "benchmarks", ...packages].flatMap((folder) => [
  join(folder, "dist"),
  join(folder, "build"),
  join(folder, ".turbo"),
]);
for (const path of [
  ...outputs,
  join("native", "lib"),
  join("cuda", "lib"),
  join("native", "src", "kernels", "params"),
  "test-results",
  ".turbo",
  join("node_modules", ".cache"),
]) {
  rmSync(join(root, path), { recursive: true, force: true });
}
