// The timeline of the process: what JavaScript traces and compiles, what programs run and what their records and the
// workers do meanwhile. Off until asked for; FIGMENT_PROFILE=trace.json asks for the whole process.

import { statSync } from "node:fs";
import { isMainThread } from "node:worker_threads";
import type { ProfileChunk } from "@figment/native";
import { UsageError } from "../errors.js";
import { native } from "./device.js";
import { usedDevices } from "./devices.js";
import { opText } from "./explain.js";
import { onLoadProgram, type Program } from "./program.js";
import { writeTraceFile } from "./traceFile.js";

/** Something that JavaScript did. */
export interface Span {
  readonly name: string;
  /** On the clock of the native events. */
  readonly startMicros: number;
  readonly micros: number;
}

/** What the events of a program are called. */
export interface ProgramLabels {
  readonly name: string;
  /** For each record's tag: what elementwise code computes (else its op) and the module that made it. */
  readonly tags: readonly { readonly text: string; readonly path: string }[];
}

/** A timeline in progress. */
export interface Timeline {
  /** Number of the first native event of each device that had been used by then; of others, all are in it. */
  readonly since: ReadonlyMap<number, number>;
  readonly startMicros: number;
  readonly spans: Span[];
  droppedSpans: number;
  /** By {@link programKey}. */
  readonly programs: Map<string, ProgramLabels>;
}

/** Names a program of the process; each device counts its own. */
export const programKey = (device: number, id: number): string => `${device} ${id}`;

/** What a device did, as of an event. */
export interface DeviceChunk {
  readonly device: number;
  readonly since: number;
  readonly chunk: ProfileChunk;
}

/** What {@link writeTimeline} wrote. */
export interface TimelineFile {
  readonly events: number;
  /** Events that were left out because newer ones took their place. */
  readonly dropped: number;
}

/** Most spans and most names of programs kept; the oldest leave first. */
const maxSpans = 1 << 14;
const maxPrograms = 1 << 13;

let current: Timeline | null = null;

/** Runs `fn`; the timeline, if there is one, notes how long it took. */
export function span<T>(name: string, fn: () => T): T {
  const timeline = current;
  if (!timeline) return fn();
  const startMicros = native().profileClock();
  try {
    return fn();
  } finally {
    timeline.spans.push({ name, startMicros, micros: native().profileClock() - startMicros });
    if (timeline.spans.length > 2 * maxSpans) {
      timeline.spans.splice(0, maxSpans);
      timeline.droppedSpans += maxSpans;
    }
  }
}

function label(timeline: Timeline, program: Program): void {
  const { id } = native().programInfo(program.handle);
  const tags = program.tags.map((node) => ({ text: opText("elementwise", node), path: node.path }));
  timeline.programs.set(programKey(program.device, id), { name: program.name, tags });
  if (timeline.programs.size > maxPrograms) timeline.programs.delete(timeline.programs.keys().next().value as string);
}

/**
 * Starts the timeline: from now on the process notes what it runs, on all devices and every worker, and what this
 * thread traces and compiles. The latest 262,144 events of each device are kept, and the latest few thousand of
 * JavaScript; how many were dropped is counted. Programs of other threads are noted under their operations' names alone.
 *
 * @throws UsageError when it has been started already.
 * @example
 * startTimeline();
 * ones([4]).mul(2).dispose();
 * stopTimeline();
 */
export function startTimeline(): void {
  if (current) throw new UsageError("startTimeline: the timeline has been started already");
  native().profile(true);
  const timeline: Timeline = {
    since: new Map(
      usedDevices().map((device) => [device, native().readProfile(Number.MAX_SAFE_INTEGER, device).first]),
    ),
    startMicros: native().profileClock(),
    spans: [],
    droppedSpans: 0,
    programs: new Map(),
  };
  current = timeline;
  onLoadProgram((program) => label(timeline, program));
}

/**
 * Writes the timeline so far as JSON that https://ui.perfetto.dev and chrome://tracing open: a lane for JavaScript, one
 * for each device's queue (program runs with their records inside; kernel variant and module path in the arguments) and
 * one for each worker of the CPU. Blocks this thread meanwhile; what is queued runs on.
 *
 * @throws UsageError when the timeline has not been started.
 * @example
 * startTimeline();
 * ones([4]).mul(2).dispose();
 * const { events } = writeTimeline("figment-trace.json");
 * stopTimeline();
 */
export function writeTimeline(path: string): TimelineFile {
  if (!current) throw new UsageError("writeTimeline: the timeline has not been started; call startTimeline() first");
  const { since } = current;
  const chunks = usedDevices().map((device): DeviceChunk => {
    const first = since.get(device) ?? 0;
    return { device, since: first, chunk: native().readProfile(first, device) };
  });
  return writeTraceFile(path, current, chunks);
}

/**
 * Ends the timeline and forgets it.
 *
 * @example
 * startTimeline();
 * stopTimeline();
 */
export function stopTimeline(): void {
  if (!current) return;
  current = null;
  onLoadProgram(undefined);
  native().profile(false);
}

/** Throws UsageError where FIGMENT_PROFILE names what no timeline can be written to. */
export function checkTimelineFile(): void {
  const path = process.env.FIGMENT_PROFILE;
  if (!path) return;
  const fail = (reason: string): never => {
    throw new UsageError(`FIGMENT_PROFILE is "${path}": ${reason}; expected a file to write`);
  };
  try {
    // Its folder may come to be until then.
    const about = statSync(path, { throwIfNoEntry: false });
    if (about?.isDirectory()) fail("it is a folder");
    if (about?.isFIFO()) fail("it is a pipe"); // which nobody may read from
  } catch (error) {
    if (error instanceof UsageError) throw error;
    fail((error as Error).message);
  }
}

/** Heeds FIGMENT_PROFILE: the timeline of the whole process, written when it exits, by itself or by Ctrl-C. */
export function startFromEnvironment(): void {
  const path = process.env.FIGMENT_PROFILE;
  if (!path || !isMainThread) return;
  try {
    checkTimelineFile();
  } catch (error) {
    console.error(`${(error as Error).message}. There will be no timeline.`);
    return;
  }
  startTimeline();
  const write = (): void => {
    if (!current) return;
    try {
      const { events, dropped } = writeTimeline(path);
      console.error(
        `FIGMENT_PROFILE: ${events} events in ${path}${dropped > 0 ? `, ${dropped} older ones dropped` : ""}`,
      );
    } catch (error) {
      console.error(`FIGMENT_PROFILE: ${String(error)}`);
    }
    stopTimeline();
  };
  process.on("exit", write);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    const end = (): void => {
      // Whoever else listens ends the process in their own way, and `exit` writes.
      if (process.listenerCount(signal) > 1) return;
      write();
      process.off(signal, end);
      process.kill(process.pid, signal);
    };
    process.on(signal, end);
  }
}
