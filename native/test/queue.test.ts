// The queue: order, asynchronous reads, failures and where they surface, cancelling, state and its commit.

import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { profileEvents } from "@figment/native";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { addProgram, gatherProgram, repeatProgram, slowProgram, stepProgram } from "./programs.ts";
import { buffer, cpu, expectError, expectRejection, floatsOf, native, random, randomFloats, run } from "./support.ts";

const next = random(31);
const owned: number[] = [];
const own = (handle: number): number => {
  owned.push(handle);
  return handle;
};
const programs: number[] = [];
const load = (blob: Uint8Array, variant?: string): number => {
  const program = native.loadProgram(blob, variant);
  programs.push(program);
  return program;
};
/** Runs and owns the outputs. */
const runOwned = (...args: Parameters<typeof run>): number[] => run(...args).map(own);

/** About a tenth of a second of work, in a hundred records of the reference kernel. */
const longCount = 1 << 16;
const longTimes = 100;
const loadLong = (): number => load(slowProgram(longCount, longTimes), "reference");
const startLong = (cancel = 0): number => {
  const input = own(buffer(randomFloats(next, longCount)));
  return runOwned(loadLong(), [input], 1, 0, cancel)[0]!;
};

const bytesOf = (data: Float32Array): Uint8Array => new Uint8Array(data.buffer);

let liveBuffers = 0;
beforeEach(() => {
  liveBuffers = native.memory().liveBuffers;
});
afterEach(async () => {
  await native.settled().catch(() => undefined);
  for (const handle of owned.splice(0)) native.release(handle);
  for (const program of programs.splice(0)) native.releaseProgram(program);
  expect(native.memory().liveBuffers).toBe(liveBuffers);
});

describe("the queue", () => {
  it("runs a chain in the order of the calls", async () => {
    const add = load(addProgram(longCount));
    const one = own(buffer(new Float32Array(longCount).fill(1)));
    let sum = own(buffer(randomFloats(next, longCount)));
    const first = (await floatsOf(sum))[12345]!;
    for (let i = 0; i < 50; i++) sum = runOwned(add, [sum, one])[0]!;
    expect((await floatsOf(sum))[12345]).toBeCloseTo(first + 50, 3);
  });

  it("returns before a long program is done, and answers a read when it is", async () => {
    const [program, input] = [loadLong(), own(buffer(randomFloats(next, longCount)))];
    const start = performance.now();
    const output = runOwned(program, [input])[0]!;
    const returned = performance.now() - start;
    const values = await floatsOf(output);
    const done = performance.now() - start;
    expect(values).toHaveLength(longCount);
    expect(returned).toBeLessThan(done / 2);
  });

  it("leaves the event loop free meanwhile", async () => {
    let ticks = 0;
    const timer = setInterval(() => ticks++, 2);
    await floatsOf(startLong());
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(3);
  });

  it("lets a small program behind a long one wait for it", async () => {
    const long = startLong();
    const add = load(addProgram(longCount));
    const [sum] = runOwned(add, [long, long]);
    const [doubled, original] = await Promise.all([floatsOf(sum!), floatsOf(long)]);
    expect(doubled[777]).toBe(Math.fround(2 * original[777]!));
  });

  it("keeps released inputs alive for queued work", async () => {
    const input = buffer(new Float32Array(longCount).fill(0));
    const [output] = runOwned(loadLong(), [input]);
    native.release(input);
    const reused = own(native.allocate(cpu, 4 * longCount));
    native.write(reused, 0, new Float32Array(longCount).fill(1));
    expect((await floatsOf(output!)).every((value) => value === 0)).toBe(true);
  });

  it("makes a write wait for the work that reads the buffer", async () => {
    const input = own(buffer(new Float32Array(longCount).fill(0)));
    const [output] = runOwned(loadLong(), [input]);
    native.write(input, 0, new Float32Array(longCount).fill(1));
    expect((await floatsOf(output!)).every((value) => value === 0)).toBe(true);
  });

  it("settles when everything queued is done", async () => {
    startLong();
    await native.settled();
    startLong();
    native.settleSync();
  });

  it("gives the same bits on any number of threads, inline or queued", async () => {
    const threads = native.threads();
    const input = own(buffer(randomFloats(next, longCount)));
    const program = load(slowProgram(longCount, 5));
    const results: Float32Array[] = [];
    for (const count of [1, 2, 3, 5]) {
      native.setThreads(count);
      results.push(await floatsOf(runOwned(program, [input])[0]!));
    }
    native.setThreads(threads);
    for (const result of results) expect(Buffer.compare(bytesOf(result), bytesOf(results[0]!))).toBe(0);
  });

  const processors = (task: string): string =>
    readFileSync(`/proc/self/task/${task}/status`, "utf8").match(/Cpus_allowed_list:\s*(\S+)/)![1]!;

  it.runIf(process.platform === "linux" && availableParallelism() > 1)(
    "gives every worker a processor of its own where there are as many as threads, and leaves other threads free",
    async () => {
      const threads = native.threads();
      const tasks = (): string[] => readdirSync("/proc/self/task");
      const everywhere = processors(String(process.pid));
      const input = own(buffer(randomFloats(next, longCount)));
      native.setThreads(availableParallelism());
      await floatsOf(runOwned(load(slowProgram(longCount, 1)), [input])[0]!);
      const bound = tasks().flatMap((task) => (processors(task) === everywhere ? [] : [processors(task)]));
      expect(new Set(bound).size).toBe(availableParallelism() - 1);
      expect(bound).toHaveLength(availableParallelism() - 1);
      native.setThreads(threads);
    },
  );
});

describe("a number as input", () => {
  const word = (value: number): number => new Float64Array(Float32Array.of(value, 0).buffer)[0]!;

  it("travels with the run, at once or behind another", async () => {
    const add = load(addProgram(1));
    const x = own(buffer(new Float32Array([40])));
    for (const behind of [false, true]) {
      if (behind) startLong();
      const inputs = [x, 0, 0, word(2)];
      const [sum] = runOwned(add, inputs);
      inputs.fill(0);
      expect((await floatsOf(sum!))[0]).toBe(42);
    }
  });

  it("is refused where it is missing or the program needs more than 8 bytes", () => {
    const x = own(buffer(new Float32Array(4)));
    expectError(() => run(load(addProgram(1)), [x, 0]), "ERR_FIGMENT_ARGUMENT", /input 1 has no buffer/);
    expectError(() => run(load(addProgram(4)), [x, 0, 0, 1]), "ERR_FIGMENT_ARGUMENT", /input 1 is a number.*16 bytes/);
  });
});

describe("a failed run", () => {
  const badIndex = (): number[] => [
    own(buffer(new Float32Array([1, 2, 3, 4]))),
    own(buffer(new Int32Array([0, 9, 1, 2]))),
  ];

  it("rejects reads of its outputs with its own error", async () => {
    const [output] = runOwned(load(gatherProgram(4, 4)), badIndex());
    await expectRejection(native.read(output!, 0, 16), "ERR_FIGMENT_INDEX", /9/);
    expectError(() => native.readSync(output!, 0, 16), "ERR_FIGMENT_INDEX");
    await native.settled();
  });

  it("passes its error on to what was computed from its outputs", async () => {
    const [output] = runOwned(load(gatherProgram(4, 4)), badIndex());
    const add = load(addProgram(4));
    const other = own(buffer(new Float32Array(4)));
    const [once] = runOwned(add, [other, output!]);
    const [twice] = runOwned(add, [once!, once!]);
    await expectRejection(native.read(twice!, 0, 16), "ERR_FIGMENT_INDEX", /9/);
    const [healthy] = runOwned(add, [other, other]);
    expect(await floatsOf(healthy!)).toEqual(new Float32Array(4));
  });

  it("fails the same way behind a long program", async () => {
    startLong();
    const [output] = runOwned(load(gatherProgram(4, 4)), badIndex());
    await expectRejection(native.read(output!, 0, 16), "ERR_FIGMENT_INDEX", /9/);
  });

  it("surfaces once at the next call that waits, when nobody read it", async () => {
    const gather = load(gatherProgram(4, 4));
    runOwned(gather, badIndex());
    await expectRejection(native.settled(), "ERR_FIGMENT_INDEX");
    await native.settled();
    runOwned(gather, badIndex());
    expectError(() => native.settleSync(), "ERR_FIGMENT_INDEX");
    native.settleSync();
    runOwned(gather, badIndex());
    const healthy = own(buffer(new Float32Array(4)));
    expectError(() => native.readSync(healthy, 0, 16), "ERR_FIGMENT_INDEX");
    expect(native.readSync(healthy, 0, 16).byteLength).toBe(16);
  });

  it("is forgotten by a buffer that is written whole", async () => {
    const [output] = runOwned(load(gatherProgram(4, 4)), badIndex());
    native.write(output!, 0, new Float32Array(4));
    expect(await floatsOf(output!)).toEqual(new Float32Array(4));
    await expectRejection(native.settled(), "ERR_FIGMENT_INDEX");
  });
});

describe("cancelling", () => {
  it("stops a running program between records and rejects its readers", async () => {
    const token = native.createCancel();
    native.profile(true);
    const reading = expectRejection(native.read(startLong(token), 0, 4), "ERR_FIGMENT_ABORTED");
    setTimeout(() => native.cancel(token), 10);
    await reading;
    const records = profileEvents(native.readProfile(0)).filter(({ kind }) => kind === "record");
    native.profile(false);
    expect(records.length).toBeLessThan(longTimes);
    native.releaseCancel(token);
  });

  it("before the call keeps the program from starting, and is nobody's unreported error", async () => {
    const token = native.createCancel();
    native.cancel(token);
    const output = startLong(token);
    native.releaseCancel(token);
    await native.settled();
    await expectRejection(native.read(output, 0, 4), "ERR_FIGMENT_ABORTED");
  });
});

describe("state", () => {
  const count = 4;
  const setUp = (index: readonly number[]): { program: number; state: number; binding: number; inputs: number[] } => {
    const program = load(stepProgram(count));
    const state = own(buffer(new Float32Array([100, 200, 300, 400])));
    const inputs = [own(buffer(new Float32Array([1, 2, 3, 4]))), own(buffer(Int32Array.from(index)))];
    return { program, state, inputs, binding: native.bind(program, Float64Array.of(state)) };
  };

  it("is updated in place by each run", async () => {
    const { program, state, binding, inputs } = setUp([3, 2, 1, 0]);
    for (let i = 0; i < 3; i++) runOwned(program, inputs, 1, binding);
    expect(await floatsOf(state)).toEqual(new Float32Array([112, 209, 306, 403]));
    native.releaseBinding(binding);
  });

  it("is untouched, and healthy, when the run fails before its commit", async () => {
    const { program, state, binding, inputs } = setUp([3, 2, 1, -1]);
    const [output] = runOwned(program, inputs, 1, binding);
    await expectRejection(native.read(output!, 0, 16), "ERR_FIGMENT_INDEX");
    expect(await floatsOf(state)).toEqual(new Float32Array([100, 200, 300, 400]));
    native.releaseBinding(binding);
  });

  it("is untouched when the run is cancelled", async () => {
    const { program, state, binding, inputs } = setUp([0, 1, 2, 3]);
    const token = native.createCancel();
    native.cancel(token);
    runOwned(program, inputs, 1, binding, token);
    expect(await floatsOf(state)).toEqual(new Float32Array([100, 200, 300, 400]));
    native.releaseCancel(token);
    native.releaseBinding(binding);
  });

  it("stays alive in its binding after its handle is released", () => {
    const program = load(stepProgram(count));
    const state = buffer(new Float32Array(count));
    const binding = native.bind(program, Float64Array.of(state));
    native.release(state);
    const inputs = [own(buffer(new Float32Array(count))), own(buffer(new Int32Array(count)))];
    runOwned(program, inputs, 1, binding);
    native.settleSync();
    native.releaseBinding(binding);
  });

  it("is read after the run that writes it, whether its binding is still there or not", () => {
    for (const released of [false, true]) {
      const { program, state, binding, inputs } = setUp([3, 2, 1, 0]);
      startLong();
      runOwned(program, inputs, 1, binding);
      if (released) native.releaseBinding(binding);
      expect(new Float32Array(native.readSync(state, 0, 16))).toEqual(new Float32Array([104, 203, 302, 401]));
      if (!released) native.releaseBinding(binding);
    }
  });

  it("that has no contents fails the run, also after runs in which it had them, and works once it is written", async () => {
    const { program, binding, inputs } = setUp([3, 2, 1, 0]);
    const [bad] = runOwned(load(gatherProgram(4, 4)), [inputs[0]!, own(buffer(new Int32Array([0, 9, 1, 2])))]);
    const broken = native.bind(program, Float64Array.of(bad!));
    for (let i = 0; i < 2; i++) {
      const [sound] = runOwned(program, inputs, 1, binding);
      await native.read(sound!, 0, 16);
      const [output] = runOwned(program, inputs, 1, broken);
      await expectRejection(native.read(output!, 0, 16), "ERR_FIGMENT_INDEX", /9/);
    }
    native.write(bad!, 0, new Float32Array(4));
    runOwned(program, inputs, 1, broken);
    expect(await floatsOf(bad!)).toEqual(new Float32Array([4, 3, 2, 1]));
    for (const handle of [binding, broken]) native.releaseBinding(handle);
  });

  it("may not be an input of the program that writes it", () => {
    const { program, state, binding, inputs } = setUp([0, 1, 2, 3]);
    expectError(
      () => run(program, [state, inputs[1]!], 1, binding),
      "ERR_FIGMENT_ARGUMENT",
      /state that the program writes/,
    );
    native.releaseBinding(binding);
    const other = native.bind(program, Float64Array.of(inputs[0]!));
    runOwned(program, [state, inputs[1]!], 1, other);
    native.releaseBinding(other);
  });

  it("is refused when missing, too small, or bound to another program", () => {
    const { program, binding, inputs } = setUp([0, 1, 2, 3]);
    expectError(() => run(program, inputs), "ERR_FIGMENT_ARGUMENT", /the program has state/);
    expectError(() => native.bind(program, new Float64Array()), "ERR_FIGMENT_ARGUMENT", /expected 1 buffers, got 0/);
    const small = own(native.allocate(cpu, 8));
    expectError(() => native.bind(program, Float64Array.of(small)), "ERR_FIGMENT_ARGUMENT", /8 bytes.*needs 16/);
    const twin = load(stepProgram(count));
    expectError(() => run(twin, inputs, 1, binding), "ERR_FIGMENT_ARGUMENT", /another program/);
    native.releaseBinding(binding);
  });
});

describe("a loop", () => {
  const count = 4;
  const endless = 2 ** 31 - 1;
  const setUp = (times: number, index: readonly number[] = [0, 1, 2, 3], x: readonly number[] = [1, 2, 3, 4]) => {
    const program = load(repeatProgram(count, times));
    const state = own(buffer(new Float32Array(count)));
    const inputs = [own(buffer(Float32Array.from(x))), own(buffer(Int32Array.from(index)))];
    return { program, state, inputs, binding: native.bind(program, Float64Array.of(state)) };
  };

  it("updates state at each iteration", async () => {
    const { program, state, binding, inputs } = setUp(5);
    const [output] = runOwned(program, inputs, 1, binding);
    expect(await floatsOf(state)).toEqual(new Float32Array([10, 20, 30, 40]));
    expect(await floatsOf(output!)).toEqual(new Float32Array([1, 2, 3, 4]));
    native.releaseBinding(binding);
  });

  it("leaves state untouched, and healthy, when its first iteration fails", async () => {
    const { program, state, binding, inputs } = setUp(5, [0, 1, 9, 3]);
    const [output] = runOwned(program, inputs, 1, binding);
    await expectRejection(native.read(output!, 0, 16), "ERR_FIGMENT_INDEX");
    expect(await floatsOf(state)).toEqual(new Float32Array(count));
    native.releaseBinding(binding);
  });

  it("of any length stops when cancelled, after a whole iteration", async () => {
    const { program, state, binding, inputs } = setUp(endless, [0, 1, 2, 3], [1, 1, 1, 1]);
    const token = native.createCancel();
    const [output] = runOwned(program, inputs, 1, binding, token);
    await new Promise((resolve) => setTimeout(resolve, 5));
    native.cancel(token);
    await expectRejection(native.read(output!, 0, 16), "ERR_FIGMENT_ABORTED");
    const sums = await floatsOf(state);
    expect(new Set(sums).size).toBe(1);
    expect(sums[0]! % 2).toBe(0);
    native.releaseCancel(token);
    native.releaseBinding(binding);
  });
});

describe("profiling", () => {
  it("times each record of the runs meanwhile", async () => {
    native.profile(true);
    await floatsOf(startLong());
    const events = profileEvents(native.readProfile(0));
    native.profile(false);
    const records = events.filter(({ kind }) => kind === "record");
    expect(records).toHaveLength(longTimes);
    expect(records.every(({ op, micros }) => op === "elementwise" && micros > 0)).toBe(true);
    expect(records.map(({ tag }) => tag)).toEqual([...records.keys()]);
    expect(native.readProfile(0).events).toHaveLength(0);
  });
});
