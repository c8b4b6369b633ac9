// profile(): a compiled program run a few times with every record timed, and the times held against the ceilings of the
// device.

import { profileEvents } from "@figment/native";
import { type Ceilings, ceilingsOf, copyCeiling, fmaCeiling } from "./ceilings.js";
import { native } from "./device.js";
import { usedDevices } from "./devices.js";
import { type ExplainedRecord, explainColumns, explainRecords, explainRow, onGpu, summary, table } from "./explain.js";
import type { Program } from "./program.js";

/** One record of a program, timed. */
export interface ProfiledRecord extends ExplainedRecord {
  /** Microseconds in one run of the program: the median of an execution, times the executions in a run. */
  readonly micros: number;
  /** Share of what the device could do at best: of its multiply-adds or of its copy bandwidth, whichever bounds the record. */
  readonly ofCeiling: number;
  /** Which of the two bounds it. */
  readonly bound: "fma" | "copy";
}

/** Where the time of a program goes. As a string: a table like that of explain(), with times. */
export interface Profile {
  readonly name: string;
  /** Runs that were timed. */
  readonly runs: number;
  /** Median microseconds of a run. */
  readonly micros: number;
  /** What the shares refer to. */
  readonly ceilings: Ceilings;
  readonly records: readonly ProfiledRecord[];
  toString(): string;
}

/**
 * Profiles what `call` runs.
 *
 * @param device where it will probably run; what it does run on counts.
 * @param call runs the program once and gives it.
 */
export async function profileProgram(
  name: string,
  runs: number,
  device: number,
  call: () => Program,
): Promise<Profile> {
  await ceilingsOf(device);
  const before = usedDevices().map(
    (used) => [used, native().readProfile(Number.MAX_SAFE_INTEGER, used).first] as const,
  );
  native().profile(true);
  try {
    // The first run after the ceilings were measured finds cold caches and idle threads.
    let program = call();
    for (let i = 0; i < runs; i++) program = call();
    await native().settled();
    const since = new Map(before).get(program.device) ?? 0;
    return profileOf(name, runs, program, since, await ceilingsOf(program.device));
  } finally {
    native().profile(false);
  }
}

function profileOf(name: string, runs: number, program: Program, since: number, limits: Ceilings): Profile {
  const { id } = native().programInfo(program.handle);
  const events = profileEvents(native().readProfile(since, program.device)).filter((event) => event.program === id);
  const times = events.filter(({ kind }) => kind === "run").map(({ micros }) => micros);
  const timed = times.slice(-runs);
  const perRecord = new Map<number, number[]>();
  for (const { kind, record, micros } of events) {
    if (kind !== "record") continue;
    const list = perRecord.get(record);
    if (list) list.push(micros);
    else perRecord.set(record, [micros]);
  }
  const records = explainRecords(program).map((record, i) => {
    const list = perRecord.get(i) ?? [];
    const micros = (median(list) * list.length) / Math.max(times.length, 1);
    return { ...record, micros, ...shareOf(record, micros, limits) };
  });
  const total = median(timed);
  return {
    name,
    runs: timed.length,
    micros: total,
    ceilings: limits,
    records,
    toString: () => profileText(`${name}${onGpu(program)}`, timed.length, total, records, limits),
  };
}

/** The least time that the device needs for a record, as a share of the time that it took. */
function shareOf(
  { flops, bytes }: ExplainedRecord,
  micros: number,
  limits: Ceilings,
): Pick<ProfiledRecord, "ofCeiling" | "bound"> {
  const fma = flops / (fmaCeiling(limits) * 1e3);
  const copy = bytes > 0 ? bytes / (copyCeiling(limits, bytes) * 1e3) : 0;
  return { ofCeiling: micros > 0 ? Math.max(fma, copy) / micros : 0, bound: fma > copy ? "fma" : "copy" };
}

function profileText(
  name: string,
  runs: number,
  micros: number,
  records: readonly ProfiledRecord[],
  limits: Ceilings,
): string {
  const columns = explainColumns.toSpliced(-1, 0, { title: "time", right: true }, { title: "of ceiling", right: true });
  const rows = records.map((record) =>
    explainRow(record).toSpliced(
      -1,
      0,
      showMicros(record.micros),
      `${(100 * record.ofCeiling).toFixed(0)} % ${record.bound}`,
    ),
  );
  return [
    `${name}: ${showMicros(micros)} (median of ${runs}), ${summary(records)}; ${hostThreads(records, limits)}ceiling ${fmaCeiling(limits).toFixed(0)} GFLOP/s`,
    ...table(columns, rows),
  ].join("\n");
}

/** The threads that the CPU's kernels share. */
const hostThreads = ([first]: readonly ProfiledRecord[], { threads }: Ceilings): string =>
  first && first.device > 0 ? "" : `${threads} threads, `;

const showMicros = (micros: number): string =>
  micros < 1e3 ? `${micros.toFixed(1)} µs` : `${(micros / 1e3).toFixed(2)} ms`;

function median(values: readonly number[]): number {
  if (values.length === 0) return 0;
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}
