// Files of measurements. Readers see a whole file or none: a new one takes the old one's name once it is written. Writers
// take turns by a lock beside the file, so that none loses what another has added.

import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
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

/** What a file says. Devices and pipes may have no end, or wait for one that writes. */
function textOf(file: string): string {
  const there = statSync(file);
  if (!there.isFile() && !there.isDirectory())
    throw new UsageError("it is a device or a pipe; expected a file of measurements");
  return readFileSync(file, "utf8");
}

/** The machines in a file. Throws UsageError, naming it, where it cannot be used. */
export function parseFile(file: string): MachineTable[] {
  try {
    return parseTable(textOf(file));
  } catch (cause) {
    throw new UsageError(`${file}: ${unusable(cause)}`, { cause });
  }
}

/** What is wrong with single measurements of a file, for which they are ignored; undefined where all are right. */
export function describeIgnored(keys: readonly string[]): string | undefined {
  const [first] = keys;
  if (first === undefined) return undefined;
  return `${keys.length} of these measurements are ignored, which name other parameters than kernels have now, no kernel or no time that can be; the first is of ${JSON.stringify(first)}`;
}

/** Says once per file that single measurements in it are ignored. */
export function warnIgnored(file: string, keys: readonly string[]): void {
  const problem = describeIgnored(keys);
  if (problem) warn(file, problem);
}

/** The machines in a file; none where there is no file; undefined, with a warning, where it cannot be used. */
export function readTable(file: string): MachineTable[] | undefined {
  try {
    return parseTable(textOf(file));
  } catch (error) {
    if (codeOf(error) === "ENOENT") return [];
    const remedy = "Remove it, or name another by FIGMENT_TUNE_FILE, to measure anew";
    warn(file, `these measurements are ignored: ${unusable(error)}. ${remedy}`);
    return undefined;
  }
}

/** What keeps a file from being read as a table. */
function unusable(error: unknown): string {
  if (codeOf(error) === "ENOENT") return "there is no such file; expected a table of measurements";
  if (codeOf(error) === "EISDIR") return "it is a folder; expected a file of measurements";
  return error instanceof UsageError ? error.message : `it cannot be read: ${reasonOf(error)}`;
}

/** Throws UsageError where {@link addToTable} could add nothing to a file. Leaves everything as it is. */
export function checkAddable(file: string): void {
  if (existsSync(file)) parseFile(file);
  let folder = dirname(resolve(file));
  while (!existsSync(folder)) folder = dirname(folder);
  try {
    rmdirSync(mkdtempSync(join(folder, ".figment-")));
  } catch (cause) {
    throw new UsageError(`${file}: it cannot be written: ${reasonOf(cause)}`, { cause });
  }
}

/** Makes a folder and those on the way to it. Not by mkdir's own recursion, which never ends below /proc. */
function makeFolder(folder: string): void {
  if (existsSync(folder)) return;
  makeFolder(dirname(folder));
  try {
    mkdirSync(folder);
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
  }
}

/** Adds measurements to a file. One that cannot be used stays as it is; where nothing can be written a warning says so. */
export function addToTable(file: string, machine: TuningMachine, calls: MachineTable["calls"]): void {
  const lock = `${file}.lock`;
  try {
    makeFolder(dirname(resolve(file)));
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
