// The peers that are npm packages: installed on demand into benchmarks/peers, which has its own lockfile. Install steps are
// skipped: onnxruntime-node's would download GPU libraries, and its CPU one is in the package.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("../../peers/", import.meta.url));
const require = createRequire(`${folder}package.json`);

/** A package's module, installed first where it is missing. @throws when it cannot be. */
export function loadPackage(name: string): unknown {
  if (!existsSync(`${folder}node_modules/${name}`)) {
    process.stderr.write("Installing the peers into benchmarks/peers …\n");
    const npm = spawnSync("npm", ["ci", "--ignore-scripts"], {
      cwd: folder,
      encoding: "utf8",
      shell: process.platform === "win32",
    });
    if (npm.status !== 0) throw new Error(`npm ci in benchmarks/peers failed: ${(npm.stderr ?? "").split("\n")[0]}`);
  }
  return require(name);
}

export const packageVersion = (name: string): string =>
  (require(`${name}/package.json`) as { version: string }).version;

/** Where a package lies, with the separator at the end. */
export const packageFolder = (name: string): string => `${folder}node_modules/${name}/`;
