// How files are opened that may turn out to be none.

import { constants } from "node:fs";

/**
 * The flag with which a path is opened for reading that may name a pipe: without it, opening one that nobody writes to never
 * ends. With it, such a pipe reads as empty.
 *
 * @example
 * const readText = (path: string) => readFile(path, { encoding: "utf8", flag: withoutWaiting });
 * typeof readText; // "function"
 */
export const withoutWaiting: number = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);
