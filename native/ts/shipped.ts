// Files that the package brings besides the addon.

import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

/** The table of measurements that chooses kernels where this machine has measured none itself. */
export const shippedTuning: string = fileURLToPath(new URL("../tuning.json", import.meta.url));

/** Of this package; kernels of one version are not those of another. */
export const nativeVersion: string = createRequire(import.meta.url)("../package.json").version;
