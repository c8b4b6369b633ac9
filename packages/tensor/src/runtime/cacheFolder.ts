// Where this user's programs keep what they can make or fetch again.

import { homedir } from "node:os";
import { join } from "node:path";
import { UsageError } from "../errors.js";
import { show } from "../shape.js";

/**
 * Figment's cache folder, or one in it: in XDG_CACHE_HOME where that is set, else in .cache of the user's folder. Nothing is
 * made.
 *
 * @throws UsageError for a part that is no string.
 * @example
 * console.log(cacheFolder("data"));
 */
export const cacheFolder = (...inside: readonly string[]): string => {
  for (const part of inside) {
    if (typeof part !== "string") throw new UsageError(`cacheFolder: expected a path as inside, got ${show(part)}`);
  }
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "figment", ...inside);
};
