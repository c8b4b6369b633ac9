// Packed copies of weights, kept between runs of programs that only read them: the same bits as without, always of the
// weights as they are, and never in the way of other memory.

import { loadBinding } from "@figment/native";
import {
  assertNoLeaks,
  Cell,
  type CellTree,
  type Compiled,
  compile,
  concat,
  conv2d,
  conv2dInputGrad,
  deviceInfo,
  matmul,
  memory,
  ones,
  repeat,
  rng,
  scope,
  setMemoryLimit,
  setThreads,
  settled,
  type Tensor,
} from "@figment/tensor";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { withEmulatedTiles, withoutTiles } from "./support/tiles.ts";

const random = rng(11);
afterAll(() => {
  random.dispose();
  assertNoLeaks();
});
const draw = (...shape: number[]): Tensor => random.normal(shape);

function cellOf(...shape: number[]): Cell {
  const cell = new Cell({ shape });
  fill(cell);
  return cell;
}

const fill = (cell: Cell): void => scope(() => cell.set(draw(...cell.shape)));

/** What explain() says became of the packings of a function's latest program. */
const packings = (f: Compiled<never, unknown>): string[] => f.explain().match(/packed \d+×, kept \d+×/g) ?? [];

const toDispose: { dispose(): void }[] = [];
afterEach(() => {
  for (const thing of toDispose.splice(0)) thing.dispose();
});
function using<T extends { dispose(): void }>(thing: T): T {
  toDispose.push(thing);
  return thing;
}

/** A product of few rows by weights [192, 160] in a cell. */
function layer(rows = 40) {
  const weight = using(cellOf(192, 160));
  const x = using(scope(() => draw(rows, 160)));
  const f = using(compile((input: Tensor) => matmul(input, weight.value, { transposeB: true })));
  return { weight, x, f };
}

/** A tensor's numbers as text, which compares faster than thousands of elements do. */
function bitsOf(make: () => Tensor): string {
  const { buffer } = scope(() => make().dataSync());
  return Buffer.from(buffer).toString("base64");
}

const result = (f: (x: Tensor) => Tensor, x: Tensor): string => bitsOf(() => f(x));
/** The product as an operation on its own, which packs anew. */
const eager = (weight: Cell, x: Tensor): string => bitsOf(() => matmul(x, weight.value, { transposeB: true }));

/** An operation by weights, with the shapes of both: the same bits from packings that are made once. */
type Case = [string, (x: Tensor, w: Tensor) => Tensor, number[], number[]];
function givesSameBits(...[, op, shape, weights]: Case): void {
  for (const dtype of ["f32", "bf16"] as const) {
    const weight = using(new Cell({ shape: weights, dtype }));
    scope(() => weight.set(draw(...weights).cast(dtype)));
    const x = using(scope(() => draw(...shape).cast(dtype)));
    const f = using(compile((input: Tensor) => op(input, weight.value)));
    const expected = bitsOf(() => op(x, weight.value));
    for (let call = 0; call < 3; call++) expect(result(f, x)).toBe(expected);
    expect(packings(f)).toEqual(["packed 1×, kept 2×"]);
  }
}

describe("kept packings", () => {
  withoutTiles();
  const cases: Case[] = [
    ["a product", (x, w) => matmul(x, w), [40, 70], [70, 50]],
    ["a product by transposed weights", (x, w) => matmul(x, w, { transposeB: true }), [9, 70], [50, 70]],
    ["a batch of products by one factor", (x, w) => matmul(x, w, { transposeA: true }), [3, 70, 30], [70, 50]],
    ["a product cut along its sums", (x, w) => matmul(x, w, { transposeB: true }), [16, 4200], [40, 4200]],
    ["a convolution", (x, w) => conv2d(x, w, { padding: 1 }), [1, 7, 7, 5], [37, 3, 3, 5]],
    ["a strided one", (x, w) => conv2d(x, w, { stride: 2, padding: 1 }), [2, 9, 8, 24], [40, 3, 3, 24]],
    ["a convolution in groups", (x, w) => conv2d(x, w, { groups: 2, padding: 1 }), [1, 6, 6, 16], [40, 3, 3, 8]],
    ["groups of few channels", (x, w) => conv2d(x, w, { groups: 8, padding: 1 }), [1, 6, 6, 8], [8, 3, 3, 1]],
    ["few results", (x, w) => conv2d(x, w, { padding: 1 }), [1, 6, 6, 32], [3, 3, 3, 32]],
    [
      "a transposed convolution",
      (y, w) => conv2dInputGrad(y, w, { stride: 2, padding: 1, inputShape: [2, 8, 8, 24] }),
      [2, 4, 4, 40],
      [40, 4, 4, 24],
    ],
    [
      "a transposed one with uneven phases",
      (y, w) => conv2dInputGrad(y, w, { stride: 3, padding: 1, dilation: 2 }),
      [1, 4, 4, 20],
      [20, 3, 3, 18],
    ],
  ];
  it.each(cases)("give %s the bits that packing at each call gives", givesSameBits);

  it("have the same bits whatever the number of threads", () => {
    const { weight, x, f } = layer(400);
    const { threads: usual } = deviceInfo("cpu");
    setThreads(1);
    const one = result(f, x);
    for (const threads of [2, 3]) {
      setThreads(threads);
      expect(result(f, x)).toBe(one);
      scope(() => weight.set(weight.value.mul(1)));
      expect(result(f, x)).toBe(one);
    }
    expect(packings(f)).toEqual(["packed 3×, kept 2×"]);
    setThreads(usual);
  });

  it("are made once for all iterations of a loop", async () => {
    const weight = using(cellOf(64, 64));
    const state = using(cellOf(32, 64));
    const f = using(
      compile(() => repeat(5, () => state.set(matmul(state.value, weight.value, { transposeB: true }).mul(0.1)))),
    );
    f();
    await settled();
    expect(packings(f)).toEqual(["packed 1×, kept 4×"]);
    expect(f.explain()).toMatch(/\n {2}pack +weights/);
  });

  it("serve every program that reads the weights in that order", () => {
    const { weight, x, f } = layer(40);
    const y = using(scope(() => draw(25, 160)));
    result(f, x);
    const { packed } = memory();
    expect(result(f, y)).toBe(eager(weight, y));
    expect(packings(f)).toEqual(["packed 0×, kept 1×"]);
    expect(memory().packed).toBe(packed);
  });

  it("are left out where many rows repay packing at each call", () => {
    const { x, f } = layer(2000);
    result(f, x);
    expect(packings(f)).toEqual([]);
  });
});

describe("kept packings of products on matrix tiles", () => {
  withEmulatedTiles();
  const cases: Case[] = [
    ["a product", (x, w) => matmul(x, w), [100, 70], [70, 130]],
    ["a product by transposed weights", (x, w) => matmul(x, w, { transposeB: true }), [129, 300], [100, 300]],
    ["a batch of products by one factor", (x, w) => matmul(x, w), [3, 100, 130], [130, 100]],
    ["a batch of transposed factors", (x, w) => matmul(x, w, { transposeA: true }), [3, 70, 120], [70, 150]],
    ["a strided convolution", (x, w) => conv2d(x, w, { stride: 2, padding: 1 }), [2, 17, 16, 64], [80, 3, 3, 64]],
    [
      "a transposed convolution",
      (y, w) => conv2dInputGrad(y, w, { stride: 2, padding: 1, inputShape: [2, 16, 16, 96] }),
      [2, 8, 8, 64],
      [64, 4, 4, 96],
    ],
    [
      "a convolution whose weights are streamed",
      (x, w) => conv2d(x, w, { padding: 1 }),
      [1, 8, 8, 256],
      [256, 3, 3, 256],
    ],
    [
      "a transposed one",
      (y, w) => conv2dInputGrad(y, w, { stride: 2, padding: 1, inputShape: [1, 8, 8, 112] }),
      [1, 4, 4, 256],
      [256, 4, 4, 112],
    ],
  ];
  it.each(cases)("give %s the bits that packing at each call gives", givesSameBits);

  it("give convolutions on any number of threads the same bits, near those of fewer columns", () => {
    const { threads: usual } = deviceInfo("cpu");
    for (const dtype of ["f32", "bf16"] as const) {
      const x = using(scope(() => draw(1, 8, 8, 250).cast(dtype)));
      const weight = using(new Cell({ shape: [256, 3, 3, 250], dtype }));
      scope(() => weight.set(draw(256, 3, 3, 250).cast(dtype)));
      const conv = (input: Tensor, from: number, count: number): Tensor =>
        conv2d(input, weight.value.slice([from, 0, 0, 0], [count, 3, 3, 250]), { padding: 1 });
      const f = using(compile((input: Tensor) => conv2d(input, weight.value, { padding: 1 })));
      const expected = result(f, x);
      scope(() => {
        const parts = [0, 64, 128, 192].map((from) => conv(x, from, 64)); // whose weights stay in the caches
        const error = f(x).sub(concat(parts, 3)).abs().max().div(f(x).abs().max());
        expect(error.cast("f32").dataSync()[0]).toBeLessThan(dtype === "f32" ? 1e-5 : 2 ** -8);
      });
      for (const threads of [1, 2, 3]) {
        setThreads(threads);
        expect(result(f, x) === expected).toBe(true);
        expect(bitsOf(() => conv(x, 0, 256)) === expected).toBe(true);
      }
      setThreads(usual);
    }
  });

  it.each([
    ["at once", [70, 1040], [1040, 530]],
    ["in parts", [50, 8300], [8300, 50]],
  ])("give few rows by many columns, summed %s, the same bits on any number of threads", (_, shape, weights) => {
    const { threads: usual } = deviceInfo("cpu");
    const weight = using(new Cell({ shape: weights, dtype: "bf16" }));
    scope(() => weight.set(draw(...weights).cast("bf16")));
    const x = using(scope(() => draw(...shape).cast("bf16")));
    const f = using(compile((input: Tensor) => matmul(input, weight.value)));
    const expected = bitsOf(() => matmul(x, weight.value)); // packed by each unit, for all of its rows
    for (const threads of [1, 2, 3]) {
      setThreads(threads);
      expect(result(f, x) === expected).toBe(true);
    }
    expect(packings(f)).toEqual(["packed 1×, kept 2×"]);
    setThreads(usual);
  });

  it("are those of kernels on tiles", () => {
    const { x, f } = layer(100);
    result(f, x);
    expect(f.explain()).toMatch(/matmul .*emulated-split/);
  });

  it("have the same bits whatever the number of threads", () => {
    const { weight, x, f } = layer(100);
    const { threads: usual } = deviceInfo("cpu");
    setThreads(1);
    const one = result(f, x);
    for (const threads of [2, 3]) {
      setThreads(threads);
      expect(result(f, x)).toBe(one);
      expect(eager(weight, x)).toBe(one);
    }
    setThreads(usual);
  });
});

describe("packed weights that change", () => {
  withoutTiles();
  it("are packed anew after the cell was set", () => {
    const { weight, x, f } = layer();
    for (let i = 0; i < 3; i++) {
      fill(weight);
      expect(result(f, x)).toBe(eager(weight, x));
      expect(result(f, x)).toBe(eager(weight, x));
    }
    weight.setData(new Float32Array(192 * 160).fill(0.5));
    expect(result(f, x)).toBe(eager(weight, x));
    expect(packings(f)).toEqual(["packed 4×, kept 3×"]);
  });

  it("are packed anew after another program wrote them", () => {
    const { weight, x, f } = layer();
    const step = using(compile(() => weight.set(weight.value.mul(0.9).sub(0.01))));
    for (let i = 0; i < 4; i++) {
      expect(result(f, x)).toBe(eager(weight, x));
      step();
    }
    expect(packings(f)).toEqual(["packed 4×, kept 0×"]);
  });

  it("are not kept by a program that writes them itself", () => {
    const weight = using(cellOf(64, 64));
    const x = using(scope(() => draw(32, 64)));
    const f = using(
      compile((input: Tensor) => {
        const y = matmul(input, weight.value);
        weight.set(weight.value.mul(0.5));
        return y;
      }),
    );
    for (let i = 0; i < 2; i++) {
      const expected = bitsOf(() => matmul(x, weight.value));
      expect(result(f, x)).toBe(expected);
    }
    expect(packings(f)).toEqual([]);
  });

  it("are those of the cells that a call is given", () => {
    const treeOf = (cell: Cell): CellTree & { cell: Cell } => ({ structure: "layer", cells: () => [cell], cell });
    const trees = [treeOf(using(cellOf(48, 64))), treeOf(using(cellOf(48, 64)))];
    const x = using(scope(() => draw(32, 64)));
    const f = using(
      compile((tree: CellTree & { cell: Cell }, input: Tensor) => matmul(input, tree.cell.value, { transposeB: true })),
    );
    for (let i = 0; i < 2; i++)
      for (const tree of trees) expect(result((input) => f(tree, input), x)).toBe(eager(tree.cell, x));
    expect(packings(f)).toEqual(["packed 2×, kept 2×"]);
  });

  it("leave nothing half packed when a call is stopped", async () => {
    const { weight, x, f } = layer(500);
    for (let i = 0; i < 30; i++) {
      fill(weight);
      const stop = new AbortController();
      const y = f.run({ signal: stop.signal }, x);
      if (i % 3 > 0) await new Promise((resolve) => setImmediate(resolve));
      stop.abort();
      y.dispose();
      await settled();
      expect(result(f, x)).toBe(eager(weight, x));
    }
  });
});

describe("memory of packed weights", () => {
  withoutTiles();
  it("is counted, and given back when the weights change or go", async () => {
    const before = memory().packed;
    const { weight, x, f } = layer();
    result(f, x);
    expect(memory().packed - before).toBeGreaterThanOrEqual(192 * 160 * 4);
    fill(weight);
    await settled();
    expect(memory().packed).toBe(before);
    result(f, x);
    f.dispose();
    weight.dispose();
    await settled();
    expect(memory().packed).toBe(before);
  });

  it("is given back when the device is trimmed", () => {
    const { weight, x, f } = layer();
    result(f, x);
    loadBinding().trim();
    expect(memory().packed).toBe(0);
    expect(result(f, x)).toBe(eager(weight, x));
  });

  it("stays below an eighth of the limit, with the same results", () => {
    const { weight, x, f } = layer();
    loadBinding().trim();
    setMemoryLimit(memory().inUse + 700_000);
    try {
      expect(memory().limit / 8).toBeLessThan(192 * 160 * 4);
      for (let call = 0; call < 2; call++) expect(result(f, x)).toBe(eager(weight, x));
      expect(packings(f)).toEqual(["packed 0×, kept 0×"]);
    } finally {
      setMemoryLimit(0);
    }
  });
});

it("shows packings in explain() before the kernels that read them", () => {
  const { x, f } = layer();
  result(f, x);
  expect(f.explain()).toMatch(/\npack +weights +packed 1×, kept 0× +123 kB\nmatmul /);
  scope(() => void f(ones([40, 160])));
});
