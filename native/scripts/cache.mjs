// What CMake remembers of a build names its folder. In a checkout that was moved or copied CMake refuses to build by it.

import { readFileSync, realpathSync, rmSync } from "node:fs";
import { join } from "node:path";

/** Forgets what CMake remembers in `folder` of a build in another one. */
export function forgetMoved(folder) {
  const cache = join(folder, "CMakeCache.txt");
  const remembered = read(cache)?.match(/^CMAKE_CACHEFILE_DIR:INTERNAL=(.*)$/m)?.[1];
  if (remembered === undefined || isSame(remembered, folder)) return;
  console.error(`This checkout was built at ${remembered}: building it anew.`);
  rmSync(cache);
  rmSync(join(folder, "CMakeFiles"), { recursive: true, force: true });
}

function read(file) {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
}

function isSame(one, other) {
  try {
    return realpathSync(one) === realpathSync(other);
  } catch {
    return false; // the folder is there no more
  }
}
