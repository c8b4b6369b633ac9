#!/usr/bin/env node
// What npm links as `figment`: in git, since npm links nothing that is not there before the first build.

import { existsSync } from "node:fs";

const command = new URL("../dist/cli.js", import.meta.url);
if (existsSync(command)) {
  await import(command.href);
} else {
  process.stderr.write("figment: not built yet; run `npm run build`\n");
  process.exitCode = 1;
}
