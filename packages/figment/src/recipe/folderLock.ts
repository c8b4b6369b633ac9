// One run at a time in a folder: two would remove each other's checkpoints and mix their logs. A file names the process that
// has the folder; one that was killed has it no longer.

import { readFileSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import path from "node:path";
import { DataError } from "@figment/io";
import { UsageError } from "@figment/tensor";

const lockName = "run.lock";

/** The folders that this process has. */
const held = new Set<string>();

/**
 * Takes a folder for a run; the result gives it back. Processes of other machines and containers are not seen.
 *
 * @throws UsageError when a run of this machine has it.
 * @throws DataError when nothing can be written there.
 */
export function lockFolder(folder: string): { release(): Promise<void> } {
  const file = path.resolve(folder, lockName);
  const owner = ownerOf(file);
  if (owner !== undefined)
    throw new UsageError(
      `${folder}: another run is writing there (process ${owner}); wait for its end, or name another folder by --out`,
    );
  try {
    writeFileSync(file, identity(process.pid));
  } catch (cause) {
    throw new DataError(`${file}: cannot be written: ${(cause as Error).message}`, { path: file, cause });
  }
  held.add(file);
  const release = async (): Promise<void> => {
    held.delete(file);
    await rm(file, { force: true });
  };
  return { release };
}

/** The living process that a lock names, if there is one. */
function ownerOf(file: string): number | undefined {
  const text = readText(file);
  const pid = Number.parseInt(text, 10);
  if (!(pid > 0) || !isRunning(pid) || text !== identity(pid)) return undefined;
  return pid !== process.pid || held.has(file) ? pid : undefined;
}

/** A process by its number and, where the system tells, the moment of its start: numbers come again. */
function identity(pid: number): string {
  const fields = readText(`/proc/${pid}/stat`).split(") ").at(-1)?.split(" ") ?? [];
  return [pid, fields[startField]].join(" ").trim();
}

/** Where proc(5) has `starttime`, counted from the field after the command's name. */
const startField = 19;

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // A process of somebody else cannot be signalled, but is there.
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
