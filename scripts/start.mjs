// npm start [-- ARGS]: builds what the main job needs, then runs `figment train first-light ARGS` in this process,
// so that Ctrl-C and the exit code are the command's own.

import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build, root } from "./lib.mjs";

await build("figment");
const command = join(root, "packages", "figment", "dist", "cli.js");
process.argv = [process.argv[0], command, "train", "first-light", ...process.argv.slice(2)];
process.setSourceMapsEnabled(true);
await import(pathToFileURL(command).href);
