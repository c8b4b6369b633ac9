// What all that reads or writes files asks of its paths.

import { show, UsageError } from "@figment/tensor";

/**
 * Checks that an argument is a path.
 *
 * @param owner whose argument it is; the message begins with it.
 * @throws UsageError naming the argument and what it is.
 * @example
 * checkPath("loadNotes", "path", "notes.txt");
 */
export function checkPath(owner: string, name: string, path: unknown): asserts path is string {
  if (typeof path !== "string" || path === "")
    throw new UsageError(`${owner}: expected a path as ${name}, got ${show(path)}`);
  if (path.includes("\0")) throw new UsageError(`${owner}: a path has no NUL characters, got ${JSON.stringify(path)}`);
}
