// Files of measurements. Readers see a whole file or none: a new one takes the old one's name once it is written. Writers
// take turns by a lock beside the file, so that none loses what another has added.

import { closeSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { UsageError } from "../../errors.js";
import { type MachineTable, merge, parseTable, type TuningMachine, tableText } from "./table.js";

/** After which time a lock was left behind by a writer that was killed, and how long others wait, milliseconds: for longer. */
const staleAfter = 3000;
const longestWait = 5000;
const pollEvery = 10;

const warned = new Set<string>();

/** Says once per file what is wrong with it. */
function warn(file: string, problem: string): void {
  if (warned.has(file)) return;
  warned.add(file);
  process.emitWarning(`${file}: ${problem}`, "FigmentTuningWarning");
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException | undefined)?.code;

/** The machines in a file. Throws UsageError, naming it, where it cannot be used. */
export function parseFile(file: string): MachineTable[] {
  try {
    return parseTable(readFileSync(file, "utf8"));
  } catch (cause) {
    throw new UsageError(`${file}: ${reasonOf(cause)}`, { cause });
  }
}

/** The machines in a file; none where there is no file; undefined, with a warning, where it cannot be used. */
export function readTable(file: string): MachineTable[] | undefined {
  try {
    return parseTable(readFileSync(file, "utf8"));
  } catch (error) {
    if (codeOf(error) === "ENOENT") return [];
    warn(file, `this file of measurements is ignored: ${reasonOf(error)}. Remove it to measure anew`);
    return undefined;
  }
}

/** Adds measurements to a file. One that cannot be used stays as it is; where nothing can be written a warning says so. */
export function addToTable(file: string, machine: TuningMachine, calls: MachineTable["calls"]): void {
  const lock = `${file}.lock`;
  try {
    mkdirSync(dirname(file), { recursive: true });
    takeLock(lock);
  } catch (error) {
    warn(file, `measurements are not kept: ${reasonOf(error)}`);
    return;
  }
  const fresh = `${file}.${process.pid}.${Math.random().toString(36).slice(2)}`;
  try {
    const machines = readTable(file);
    if (!machines) return;
    writeFileSync(fresh, tableText(merge(machines, machine, calls)));
    renameSync(fresh, file);
  } catch (error) {
    rmSync(fresh, { force: true });
    warn(file, `measurements are not kept: ${reasonOf(error)}`);
  } finally {
    rmSync(lock, { force: true });
  }
}

const sleeper = new Int32Array(new SharedArrayBuffer(4));

function takeLock(lock: string): void {
  const end = Date.now() + longestWait;
  for (;;) {
    try {
      closeSync(openSync(lock, "wx"));
      return;
    } catch (error) {
      if (codeOf(error) !== "EEXIST" || Date.now() > end) throw error;
    }
    const since = statSync(lock, { throwIfNoEntry: false })?.mtimeMs;
    if (since !== undefined && Date.now() - since > staleAfter) rmSync(lock, { force: true });
    else Atomics.wait(sleeper, 0, 0, pollEvery);
  }
}
