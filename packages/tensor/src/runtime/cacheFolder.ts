// Where this user's programs keep what they can make or fetch again.

import { lstatSync } from "node:fs";
import { homedir, tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { UsageError } from "../errors.js";
import { show } from "../shape.js";

/**
 * Figment's cache folder, or one in it: in XDG_CACHE_HOME where that is set, else in .cache of the user's folder, or of one
 * among temporary files where the system knows none. Nothing is made.
 *
 * @throws UsageError for a part that is no string.
 * @example
 * console.log(cacheFolder("data"));
 */
export const cacheFolder = (...inside: readonly string[]): string => {
  for (const part of inside) {
    if (typeof part !== "string") throw new UsageError(`cacheFolder: expected a path as inside, got ${show(part)}`);
  }
  return join(process.env.XDG_CACHE_HOME || join(userFolder(), ".cache"), "figment", ...inside);
};

/** The user's folder. Containers run as numbers that no user has, and some set HOME to nothing: then one among temporary files. */
function userFolder(): string {
  try {
    return homedir() || userInfo().homedir;
  } catch {
    const folder = join(tmpdir(), `figment-user-${process.getuid?.() ?? 0}`);
    // Whoever made it first could put anything in it.
    return isOwn(folder) ? folder : `${folder}-${process.pid}`;
  }
}

/** Whether a folder is this user's, or is not there yet. */
function isOwn(folder: string): boolean {
  const there = lstatSync(folder, { throwIfNoEntry: false });
  return there === undefined || (there.isDirectory() && there.uid === process.getuid?.());
}
