// One run at a time in a folder: two would remove each other's checkpoints and mix their logs. A file names the process that
// has the folder; one that was killed has it no longer.

import { closeSync, existsSync, openSync, readSync, rmSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import path from "node:path";
import { DataError, isRunning, startOfProcess, withoutWaiting } from "@figment/io";
import { UsageError } from "@figment/tensor";

const lockName = "run.lock";

/** The folders that this process has. */
const held = new Set<string>();

/** Bytes of the file that are read, more than two numbers take: what lies there in its place, such as a device, may have no end. */
const longestText = 64;

/** How long one that has made the file may take to write its name into it, and how often others look, milliseconds. */
const longestWriting = 200;
const pollEvery = 5;

/**
 * Takes a folder for a run; the result gives it back. Processes of other machines and containers are not seen.
 *
 * @throws UsageError when a run of this machine has it.
 * @throws DataError when nothing can be written there, or what is there cannot be read.
 */
export function lockFolder(folder: string): { release(): Promise<void> } {
  const file = path.resolve(folder, lockName);
  while (!take(file)) {
    const text = writtenIn(file);
    const owner = ownerOf(file, text);
    if (owner !== undefined)
      throw new UsageError(
        `${folder}: another run is writing there (process ${owner}); wait for its end, or name another folder by --out`,
      );
    removeStale(file, text);
  }
  held.add(file);
  const release = async (): Promise<void> => {
    held.delete(file);
    await rm(file, { force: true });
  };
  return { release };
}

/** Makes the file, which only one can; false where it is there. */
function take(file: string): boolean {
  try {
    writeFileSync(file, identity(process.pid), { flag: "wx" });
    return true;
  } catch (cause) {
    if (codeOf(cause) === "EEXIST") return false;
    throw notWritten(file, cause);
  }
}

/** What the file says: it is made before it is written, and nothing is in it where its maker was killed in between. */
function writtenIn(file: string): string {
  for (const end = Date.now() + longestWriting; ; Atomics.wait(sleeper, 0, 0, pollEvery)) {
    const text = readText(file);
    if (text !== "" || Date.now() > end) return text;
  }
}

/** The living process that a lock names, if there is one. */
function ownerOf(file: string, text: string): number | undefined {
  const pid = Number.parseInt(text, 10);
  if (!Number.isSafeInteger(pid) || pid < 1 || !isRunning(pid) || text !== identity(pid)) return undefined;
  // Where the moment of its start is not known, the number of this process may be that of an earlier one.
  return pid !== process.pid || held.has(file) || startOfProcess(pid) !== undefined ? pid : undefined;
}

/**
 * Removes a lock that names nobody. Only who has made a second file may, and looks again then: what another has taken in
 * between stays, and at no moment is its file away.
 */
function removeStale(file: string, text: string): void {
  const turn = `${file}.turn`;
  if (!take(turn)) {
    // One that was killed in its turn has it no longer.
    const there = existsSync(turn);
    const holder = ownerOf(turn, writtenIn(turn));
    if (there && holder === undefined) rmSync(turn, { force: true });
    else Atomics.wait(sleeper, 0, 0, pollEvery);
    return;
  }
  try {
    // There before it is read: else an empty text may be of one that is being made.
    if (existsSync(file) && writtenIn(file) === text) rmSync(file, { force: true });
  } catch (cause) {
    throw cause instanceof DataError ? cause : notWritten(file, cause);
  } finally {
    rmSync(turn, { force: true });
  }
}

/** A process by its number and, where the system tells, the moment of its start: numbers come again. */
const identity = (pid: number): string => [pid, startOfProcess(pid)].join(" ").trim();

/** Nothing where there is no file. One that cannot be read may be of a run of somebody else. */
function readText(file: string): string {
  try {
    const descriptor = openSync(file, withoutWaiting);
    try {
      const bytes = Buffer.alloc(longestText);
      return bytes.toString("utf8", 0, readSync(descriptor, bytes));
    } finally {
      closeSync(descriptor);
    }
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return "";
    throw new DataError(`${file}: cannot be read: ${(cause as Error).message}`, { path: file, cause });
  }
}

const notWritten = (file: string, cause: unknown): DataError =>
  new DataError(`${file}: cannot be written: ${(cause as Error).message}`, { path: file, cause });

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

const sleeper = new Int32Array(new SharedArrayBuffer(4));
