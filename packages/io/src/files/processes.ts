// Which processes there are: files that name their writer are believed as long as it lives.

import { readFileSync } from "node:fs";
import { show, UsageError } from "@figment/tensor";

/**
 * Whether a process of this machine is running. On Linux one that has ended, and whose parent has not asked how (a zombie),
 * is not.
 *
 * @throws UsageError for what is no number of a process: an integer of at least 1.
 * @example
 * isRunning(process.pid); // true
 */
export function isRunning(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid < 1)
    throw new UsageError(`isRunning: expected the number of a process as pid, got ${show(pid)}`);
  try {
    process.kill(pid, 0);
  } catch (error) {
    // A process of somebody else cannot be signalled, but is there.
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return false;
  }
  return !ended.includes(processFields(pid)[0] ?? "");
}

/** States of proc(5) in which a process runs no more: a zombie, and one that is being taken away. */
const ended: readonly string[] = ["Z", "X"];

/** Where {@link processFields} have `starttime`. */
const startField = 19;

/**
 * The moment at which a process began, in the system's own count, where it tells: numbers of processes come again.
 *
 * @example
 * startOfProcess(process.pid) === startOfProcess(process.pid); // true
 */
export const startOfProcess = (pid: number): string | undefined => processFields(pid)[startField];

/** What proc(5) says of a process, from the field after the command's name on; nothing on other systems. */
function processFields(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
  } catch {
    return [];
  }
}
