// Profiles as objects: what readProfile's numbers mean.

import type { ProfileChunk } from "./binding.js";

/** What an event is; the position of its name is its number. */
const kinds = ["run", "record", "piece"] as const;

/** Something that took time: a whole run of a program, one of its records, or a piece of one on a worker. */
export interface ProfileEvent {
  readonly kind: (typeof kinds)[number];
  /** Of the pool; 0 for runs and records. */
  readonly worker: number;
  /** ProgramInfo.id. */
  readonly program: number;
  /** Index of the record in its program. */
  readonly record: number;
  readonly tag: number;
  /** "" for runs. */
  readonly op: string;
  readonly variant: string;
  /** On the clock of profileClock(). */
  readonly startMicros: number;
  readonly micros: number;
}

/** Numbers per event. */
const fields = 9;

/** The events of a chunk, in the order in which they ended. */
export function profileEvents({ names, events }: ProfileChunk): ProfileEvent[] {
  return Array.from({ length: events.length / fields }, (_, i) => {
    const [kind, worker, program, record, tag, op, variant, startMicros, micros] = events.subarray(
      i * fields,
      (i + 1) * fields,
    ) as unknown as [number, number, number, number, number, number, number, number, number];
    return {
      kind: kinds[kind] as ProfileEvent["kind"],
      worker,
      program,
      record,
      tag,
      op: names[op] ?? "",
      variant: names[variant] ?? "",
      startMicros,
      micros,
    };
  });
}
