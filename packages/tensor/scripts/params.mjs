// Writes the C++ headers that mirror the parameter structs of native operations into a folder, removing others. Files that
// are right already stay untouched, so that nothing is compiled again for them. Run by the build of @figment/native, which
// builds this package's JavaScript before: node params.mjs FOLDER

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

// The timeline would open the addon, which is about to be built.
delete process.env.FIGMENT_PROFILE;
const { generatedHeaders } = await import("../dist/program/header.js");

const [folder] = process.argv.slice(2);
const headers = generatedHeaders();
mkdirSync(folder, { recursive: true });
for (const name of readdirSync(folder)) if (!headers.has(name)) rmSync(join(folder, name));
for (const [name, text] of headers) {
  const path = join(folder, name);
  if (!existsSync(path) || readFileSync(path, "utf8") !== text) writeFileSync(path, text);
}
