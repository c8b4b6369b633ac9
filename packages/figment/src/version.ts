// What the package says of itself in its package.json.

import { readFileSync } from "node:fs";

const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
  dependencies: Readonly<Record<string, string>>;
};

/** Version of the figment package. */
export const { version } = manifest;

/** The packages that figment re-exports. */
export const parts: readonly string[] = Object.keys(manifest.dependencies).filter(
  (name) => name.startsWith("@figment/") && name !== "@figment/native",
);
