// Tables of measurements: what each kernel that could run a call took on some machine, and which one is to run it. JSON with
// a line for each call; one file may hold several machines.

import type { Isa } from "@figment/native";
import { UsageError } from "../../errors.js";

/** What measurements hold for: another processor or GPU, instruction set, number of cores or version has others. */
export interface TuningMachine {
  /** The processor, or the GPU, as it calls itself. */
  readonly cpu: string;
  /** Its vendor, family and model; of a GPU, "CUDA" and its compute capability. */
  readonly family: string;
  readonly isa: Isa;
  /** Of a GPU, its multiprocessors. */
  readonly cores: number;
  /** Version of the addon whose kernels were measured. */
  readonly version: string;
}

/** What was found for one call. */
export interface TuningEntry {
  /** The kernel variant to run. */
  readonly variant: string;
  /** Threads that it was measured on. */
  readonly threads: number;
  /** Microseconds of each variant that could run it. */
  readonly micros: Readonly<Record<string, number>>;
}

/** Measurements of one machine; calls by the keys that the registry gives them. */
export interface MachineTable {
  readonly machine: TuningMachine;
  readonly calls: Readonly<Record<string, TuningEntry>>;
}

const format = "figment-tuning";
const formatVersion = 1;
const isas: readonly unknown[] = [
  "generic",
  "avx2",
  "avx512",
  "avx512bf16",
  "amx",
  "sm75",
  "sm80",
  "sm90a",
] satisfies Isa[];

/** The machines of a table's text. Throws UsageError saying what it is not. */
export function parseTable(text: string): MachineTable[] {
  let table: unknown;
  try {
    table = JSON.parse(text);
  } catch {
    throw new UsageError("it is not JSON");
  }
  if (!isRecord(table) || table.format !== format) throw new UsageError("it is no table of measurements");
  if (table.version !== formatVersion)
    throw new UsageError(`its version is ${JSON.stringify(table.version)}, not ${formatVersion}`);
  if (!Array.isArray(table.machines)) throw new UsageError("it has no list of machines");
  return table.machines.map((entry: unknown, i) => {
    if (!isMachineTable(entry)) throw new UsageError(`its machine ${i} is not what a machine should be`);
    return entry;
  });
}

/** The text of a table. */
export function tableText(machines: readonly MachineTable[]): string {
  const blocks = machines.map(({ machine, calls }) => {
    const lines = Object.keys(calls)
      .sort()
      .map((key) => `        ${JSON.stringify(key)}: ${JSON.stringify(calls[key])}`);
    const list = lines.length > 0 ? `{\n${lines.join(",\n")}\n      }` : "{}";
    return `    {\n      "machine": ${JSON.stringify(machine)},\n      "calls": ${list}\n    }`;
  });
  const list = blocks.length > 0 ? `[\n${blocks.join(",\n")}\n  ]` : "[]";
  return `{\n  "format": "${format}",\n  "version": ${formatVersion},\n  "machines": ${list}\n}\n`;
}

/** A table with more measurements of one machine. */
export function merge(
  machines: readonly MachineTable[],
  machine: TuningMachine,
  calls: MachineTable["calls"],
): MachineTable[] {
  const same = machines.find((entry) => sameMachine(entry.machine, machine));
  const merged = { machine, calls: { ...same?.calls, ...calls } };
  return same ? machines.map((entry) => (entry === same ? merged : entry)) : [...machines, merged];
}

export const sameMachine = (a: TuningMachine, b: TuningMachine): boolean =>
  a.cpu === b.cpu && a.family === b.family && a.isa === b.isa && a.cores === b.cores && a.version === b.version;

/** The machine whose measurements say most about another: of its family and instruction set, the same model first. */
export function nearest(machines: readonly MachineTable[], to: TuningMachine): MachineTable | undefined {
  const familyOf = (name: string): string => name.replace(/\.\d+$/, "");
  const kin = machines.filter(
    ({ machine }) => machine.isa === to.isa && familyOf(machine.family) === familyOf(to.family),
  );
  return kin.find(({ machine }) => machine.family === to.family) ?? kin[0];
}

const isRecord = (x: unknown): x is Readonly<Record<string, unknown>> =>
  typeof x === "object" && x !== null && !Array.isArray(x);

const isMachineTable = (x: unknown): x is MachineTable => {
  if (!isRecord(x) || !isRecord(x.machine) || !isRecord(x.calls)) return false;
  const { cpu, family, isa, cores, version } = x.machine;
  return (
    [cpu, family, version].every((text) => typeof text === "string") &&
    isas.includes(isa) &&
    isNumber(cores) &&
    Object.values(x.calls).every(isEntry)
  );
};

/** What a table can hold again once it is read: JSON's 1e999 becomes an infinity, which would be written as null. */
const isNumber = (x: unknown): x is number => Number.isFinite(x);

const isEntry = (x: unknown): x is TuningEntry =>
  isRecord(x) &&
  isNumber(x.threads) &&
  isRecord(x.micros) &&
  Object.values(x.micros).every(isNumber) &&
  typeof x.variant === "string" &&
  Object.hasOwn(x.micros, x.variant);
