// npm run build [-- WORKSPACE…]: builds every workspace, or the named ones and what they need.

import { build } from "./lib.mjs";

await build(...process.argv.slice(2));
