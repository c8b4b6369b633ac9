// A timeline as a file in the JSON trace event format (Chrome's "Trace Event Format": complete events, ph "X", and
// metadata, ph "M"; times in microseconds).

import { closeSync, openSync, writeSync } from "node:fs";
import { type ProfileEvent, profileEvents } from "@figment/native";
import { deviceName } from "./devices.js";
import { type DeviceChunk, type ProgramLabels, programKey, type Timeline, type TimelineFile } from "./timeline.js";

/** An event of a device. */
interface DeviceEvent extends ProfileEvent {
  readonly device: number;
}
const pid = 1;

/** Events joined into one write. */
const batch = 4096;

/** Writes the events of a timeline; those of devices come from `chunks`. */
export function writeTraceFile(path: string, timeline: Timeline, chunks: readonly DeviceChunk[]): TimelineFile {
  const events = chunks.flatMap(({ device, chunk }) => profileEvents(chunk).map((event) => ({ ...event, device })));
  const dropped = chunks.reduce(
    (sum, { chunk, since }) => sum + Math.max(0, chunk.first - since),
    timeline.droppedSpans,
  );
  const count = events.length + timeline.spans.length;
  const file = openSync(path, "w");
  try {
    writeSync(
      file,
      `{"displayTimeUnit":"ms","otherData":${JSON.stringify({ events: count, dropped })},"traceEvents":[\n`,
    );
    const lines = traceLines(timeline, events);
    for (let i = 0; i < lines.length; i += batch)
      writeSync(file, lines.slice(i, i + batch).join(",\n") + (i + batch < lines.length ? ",\n" : "\n"));
    writeSync(file, "]}\n");
  } finally {
    closeSync(file);
  }
  return { events: count, dropped };
}

/** Lines of the file. Lanes are threads of one process: JavaScript, the devices' queues, the CPU's workers. */
function traceLines({ spans, programs, startMicros }: Timeline, events: readonly DeviceEvent[]): string[] {
  const gpus = [...new Set(events.map(({ device }) => device))].filter((device) => device > 0).sort((a, b) => a - b);
  const queues = [0, ...gpus];
  const lanes = { javascript: 1, firstQueue: 2, firstWorker: 2 + queues.length };
  const workers = events.reduce((most, { kind, worker }) => (kind === "piece" ? Math.max(most, worker + 1) : most), 0);
  const queueNames = queues.map((device) => `queue of ${device === 0 ? "cpu:0" : deviceName(device)}`);
  const names = ["JavaScript", ...queueNames, ...Array.from({ length: workers }, (_, w) => `worker ${w}`)];
  const complete = (
    tid: number,
    { startMicros: start, micros }: { readonly startMicros: number; readonly micros: number },
    rest: { readonly name: string; readonly cat: string; readonly args?: object },
  ): string => JSON.stringify({ ph: "X", pid, tid, ts: round(start - startMicros), dur: round(micros), ...rest });
  return [
    metadata("process_name", 0, { name: "figment" }),
    ...names.flatMap((name, i) => [
      metadata("thread_name", lanes.javascript + i, { name }),
      metadata("thread_sort_index", lanes.javascript + i, { sort_index: i }),
    ]),
    ...spans.map((span) => complete(lanes.javascript, span, { name: span.name, cat: "javascript" })),
    ...events.map((event) => {
      const { kind, device, program, worker } = event;
      const tid = kind === "piece" ? lanes.firstWorker + worker : lanes.firstQueue + queues.indexOf(device);
      return complete(tid, event, { cat: kind, ...describe(event, programs.get(programKey(device, program))) });
    }),
  ];
}

const metadata = (name: string, tid: number, args: object): string => JSON.stringify({ ph: "M", pid, tid, name, args });

/** Nanoseconds are enough, and keep numbers short. */
const round = (micros: number): number => Math.round(micros * 1e3) / 1e3;

/** Name and arguments of a native event; the same words as in explain(). */
function describe(
  { kind, op, variant, tag, record, program }: ProfileEvent,
  labels: ProgramLabels | undefined,
): { name: string; args: object } {
  const name = labels?.name ?? `program ${program}`;
  if (kind === "run") return { name, args: { program } };
  const made = labels?.tags[tag];
  return {
    name: op === "elementwise" && made ? made.text : op,
    args: { op, variant, module: made?.path ?? "", program: name, record },
  };
}
