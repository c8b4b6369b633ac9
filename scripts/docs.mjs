// npm run docs: writes the API reference, one Markdown page for each package, from the documentation comments in the
// declarations that the build has emitted. `-- --out FOLDER` writes elsewhere than docs/api. TypeScript 7 has no compiler API in
// JavaScript; declarations are regular enough for the parser that the bundler brings.

import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { packagesIn } from "./docs/declarations.mjs";
import { indexPage, packagePage } from "./docs/pages.mjs";
import { fail, root } from "./lib.mjs";

const [flag, folder] = process.argv.slice(2);
if (flag !== undefined && (flag !== "--out" || folder === undefined)) fail("usage: npm run docs [-- --out FOLDER]");
const out = resolve(folder ?? join(root, "docs", "api"));

const packages = packagesIn(join(root, "packages"));
const pageOf = new Map(packages.flatMap(({ page, entries }) => entries.map(({ name }) => [name, page])));
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
writeFileSync(join(out, "README.md"), indexPage(packages));
for (const one of packages) writeFileSync(join(out, one.page), packagePage(one, pageOf));
console.log(
  `${packages.reduce((sum, { entries }) => sum + entries.length, 0)} entries in ${packages.length} pages: ${out}`,
);
