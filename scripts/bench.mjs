// npm run bench [-- ARGS]: builds the benchmarks and runs them; `npm run bench -- --help` lists the arguments.

import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build, root } from "./lib.mjs";

await build("@figment/benchmarks");
const command = join(root, "benchmarks", "dist", "main.js");
process.argv = [process.argv[0], command, ...process.argv.slice(2)];
process.setSourceMapsEnabled(true);
await import(pathToFileURL(command).href);
