// The timeline: a training step's trace file parses, its lanes are in order, and its names are those of explain().

import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  assertNoLeaks,
  Cell,
  compile,
  matmul,
  mul,
  ones,
  scope,
  settled,
  startTimeline,
  stopTimeline,
  sub,
  type Tensor,
  UsageError,
  valueAndGrad,
  withPath,
  writeTimeline,
} from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

interface TraceEvent {
  readonly ph: "X" | "M";
  readonly name: string;
  readonly cat?: string;
  readonly tid: number;
  readonly ts: number;
  readonly dur: number;
  readonly args: Readonly<Record<string, unknown>>;
}

interface Trace {
  readonly traceEvents: readonly TraceEvent[];
  readonly otherData: { readonly events: number; readonly dropped: number };
}

const folder = mkdtempSync(join(tmpdir(), "figment-timeline-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
  assertNoLeaks();
});

const read = (path: string): Trace => JSON.parse(readFileSync(path, "utf8")) as Trace;
/** Rounding to nanoseconds moves both ends of an event. */
const rounding = 0.002;

const n = 256;
const weights = new Cell({ shape: [n, n], name: "weights" });
const step = compile(
  (x: Tensor) => {
    const w = weights.value;
    const loss = (v: Tensor): Tensor => withPath("net.0", () => matmul(x, v).square().mean());
    const { value, grad: slope } = valueAndGrad(loss)(w);
    weights.set(sub(w, mul(slope, 0.1)));
    return value;
  },
  { name: "little step" },
);

describe("the timeline of a training step", () => {
  const path = join(folder, "trace.json");
  const steps = 3;
  let trace: Trace;
  const of = (cat: string): TraceEvent[] => trace.traceEvents.filter((event) => event.cat === cat);
  const laneNames = (): Map<number, unknown> =>
    new Map(trace.traceEvents.flatMap(({ name, tid, args }) => (name === "thread_name" ? [[tid, args.name]] : [])));

  beforeAll(async () => {
    weights.setData(new Float32Array(n * n).fill(0.01));
    startTimeline();
    const x = ones([n, n]);
    for (let i = 0; i < steps; i++) step(x);
    await settled();
    x.dispose();
    writeTimeline(path);
    stopTimeline();
    trace = read(path);
  });
  afterAll(() => {
    step.dispose();
    weights.dispose();
  });

  it("has every run, with the name of the compiled function", () => {
    expect(of("run").filter(({ name }) => name === "little step")).toHaveLength(steps);
  });

  it("has every record of explain(), named alike, with kernel and module", () => {
    const rows = step
      .explain()
      .split("\n")
      .slice(2)
      .filter((line) => !/^\d+ calls, /.test(line));
    const records = of("record").filter(({ args }) => args.program === "little step");
    expect(records).toHaveLength(steps * rows.length);
    rows.forEach((row, i) => {
      const record = records[i] as TraceEvent;
      const [op, , , kernel, , , , module = ""] = row.split(/ {2,}/);
      expect([record.name, record.args.variant, record.args.module]).toEqual([op, kernel, module]);
    });
    expect(records.map(({ args }) => args.module)).toContain("net.0");
  });

  it("names a lane for JavaScript, the queue, and each worker", () => {
    const names = [...laneNames().values()];
    expect(names.slice(0, 3)).toEqual(["JavaScript", "queue of cpu:0", "worker 0"]);
    for (const { tid } of trace.traceEvents.filter(({ ph }) => ph === "X")) expect(laneNames().has(tid)).toBe(true);
  });

  it("keeps each lane's events apart in time, or one inside the other", () => {
    for (const tid of laneNames().keys()) {
      const open: number[] = [];
      const lane = trace.traceEvents.filter((event) => event.ph === "X" && event.tid === tid);
      for (const { ts, dur } of lane.toSorted((a, b) => a.ts - b.ts || b.dur - a.dur)) {
        while (open.length > 0 && (open.at(-1) as number) <= ts + rounding) open.pop();
        if (open.length > 0) expect(ts + dur).toBeLessThanOrEqual((open.at(-1) as number) + rounding);
        open.push(ts + dur);
      }
    }
  });

  it("puts records inside runs, and pieces inside their records", () => {
    const inside = (inner: TraceEvent, outer: TraceEvent): boolean =>
      inner.ts >= outer.ts - rounding && inner.ts + inner.dur <= outer.ts + outer.dur + rounding;
    for (const record of of("record")) expect(of("run").some((run) => inside(record, run))).toBe(true);
    expect(of("piece").length).toBeGreaterThan(0);
    for (const piece of of("piece")) {
      const home = of("record").find((record) => inside(piece, record));
      expect(home?.args.record).toBe(piece.args.record);
    }
  });

  it("shows what JavaScript traced and compiled", () => {
    const names = of("javascript").map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(["compile little step", "trace", "optimise", "lower and load"]));
  });

  it("dropped nothing", () => {
    const events = trace.traceEvents.filter(({ ph }) => ph === "X").length;
    expect(trace.otherData).toEqual({ events, dropped: 0 });
  });
});

describe("a timeline", () => {
  it("knows programs that were loaded before it began", () => {
    const path = join(folder, "late.json");
    const twice = compile((x: Tensor) => x.mul(2), { name: "early" });
    scope(() => void twice(ones([2])));
    startTimeline();
    scope(() => void twice(ones([2])));
    writeTimeline(path);
    stopTimeline();
    twice.dispose();
    expect(read(path).traceEvents.some(({ cat, name }) => cat === "run" && name === "early")).toBe(true);
  });

  it("is bounded: the latest events are kept, the others counted", () => {
    const path = join(folder, "long.json");
    const kept = 2 ** 18;
    startTimeline();
    const x = ones([2]);
    for (let i = 0; i < 150_000; i++) x.mul(2).dispose();
    const { events, dropped } = writeTimeline(path);
    stopTimeline();
    x.dispose();
    expect(dropped).toBeGreaterThan(150_000);
    expect(events).toBeGreaterThanOrEqual(kept);
    expect(events).toBeLessThan(kept + 100);
  });

  it("is started once, and written only once started", () => {
    expect(() => writeTimeline(join(folder, "none.json"))).toThrow(UsageError);
    startTimeline();
    expect(() => startTimeline()).toThrow(UsageError);
    stopTimeline();
    stopTimeline();
  });
});

describe("FIGMENT_PROFILE", () => {
  const script = (body: string): string[] => [
    "--input-type=module",
    "-e",
    `import { ones } from "@figment/tensor"; const x = ones([4]); x.mul(2).dispose(); ${body}`,
  ];
  const options = (path: string) =>
    ({ cwd: new URL(".", import.meta.url), env: { ...process.env, FIGMENT_PROFILE: path } }) as const;
  const hasProduct = (path: string): boolean =>
    read(path).traceEvents.some(({ cat, name }) => cat === "run" && name === "eager mul");

  it.each([
    ["when the process ends", ""],
    ["at process.exit()", "process.exit(0);"],
  ])("writes the timeline %s", (_, body) => {
    const path = join(folder, "exit.json");
    rmSync(path, { force: true });
    const { stderr } = spawnSync(process.execPath, script(body), { ...options(path), encoding: "utf8" });
    expect(hasProduct(path)).toBe(true);
    expect(stderr).toMatch(/^FIGMENT_PROFILE: \d+ events in /);
  });

  it("writes it on Ctrl-C, which ends the process all the same", async () => {
    const path = join(folder, "interrupt.json");
    const child = spawn(process.execPath, script('console.log("ready"); setInterval(() => {}, 1000);'), options(path));
    await new Promise((resolve) => child.stdout.once("data", resolve));
    child.kill("SIGINT");
    const signal = await new Promise((resolve) => child.once("exit", (_, by) => resolve(by)));
    expect(signal).toBe("SIGINT");
    expect(hasProduct(path)).toBe(true);
  });

  it("says so when the file cannot be written, and fails nothing", () => {
    const path = join(folder, "no", "such", "folder.json");
    const result = spawnSync(process.execPath, script(""), { ...options(path), encoding: "utf8" });
    expect(result.status).toBe(0);
    expect(result.stderr).toMatch(/^FIGMENT_PROFILE: .*ENOENT/);
    expect(existsSync(path)).toBe(false);
  });

  it("says so at once where it names what is no file, and fails nothing", () => {
    const file = join(folder, "file.txt");
    writeFileSync(file, "");
    const pipe = join(folder, "pipe");
    if (process.platform !== "win32") spawnSync("mkfifo", [pipe]);
    for (const [named, reason] of [
      [join(file, "below.json"), "ENOTDIR"],
      [folder, "it is a folder"],
      ...(existsSync(pipe) ? [[pipe, "it is a pipe"]] : []),
    ] as const) {
      const result = spawnSync(process.execPath, script('console.error("goes on");'), {
        ...options(named),
        encoding: "utf8",
        timeout: 60_000,
        killSignal: "SIGKILL",
      });
      expect(result.status).toBe(0);
      expect(result.stderr).toMatch(new RegExp(`^FIGMENT_PROFILE is ".*": ${reason}[\\s\\S]*goes on`));
    }
  });
});
