// Where this user's programs keep what they can make again.

import os from "node:os";
import path from "node:path";

/** Figment's cache folder: in $XDG_CACHE_HOME where that is set, else in .cache of the user's folder. */
export const cacheFolder = (): string =>
  path.join(process.env.XDG_CACHE_HOME || path.join(os.homedir(), ".cache"), "figment");
