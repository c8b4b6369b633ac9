// Joins the modules of the package in the current folder into dist/bundle.js, which is what users import: loading hundreds
// of small files takes Node longer than running them. Tests, which look inside, import the modules themselves through the
// condition "figment-modules" (vitest.config.ts). Other packages stay imports.

import { rolldown } from "rolldown";

const isOutside = (id) => !id.startsWith(".") && !id.startsWith("/") && !/^[A-Za-z]:\\/.test(id);

const bundle = await rolldown({ input: "dist/index.js", external: isOutside });
// Errors, signatures and checkpoints speak of classes by name.
await bundle.write({ file: "dist/bundle.js", format: "esm", sourcemap: true, keepNames: true });
await bundle.close();
