// Wrong input never crashes: random arguments at every entry of the addon, and mutated programs. Anything but a typed
// error, or a result, fails; a crash would take the test's process with it. Programs of every op are mutated in the
// tests of @figment/tensor, which knows the ops.

import { describe, expect, it } from "vitest";
import { fuzzProgram } from "./fuzzer.ts";
import { addProgram, gatherProgram, repeatProgram, slowProgram, stepProgram } from "./programs.ts";
import { buffer, isNativeError, native, pick, type Random, random, release, whole } from "./support.ts";

const argumentSeed = 4711;
const mutationSeed = 815;
const entries = Object.values(native).filter((entry) => typeof entry === "function").length;
/** FIGMENT_FUZZ_TOTAL asks for so many calls in all, and programs. */
const total = Number(process.env.FIGMENT_FUZZ_TOTAL ?? 0);
const argumentRounds = total ? Math.ceil(total / entries) : 3000;
const mutationRounds = total ? Math.ceil(total / 20) : 6000;

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
  // A second each.
  measureCeilings: ([threads]) => [typeof threads === "number" && threads >= 1 && threads <= 256 ? 0 : threads],
};

describe("random arguments", () => {
  it(`give a result or a typed error, ${argumentRounds} times at each entry (seed ${argumentSeed})`, async () => {
    const next = random(argumentSeed);
    const programs = [addProgram(4), slowProgram(16, 3), gatherProgram(4, 4), stepProgram(4)].map((program) =>
      native.loadProgram(program),
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
    native.setIsa(null);
    native.setThreads(native.cpu().cores);
    for (const program of programs) native.releaseProgram(program);
  });
});

describe("mutated programs", () => {
  const sources: [string, Uint8Array][] = [
    ["one addition", addProgram(16)],
    ["a chain through the arena", slowProgram(64, 3)],
    ["a gather", gatherProgram(16, 8)],
    ["a step with state", stepProgram(16)],
    ["a loop within a loop", repeatProgram(16, 3)],
  ];
  it.each(sources)(
    `of %s load and run, or are refused, ${mutationRounds} times (seed ${mutationSeed})`,
    (_, source) => {
      const { loaded, ran } = fuzzProgram(random(mutationSeed), source, mutationRounds);
      expect(loaded).toBeGreaterThan(mutationRounds / 100);
      expect(ran).toBeGreaterThan(mutationRounds / 200);
    },
  );
});
