// Where this user's programs keep what they can make again.

import os from "node:os";
import path from "node:path";

/** Figment's cache folder: below $XDG_CACHE_HOME where it is an absolute path, else where the platform has its caches. */
export function cacheFolder(): string {
  const { XDG_CACHE_HOME: chosen, LOCALAPPDATA: windows } = process.env;
  if (chosen && path.isAbsolute(chosen)) return path.join(chosen, "figment");
  if (process.platform === "win32") return path.join(windows ?? path.join(os.homedir(), "AppData", "Local"), "figment");
  if (process.platform === "darwin") return path.join(os.homedir(), "Library", "Caches", "figment");
  return path.join(os.homedir(), ".cache", "figment");
}
