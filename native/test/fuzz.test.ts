// Wrong input never crashes: random arguments at every entry of the addon, and mutated programs, loaded and
// run. Anything but a typed error, or a result, fails; a crash would take the test's process with it.

import { describe, expect, it } from "vitest";
import { type Blob, slotKind, writeBlob } from "./blob.ts";
import { calls } from "./calls.ts";
import { addBlob, gatherBlob, slowBlob, stepBlob } from "./programs.ts";
import { buffer, isNativeError, native, random } from "./support.ts";

const argumentSeed = 4711;
const mutationSeed = 815;
const argumentRounds = 3000;
const mutationRounds = 6000;
const callRounds = 2000;
const longestMicros = 1e5;

type Random = () => number;
const pick = <T>(next: Random, items: readonly T[]): T => items[Math.floor(next() * items.length)]!;
const whole = (next: Random, below: number): number => Math.floor(next() * below);

/** Values that a careless or hostile caller might pass. */
function strangeValue(next: Random, handles: readonly number[]): unknown {
  const makers: (() => unknown)[] = [
    () => undefined,
    () => null,
    () => next() < 0.5,
    () => pick(next, ["", "elementwise", "cpu", "\u0000", "x".repeat(1000)]),
    () => Symbol("strange"),
    () => BigInt(whole(next, 1000)),
    () => ({ valueOf: () => 1 }),
    () => [1, 2, 3],
    () => () => 1,
    () =>
      pick(next, [
        0,
        -0,
        -1,
        1,
        0.5,
        Number.NaN,
        Infinity,
        -Infinity,
        2 ** 31,
        2 ** 32,
        2 ** 53 - 1,
        2 ** 53,
        1e308,
        5e-324,
      ]),
    () => whole(next, 4096),
    () => next() * 2 ** 53,
    () => pick(next, handles),
    () => pick(next, handles) + whole(next, 9) - 4,
    () => Float64Array.from({ length: whole(next, 5) }, () => (next() < 0.7 ? pick(next, handles) : next() * 2 ** 53)),
    () => new Uint8Array(whole(next, 200)).map(() => whole(next, 256)),
    () => new DataView(new ArrayBuffer(whole(next, 64))),
    () => new Float64Array(new SharedArrayBuffer(8 * whole(next, 4))),
    () => detached(next),
    () => new ArrayBuffer(8),
    () => Promise.resolve(1),
    () => new Proxy({}, {}),
  ];
  return pick(next, makers)();
}

function detached(next: Random): unknown {
  const view = next() < 0.5 ? new Uint8Array(16) : new Float64Array(2);
  structuredClone(view.buffer, { transfer: [view.buffer as ArrayBuffer] });
  return view;
}

/** Calls that would slow the test down when they succeed with large numbers, kept to small ones. */
const tamed: Partial<Record<string, (args: unknown[]) => unknown[]>> = {
  allocate: ([device, bytes]) => [device, typeof bytes === "number" && bytes > 1e6 && bytes < 2 ** 45 ? 64 : bytes],
  setThreads: ([count]) => [typeof count === "number" && count > 4 && count <= 256 ? 4 : count],
};

describe("random arguments", () => {
  it(`give a result or a typed error, ${argumentRounds} times at each entry (seed ${argumentSeed})`, async () => {
    const next = random(argumentSeed);
    const programs = [addBlob(4), slowBlob(16, 3), gatherBlob(4, 4), stepBlob(4)].map((blob) =>
      native.loadProgram(writeBlob(blob)),
    );
    const buffers = Array.from({ length: 6 }, () => buffer(new Float32Array(16)));
    const tokens = [native.createCancel()];
    const bindings = [native.bind(programs[3]!, Float64Array.of(buffers[0]!))];
    const handles = [...programs, ...buffers, ...tokens, ...bindings];
    const releases = new Set(["release", "releaseProgram", "releaseBinding", "releaseCancel"]);
    const promises: Promise<unknown>[] = [];
    const fresh: number[] = [];
    for (const [name, entry] of Object.entries(native) as [string, unknown][]) {
      if (typeof entry !== "function") continue;
      for (let i = 0; i < argumentRounds; i++) {
        let args = Array.from({ length: whole(next, 7) }, () => strangeValue(next, handles));
        // Valid handles are only released by exact copies of themselves, which would end the others' test.
        if (releases.has(name)) args = args.map((arg) => (handles.includes(arg as number) ? -1 : arg));
        args = tamed[name]?.(args) ?? args;
        try {
          const result: unknown = entry(...args);
          if (result instanceof Promise)
            promises.push(result.catch((error) => expect(isNativeError(error)).toBe(true)));
          if (name === "allocate") fresh.push(result as number);
          if (name === "run") {
            const outputs = args[3] as Float64Array;
            fresh.push(outputs[0]!);
          }
        } catch (error) {
          if (!isNativeError(error)) throw new Error(`${name} threw ${String(error)}`);
        }
        if (i % 100 === 0) {
          await Promise.all(promises.splice(0));
          for (const handle of fresh.splice(0)) release(handle);
        }
      }
    }
    await Promise.all(promises);
    native.setMemoryLimit(0);
    native.setPoison(false);
    native.profile(false);
    native.takeProfile();
    native.setIsa(null);
    native.setThreads(native.cpu().cores);
    for (const program of programs) native.releaseProgram(program);
  });
});

/** Releases a buffer that a fuzzed call may have replaced by nonsense. */
function release(handle: number): void {
  try {
    native.release(handle);
  } catch (error) {
    if (!isNativeError(error)) throw error;
  }
}

/** Changes a few bytes, words or lengths of a program. */
function mutate(next: Random, source: Uint8Array): Uint8Array {
  let bytes = source.slice();
  const edits = 1 + whole(next, 3);
  for (let e = 0; e < edits; e++) {
    const at = whole(next, bytes.length);
    const view = new DataView(bytes.buffer);
    const word = at - (at % 4);
    pick(next, [
      () => (bytes[at] = whole(next, 256)),
      () => (bytes[at]! ^= 1 << whole(next, 8)),
      () =>
        word + 4 <= bytes.length &&
        view.setUint32(word, pick(next, [0, 1, 2, 7, 8, 255, 0x7fffffff, 0x80000000, 0xffffffff]), true),
      () =>
        word + 8 <= bytes.length &&
        view.setBigInt64(word, pick(next, [0n, 1n, -1n, 3n, 64n, 1n << 31n, 1n << 46n, 1n << 62n, -(1n << 63n)]), true),
      () => (bytes = bytes.slice(0, whole(next, 20) === 0 ? at : bytes.length)),
      () => bytes.copyWithin(word, whole(next, bytes.length), word + 8),
    ])();
  }
  return bytes;
}

const typed = (error: unknown): void => {
  if (!isNativeError(error)) throw error;
};

/** Loads and runs mutations of a program; counts how many got how far. */
function fuzzProgram(next: Random, blob: Blob, rounds: number): { loaded: number; ran: number } {
  const source = writeBlob(blob);
  // Small whole numbers: valid as indices, denormal as floats. Larger than any operand of these programs, so that
  // mutations of sizes have room to run.
  const contents = (): Int32Array => Int32Array.from({ length: 1 << 14 }, () => whole(next, 5));
  const operands = Array.from({ length: 4 }, () => buffer(contents()));
  const state = buffer(contents());
  const inputs = Float64Array.from({ length: 32 }, (_, i) => operands[i % operands.length]!);
  const outputs = new Float64Array(32);
  const counts = { loaded: 0, ran: 0 };
  for (let i = 0; i < rounds; i++) {
    const mutated = i === 0 ? source : mutate(next, source);
    let program: number;
    try {
      program = native.loadProgram(mutated, i % 3 === 0 ? "reference" : undefined);
    } catch (error) {
      typed(error);
      continue;
    }
    counts.loaded++;
    outputs.fill(0);
    let binding = 0;
    try {
      // A mutation may have made a small program long: one that would take seconds is not run.
      if (native.programInfo(program).predictedMicros < longestMicros) {
        if (blob.slots.some(({ kind }) => kind === slotKind.state)) {
          binding = native.bind(program, new Float64Array(8).fill(state));
        }
        native.run(program, binding, inputs, outputs, 0);
        counts.ran++;
        native.settleSync();
      }
    } catch (error) {
      typed(error);
    }
    for (const output of outputs) if (output > 0) release(output);
    if (binding > 0) native.releaseBinding(binding);
    native.releaseProgram(program);
  }
  for (const handle of [...operands, state]) native.release(handle);
  return counts;
}

describe("mutated programs", () => {
  const sources: [string, Blob][] = [
    ["one addition", addBlob(16)],
    ["a chain through the arena", slowBlob(64, 3)],
    ["a gather", gatherBlob(16, 8)],
    ["a step with state", stepBlob(16)],
  ];
  it.each(sources)(`of %s load and run, or are refused, ${mutationRounds} times (seed ${mutationSeed})`, (_, blob) => {
    const { loaded, ran } = fuzzProgram(random(mutationSeed), blob, mutationRounds);
    expect(loaded).toBeGreaterThan(mutationRounds / 100);
    expect(ran).toBeGreaterThan(mutationRounds / 200);
  });

  it("cover every operation", () => expect(Object.keys(calls).sort()).toEqual(native.ops().sort()));

  it.each(Object.keys(calls))(
    `of %s load and run, or are refused, ${callRounds} times (seed ${mutationSeed})`,
    (op) => {
      const intact = native.loadProgram(writeBlob(calls[op]!));
      native.releaseProgram(intact);
      const { ran } = fuzzProgram(random(mutationSeed), calls[op]!, callRounds);
      expect(ran).toBeGreaterThan(0);
    },
  );
});
