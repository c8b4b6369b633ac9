// Choosing kernels by measurements: the shipped table, the user's own, and measuring what neither knows. FIGMENT_TUNE=1
// measures every call that a program brings for the first time; FIGMENT_TUNE=0 leaves all choices to estimates;
// FIGMENT_TUNE_FILE names the file of this user's measurements.

import { nativeVersion, type RecordChoice, shippedTuning } from "@figment/native";
import { OutOfMemoryError, UsageError } from "../../errors.js";
import { checkFunction } from "../../ops/checks.js";
import { show } from "../../shape.js";
import { cacheFolder } from "../cacheFolder.js";
import { currentDevice, guarded, native } from "../device.js";
import { infoOf } from "../devices.js";
import { addToTable, checkAddable, describeIgnored, parseFile, readTable, warnIgnored } from "./file.js";
import { fitsParameters, programOfKey, readKey } from "./key.js";
import { type MachineTable, nearest, sameMachine, type TuningEntry, type TuningMachine } from "./table.js";

/** A variant takes the place of the estimated one where it takes at most this share of its time: noise changes nothing. */
const replacingShare = 0.95;

/** What an environment knows of measurements of one device. */
interface Tuning {
  readonly measures: boolean;
  readonly machine: TuningMachine;
  /** Measurements of this machine by key. */
  readonly own: Map<string, TuningEntry>;
  /** The machine that the shipped table in use comes from. */
  readonly shippedFrom: string | undefined;
}

const current = new Map<number, Tuning>();

/** The file of this user's measurements. */
export const tuningFile = (): string => process.env.FIGMENT_TUNE_FILE || cacheFolder("tuning.json");

/**
 * Whether measurements can be kept on this machine: in the file that `FIGMENT_TUNE_FILE` names, else in the cache folder. To ask
 * before measuring for minutes; programs that measure on their way are told by a warning.
 *
 * @throws UsageError where the file is a folder, holds something else, or cannot be written.
 * @example
 * checkTuningFile();
 */
export function checkTuningFile(): void {
  try {
    checkAddable(tuningFile());
  } catch (cause) {
    if (!(cause instanceof UsageError)) throw cause;
    throw new UsageError(`measurements cannot be kept (FIGMENT_TUNE_FILE says where): ${cause.message}`, { cause });
  }
}

/** What FIGMENT_TUNE says. Throws UsageError for what it may not say. */
export function tuningMode(): "" | "0" | "1" {
  const mode = process.env.FIGMENT_TUNE ?? "";
  if (mode === "" || mode === "0" || mode === "1") return mode;
  throw new UsageError(`FIGMENT_TUNE is ${JSON.stringify(mode)}; expected 0 or 1`);
}

/** Reads the tables and hands them to the registry, at the first program of an environment on a device. */
export function tuning(device: number): Tuning {
  let found = current.get(device);
  if (!found) {
    found = start(tuningMode(), device);
    current.set(device, found);
  }
  return found;
}

/** What measurements of a device hold for. */
function machineOf(device: number): TuningMachine {
  const about = infoOf(device);
  const { name, isa, cores } = about;
  const family = "family" in about ? about.family : `CUDA ${about.computeCapability}`;
  return { cpu: name, family, isa, cores, version: nativeVersion };
}

/** Longest time of a call that is believed, microseconds: a quarter of an hour. Nobody measures for longer. */
const mostMicros = 1e9;

/** What this user has measured on a machine, and the keys of calls that are ignored: of other parameters, no kernel, or no time that can be. */
function ownCalls(
  machine: TuningMachine,
  device: number,
): Pick<MachineTable, "calls"> & { readonly ignored: readonly string[] } {
  const found = readTable(tuningFile())?.find((entry) => sameMachine(entry.machine, machine))?.calls ?? {};
  const ignored: string[] = [];
  const calls = Object.entries(found).filter(([key, { micros }]) => {
    const kernels = new Set(kernelsOf(readKey(key).op, device));
    const usable =
      fitsParameters(key) &&
      Object.entries(micros).every(([name, time]) => kernels.has(name) && time > 0 && time <= mostMicros);
    if (!usable) ignored.push(key);
    return usable;
  });
  return { calls: Object.fromEntries(calls), ignored };
}

/** Names of the kernels of an operation; none of one that there is not. */
function kernelsOf(op: string, device: number): string[] {
  try {
    return native()
      .variants(op, device)
      .map(({ name }) => name);
  } catch {
    return [];
  }
}

/** What is asked about where no device is named. */
const cpuDevice = 0;

/** Throws UsageError where measurements of the processor in this user's file are ignored, or all of it. */
export function checkMeasurements(): void {
  checkTuningFile();
  const problem = describeIgnored(ownCalls(machineOf(cpuDevice), cpuDevice).ignored);
  if (problem) throw new UsageError(`${tuningFile()} (FIGMENT_TUNE_FILE): ${problem}`);
}

function start(mode: ReturnType<typeof tuningMode>, device: number): Tuning {
  const machine = machineOf(device);
  const { isa } = machine;
  if (mode === "0") return { measures: false, machine, own: new Map(), shippedFrom: undefined };
  const shipped = nearest(readTable(shippedTuning) ?? [], machine);
  for (const [key, { variant }] of Object.entries(shipped?.calls ?? {}))
    native().addMeasured(isa, "shipped", key, variant, device);
  const { calls: own, ignored } = ownCalls(machine, device);
  warnIgnored(tuningFile(), ignored);
  for (const [key, { variant }] of Object.entries(own)) native().addMeasured(isa, "here", key, variant, device);
  return {
    measures: mode === "1",
    machine,
    own: new Map(Object.entries(own)),
    shippedFrom: shipped && `${shipped.machine.cpu} (${shipped.machine.family}, ${shipped.machine.isa})`,
  };
}

/** The variant that measurements speak for; undefined when none of the candidates could run. */
function winnerOf([estimated]: readonly string[], micros: TuningEntry["micros"]): string | undefined {
  const [best] = Object.keys(micros).sort((a, b) => (micros[a] as number) - (micros[b] as number));
  const usual = micros[estimated as string];
  return best && usual !== undefined && (micros[best] as number) > replacingShare * usual ? estimated : best;
}

/** Microseconds of the candidates that could run; none where memory does not hold what they run on beside all else. */
function timesOf(program: number, record: number): Record<string, number> {
  try {
    return guarded(() => native().measureRecord(program, record));
  } catch (error) {
    if (error instanceof OutOfMemoryError) return {};
    throw error;
  }
}

function measureCall(program: number, record: number, candidates: readonly string[]): TuningEntry | undefined {
  const measured = timesOf(program, record);
  const micros = Object.fromEntries(
    Object.entries(measured).map(([name, time]) => [name, Number(time.toPrecision(4))]),
  );
  const variant = winnerOf(candidates, micros);
  return variant === undefined ? undefined : { variant, threads: native().threads(), micros };
}

/** Makes measurements count from now on, and keeps them for later. */
function keep(found: Readonly<Record<string, TuningEntry>>, device: number): void {
  const { machine, own } = tuning(device);
  for (const [key, entry] of Object.entries(found)) {
    own.set(key, entry);
    native().addMeasured(machine.isa, "here", key, entry.variant, device);
  }
  addToTable(tuningFile(), machine, found);
}

/** Whether this machine has measured all that a call may run on. */
const isKnown = ({ key, candidates }: RecordChoice, device: number): boolean => {
  const entry = tuning(device).own.get(key);
  return entry !== undefined && candidates.every((name) => name in entry.micros);
};

/** Under FIGMENT_TUNE=1: measures the calls of a loaded program that nobody has measured here. True when there were some. */
export function measureUnknown(program: number, device: number): boolean {
  if (!tuning(device).measures) return false;
  const found: Record<string, TuningEntry> = {};
  native()
    .programChoices(program)
    .forEach((choice, record) => {
      if (!choice.measurable || choice.key in found || isKnown(choice, device)) return;
      const entry = measureCall(program, record, choice.candidates);
      if (entry) found[choice.key] = entry;
    });
  if (Object.keys(found).length === 0) return false;
  keep(found, device);
  return true;
}

/** What measuring a call has found. */
export interface TunedCall {
  readonly op: string;
  /** Formats and shapes of its operands: "f32[1,8,8,4] f32[4,3,3,4] -> f32[1,8,8,4]". */
  readonly shapes: string;
  /** The variant that runs by estimate, and the one that runs by these measurements. */
  readonly estimated: string;
  readonly winner: string;
  /** Time of the estimated variant over that of the winner. */
  readonly ratio: number;
  /** Threads that it was measured on, and the microseconds of each variant. */
  readonly threads: number;
  readonly micros: Readonly<Record<string, number>>;
}

/** A call that several kernel variants can run. */
export interface TunableCall {
  readonly op: string;
  readonly shapes: string;
  /** The variants, the one preferred by estimate first. */
  readonly candidates: readonly string[];
  /** What this machine has measured before, if it has. */
  readonly known: TunedCall | undefined;
  /**
   * Measures the variants in turns on the present number of threads, for up to about two seconds in which nothing else
   * runs, and keeps what it finds. Programs made from now on use it. Undefined when no variant could run, or memory does
   * not hold operands for it.
   */
  measure(): TunedCall | undefined;
}

/** Called with each program that is loaded, while somebody looks for calls. */
let collect: ((program: number, blob: Uint8Array, device: number) => void) | undefined;

/** Tells whoever looks for calls of a loaded program. */
export const noteProgram = (program: number, blob: Uint8Array, device: number): void =>
  collect?.(program, blob, device);

/**
 * The calls for which there are several kernels, each once, in the programs that are made while `run` runs: by first calls
 * of compiled functions, or by operations on shapes that were not met before.
 *
 * @throws UsageError for no function, and while another call of it runs.
 * @example
 * const calls = await tunableCalls(() => ones([64, 64]).matmul(ones([64, 64])).dispose());
 * for (const { op, candidates } of calls) console.log(op, candidates);
 */
export async function tunableCalls(run: () => unknown): Promise<TunableCall[]> {
  checkFunction("tunableCalls", "run", run);
  if (collect) throw new UsageError("tunableCalls: another call of it is running");
  const found = new Map<string, TunableCall>();
  collect = (program, blob, device) => noteCalls(program, blob, device, found);
  try {
    await run();
  } finally {
    collect = undefined;
  }
  return [...found.values()];
}

/**
 * The calls for which there are several kernels among those in a table of measurements, whichever machine made it: what has
 * been met elsewhere can be measured here without being run. Calls that this version does not know are left out.
 *
 * @param file a table as `FIGMENT_TUNE_FILE` names one; default: the one that is shipped.
 * @throws UsageError for a path that is none, or a file that cannot be used.
 * @example
 * const calls = tunableCallsOf();
 * for (const { op, shapes } of calls) console.log(op, shapes);
 */
export function tunableCallsOf(file: string = shippedTuning): TunableCall[] {
  if (typeof file !== "string") throw new UsageError(`tunableCallsOf: expected a path as file, got ${show(file)}`);
  const device = currentDevice();
  tuning(device);
  const found = new Map<string, TunableCall>();
  const machines = parseFile(file);
  for (const key of new Set(machines.flatMap(({ calls }) => Object.keys(calls)))) {
    let program: number;
    let blob: Uint8Array;
    try {
      blob = programOfKey(key);
      program = native().loadProgram(blob, undefined, device);
    } catch {
      continue;
    }
    noteCalls(program, blob, device, found);
    native().releaseProgram(program);
  }
  return [...found.values()];
}

/** Adds the calls of a program that can be measured. */
function noteCalls(program: number, blob: Uint8Array, device: number, found: Map<string, TunableCall>): void {
  native()
    .programChoices(program)
    .forEach((choice, record) => {
      const name = device === 0 ? choice.key : `${device} ${choice.key}`;
      if (choice.measurable && !found.has(name)) found.set(name, callOf(choice, record, blob, device));
    });
}

function callOf(choice: RecordChoice, record: number, blob: Uint8Array, device: number): TunableCall {
  const { key, candidates } = choice;
  const { op, shapes } = readKey(key);
  const known = tuning(device).own.get(key);
  return {
    op,
    shapes,
    candidates,
    known: known && isKnown(choice, device) ? tunedCall(key, candidates, known) : undefined,
    measure: () => {
      const program = guarded(() => native().loadProgram(blob, undefined, device), device);
      try {
        const entry = measureCall(program, record, candidates);
        if (!entry) return undefined;
        keep({ [key]: entry }, device);
        return tunedCall(key, candidates, entry);
      } finally {
        native().releaseProgram(program);
      }
    },
  };
}

function tunedCall(key: string, candidates: readonly string[], entry: TuningEntry): TunedCall {
  const estimated = candidates[0] as string;
  const { variant: winner, micros, threads } = entry;
  const ratio = (micros[estimated] ?? Number.POSITIVE_INFINITY) / (micros[winner] as number);
  return { ...readKey(key), estimated, winner, ratio, threads, micros };
}
