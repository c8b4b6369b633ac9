// npm run tune [-- --recipes]: measures this machine's part of the table of kernels that is shipped, native/tuning.json.

import { readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { build, fail, root, run } from "./lib.mjs";

const table = join(root, "native", "tuning.json");
const unknown = process.argv.slice(2).filter((option) => option !== "--recipes");
if (unknown.length > 0) fail(`unknown option ${unknown[0]}; there is --recipes`);

await build("figment", "@figment/benchmarks");
const { loadBinding } = await import(join(root, "native", "dist", "index.js"));
const { family, isa } = loadBinding().cpu();
const old = JSON.parse(readFileSync(table, "utf8"));
const others = old.machines.filter(({ machine }) => machine.family !== family || machine.isa !== isa);
writeFileSync(table, `${JSON.stringify({ ...old, machines: others }, null, 2)}\n`);

const node = (env, ...args) => {
  const code = run(process.execPath, args, { FIGMENT_TUNE_FILE: table, ...env });
  if (code !== 0) process.exit(code);
};
node({}, join(root, "packages", "figment", "bin", "figment.js"), "tune", "--all");
if (process.argv.includes("--recipes")) process.exit();
for (const suite of ["kernels", "operations", "models"]) {
  const options = ["--suite", suite, "--peers", "none", "--quick", "--threads", String(availableParallelism())];
  node({ FIGMENT_TUNE: "1" }, join(root, "scripts", "bench.mjs"), ...options);
}
