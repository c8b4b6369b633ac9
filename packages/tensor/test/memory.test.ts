// Exhausted memory: the error that says what is live, and a device that works on. And things that could grow without
// bound: forgotten tensors, programs, bindings.

import {
  assertNoLeaks,
  Cell,
  compile,
  deviceInfo,
  matmul,
  memory,
  OutOfMemoryError,
  ones,
  scope,
  setMemoryLimit,
  settled,
  sum,
  type Tensor,
  tensor,
  UsageError,
  zeros,
} from "@figment/tensor";
import { afterAll, afterEach, describe, expect, it } from "vitest";

afterAll(() => assertNoLeaks());

const mebibyte = 1 << 20;
/** A matrix of 1 MiB. */
const side = 512;
const matrixBytes = 4 * side * side;
/** Kernels on matrix tiles pack what they multiply: so many such matrices more. */
const packed = deviceInfo("cpu").isa === "amx" ? 3 : 0;

const errorOf = async (run: () => unknown): Promise<unknown> => {
  try {
    await run();
    return undefined;
  } catch (error) {
    return error;
  }
};

describe("with little memory", () => {
  const held: { dispose(): void }[] = [];
  const keep = <T extends { dispose(): void }>(thing: T): T => {
    held.push(thing);
    return thing;
  };
  /** Leaves room for so many bytes more than buffers take. */
  const leaveRoom = async (bytes: number): Promise<void> => {
    await settled();
    // The way to have caches and temporaries given back is to ask for more than there is.
    setMemoryLimit(1);
    expect(() => zeros([1])).toThrow(OutOfMemoryError);
    setMemoryLimit(memory().inUse + bytes);
  };

  afterEach(() => {
    setMemoryLimit(0);
    for (const thing of held.splice(0)) thing.dispose();
  });

  it("an operation fails with the list of what is live, largest first", async () => {
    const weight = keep(new Cell({ shape: [side, 2 * side], name: "decoder.weight", initial: () => [] }));
    weight.set(keep(zeros([side, 2 * side])));
    const [a] = [1, 2, 3].map(() => keep(ones([side, side])));
    const few = keep(tensor([1, 2, 3]));
    await leaveRoom(matrixBytes / 4);
    let error: unknown;
    try {
      (a as Tensor).add(1);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(OutOfMemoryError);
    const { live, message } = error as OutOfMemoryError;
    expect(live[0]).toMatchObject({ count: 3, bytes: 3 * matrixBytes, shape: [side, side], dtype: "f32" });
    expect(live.slice(1, 3)).toContainEqual({
      count: 1,
      bytes: 2 * matrixBytes,
      shape: [side, 2 * side],
      dtype: "f32",
      name: "decoder.weight",
    });
    expect(live.at(-1)).toMatchObject({ name: "smaller buffers" });
    expect(message).toContain("3.0 MiB  3 × f32 [512, 512]");
    expect(message).toContain("2.0 MiB  decoder.weight f32 [512, 1024]");
    expect([...few.dataSync()]).toEqual([1, 2, 3]);
  });

  const least = (error: unknown): number =>
    Number(/a limit of at least (\d+)/.exec(error instanceof OutOfMemoryError ? error.message : "")?.[1]);

  it.each<[string, (a: Tensor) => { dispose(): void }]>([
    ["a tensor", () => zeros([25_001])],
    ["an operation", (a) => a.add(1)],
    ["a product", (a) => matmul(a, a)],
    [
      "a compiled function of several results",
      (a) => {
        const products = compile((x: Tensor) => [matmul(matmul(x, x), x), x.add(1), sum(x, [0])] as const);
        try {
          const results = products(a);
          return { dispose: () => results.forEach((result) => void result.dispose()) };
        } finally {
          products.dispose();
        }
      },
    ],
  ])("the limit that the error of %s names does, and no smaller one", async (_what, run) => {
    const a = keep(ones([side, side]));
    await leaveRoom(0);
    const limit = least(await errorOf(() => run(a)));
    expect(limit).toBeGreaterThan(memory().limit);
    // Nothing smaller: blocks are whole numbers of 64 bytes.
    await leaveRoom(limit - memory().inUse - 64);
    expect(least(await errorOf(() => run(a)))).toBe(limit);
    setMemoryLimit(limit);
    keep(run(a));
    await settled();
  });

  it("disposing makes the same operation work", async () => {
    const [a, b] = [keep(ones([side, side])), ones([side, side])];
    await leaveRoom(matrixBytes / 4);
    expect(() => a.add(1)).toThrow(OutOfMemoryError);
    b.dispose();
    expect(keep(a.add(1)).size).toBe(side * side);
  });

  it("what waits in the queue, and blocks kept for reuse, are given up first", async () => {
    const a = keep(ones([side, side]));
    const b = keep(ones([256, 256]));
    await leaveRoom(3 * matrixBytes);
    // Queued work that holds on to memory, and classes of freed blocks that the next request cannot use.
    for (let i = 0; i < 8; i++) scope(() => void matmul(b, b).add(b));
    for (const size of [25_000, 75_000, 125_000]) zeros([size]).dispose();
    keep(zeros([2 * side, side]));
    expect(await keep(a.sum()).item()).toBe(side * side);
  });

  it("a compiled step whose temporaries do not fit fails at its call, and leaves its state alone", async () => {
    const cell = keep(new Cell({ shape: [side, side], initial: () => new Float32Array(side * side).fill(2) }));
    const x = keep(ones([side, side]));
    const step = keep(
      compile((input: Tensor) => {
        const products = [1, 2, 3, 4].map((k) => matmul(input, input.mul(k)));
        cell.set(products.reduce((total, product) => total.add(product), cell.value));
        return sum(products.reduce((total, product) => matmul(total, product)));
      }),
    );
    const before = keep(cell.value);
    await before.data();
    await leaveRoom(2 * matrixBytes);
    for (let i = 0; i < 2; i++) {
      const error = await errorOf(() => step(x));
      expect(error).toBeInstanceOf(OutOfMemoryError);
      expect((error as Error).message).toMatch(
        /needs 64 bytes for its results, \d{5,} for its temporaries and \d+ for its kernels.*; it takes a limit of at least \d+\.\nLive on this thread/,
      );
    }
    // Nothing failed later on, nor was anything forgotten.
    await settled();
    setMemoryLimit(0);
    expect((await before.data()).every((value) => value === 2)).toBe(true);
    const now = cell.value;
    expect(await now.data()).toEqual(await before.data());
    now.dispose();
    before.dispose();
    expect(Number.isFinite(await step(x).item())).toBe(true);
    expect(await scope(() => cell.value.at(0, 0)).item()).toBe(2 + 10 * side);
  });

  it("results of many queued programs leave room for the temporaries of each", async () => {
    const twice = keep(compile((x: Tensor) => matmul(matmul(x, x.mul(0.5)), x)));
    const x = keep(ones([side, side]));
    await keep(twice(x)).data();
    // More results than fit, and always less room for temporaries than the results of the queue would leave.
    await leaveRoom((6.5 + packed) * matrixBytes);
    for (let i = 0; i < 40; i++) twice(x).dispose();
    await settled();
  });

  it("the temporaries of one program make room for those of another", async () => {
    const large = keep(compile((x: Tensor) => sum(matmul(matmul(x, x), x))));
    const wide = keep(compile((x: Tensor) => sum(matmul(matmul(x, x), matmul(x, x)))));
    const x = keep(ones([side, side]));
    await large(x).item();
    // Room for either program's temporaries, not for both at once.
    await leaveRoom((5 + packed) * matrixBytes);
    for (let i = 0; i < 3; i++) for (const program of [large, wide]) expect(await program(x).item()).toBeGreaterThan(0);
  });

  it("a shape that no machine holds is refused with the same error", () => {
    expect(() => zeros([2 ** 20, 2 ** 20])).toThrow(OutOfMemoryError);
  });
});

describe("memory stays bounded", () => {
  it("in a compiled function that captures large tensors anew at each trace", () => {
    let captured = zeros([1]);
    const add = compile((x: Tensor, k: number) => sum(x.add(captured).mul(k)));
    const x = tensor([1]);
    for (let k = 0; k < 24; k++) {
      captured.dispose();
      captured = zeros([8 * mebibyte]);
      add(x, k).dispose();
    }
    captured.dispose();
    // Each captures 32 MiB; 256 MiB may be held.
    expect(add.stats.programs).toBe(7);
    x.dispose();
    add.dispose();
  });

  it("in a compiled function that is called with ever new cells", async () => {
    const bump = compile((cell: Cell) => cell.set(cell.value.add(1)));
    const before = memory().inUse;
    for (let i = 0; i < 64; i++) {
      const cell = new Cell({ shape: [side, side], initial: () => new Float32Array(side * side) });
      bump(cell);
      cell.dispose();
    }
    await settled();
    expect(bump.stats.traces).toBe(1);
    expect(memory().inUse - before).toBeLessThan(8 * matrixBytes);
    bump.dispose();
  });
});

it.each([0.5, -1, Number.NaN, 2 ** 53, 2 ** 60, 1e300, -Infinity, "1", null])("%s is refused as a limit", (bytes) => {
  const before = memory().limit;
  const refused = expect(() => setMemoryLimit(bytes as number));
  refused.toThrow(UsageError);
  refused.toThrow(/^setMemoryLimit: expected a whole number of bytes from 0 to 9007199254740991, or Infinity, got /);
  expect(memory().limit).toBe(before);
});
