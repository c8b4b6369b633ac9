// Operations outside compiled functions: each must find the program of an operation like it, and of no other.

import {
  add,
  applyOne,
  assertNoLeaks,
  Cell,
  defineOp,
  eagerCacheStats,
  full,
  memory,
  scope,
  settled,
  sum,
  type Tensor,
  tensor,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { attrsKey, copyAttrs, hashAttrs, sameAttrs } from "#ir/attrs";
import { rankLive } from "#runtime/live";

afterAll(() => assertNoLeaks());

const made = (run: () => Tensor): number => {
  const before = eagerCacheStats().misses;
  run().dispose();
  return eagerCacheStats().misses - before;
};

describe("an operation after a like one", () => {
  it("runs the same program, whatever the values", () => {
    scope(() => {
      const [a, b] = [tensor([1, 2, 3]), tensor([4, 5, 6])];
      made(() => add(a, b));
      expect(made(() => add(a, a))).toBe(0);
      expect([...add(b, b).dataSync()]).toEqual([8, 10, 12]);
    });
  });

  it.each<[string, (x: Tensor) => Tensor, (x: Tensor) => Tensor]>([
    ["another shape", (x) => x.exp(), (x) => x.reshape([11, 1]).exp()],
    ["another order of extents", (x) => x.reshape([1, 11]).cos(), (x) => x.reshape([11, 1]).cos()],
    ["another operation", (x) => x.sin(), (x) => x.tanh()],
    ["another axis", (x) => sum(x.reshape([1, 11]), [0]), (x) => sum(x.reshape([1, 11]), [1])],
    ["-0 for 0", () => full([23], 0), () => full([23], -0)],
    ["a fraction", () => full([19], 0.25), () => full([19], 0.5)],
  ])("is told apart: %s", (_, before, after) => {
    scope(() => {
      const x = tensor([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
      for (const shape of [
        [1, 11],
        [11, 1],
      ])
        x.reshape(shape);
      before(x);
      expect(made(() => after(x))).toBe(1);
      expect(made(() => before(x))).toBe(0);
    });
  });

  it("is told apart by attributes that have changed since", () => {
    const value = { starts: [0, 1] };
    const picked = defineOp<{ starts: number[] }>({
      name: "pickedForTest",
      effect: "pure",
      infer: (_, { starts }) => [{ shape: [...starts], dtype: "f32" }],
      lower: { kind: "constant" },
    });
    const run = (): Tensor => applyOne(picked, [], { ...value, value: 3 } as never);
    const sizes = [0, 2].map((start) => {
      value.starts[0] = start;
      const result = run();
      const { length } = result.dataSync();
      result.dispose();
      return length;
    });
    expect(sizes).toEqual([0, 2]);
  });
});

describe("attributes", () => {
  const attrs = [
    {},
    { a: 1 },
    { a: -1 },
    { b: 1 },
    { a: "1" },
    { a: true },
    { a: false },
    { a: null },
    { a: 0 },
    { a: -0 },
    { a: Number.NaN },
    { a: [1, 2] },
    { a: [1, 2, 3] },
    { a: [[1], 2] },
    { a: { 0: 1, 1: 2 } },
    { a: 1, b: 2 },
    { a: { b: [null, "x"] } },
  ];

  it.each(attrs)("%j are the same as their copy, and as no others", (one) => {
    for (const other of attrs) {
      expect(sameAttrs(one, other)).toBe(one === other);
      expect(attrsKey(one) === attrsKey(other)).toBe(one === other);
    }
    const copy = copyAttrs(one);
    expect(sameAttrs(one, copy) && sameAttrs(copy, one)).toBe(true);
    expect(hashAttrs(7, copy)).toBe(hashAttrs(7, one));
  });

  it("are the same without what is undefined and without functions", () => {
    const [bare, dressed] = [{ a: 1 }, { a: 1, b: undefined, c: () => 1 }];
    expect(sameAttrs(bare, dressed) && sameAttrs(dressed, bare)).toBe(true);
    expect(hashAttrs(7, bare)).toBe(hashAttrs(7, dressed));
  });
});

it("a tensor read from a cell that was overwritten since is listed once, until it goes", () => {
  const listed = (): string[] =>
    rankLive(0, memory())
      .filter(({ shape }) => shape?.join() === "128,129")
      .map(({ count, name }) => `${count} ${name ?? ""}`)
      .sort();
  const cell = new Cell({ shape: [128, 129], name: "large", initial: () => new Float32Array(128 * 129) });
  const before = cell.value;
  expect(listed()).toEqual(["1 large"]);
  const next = full([128, 129], 1);
  cell.set(next);
  expect(listed()).toEqual(["1 large", "2 "]);
  next.dispose();
  before.dispose();
  expect(listed()).toEqual(["1 large"]);
  cell.dispose();
  expect(listed()).toEqual([]);
});

it("many tensors of one turn are freed with it or later, each once", async () => {
  const before = memory().liveBuffers;
  const kept = Array.from({ length: 1000 }, (_, i) => full([3], i));
  for (const [i, x] of kept.entries()) if (i % 2 === 0) x.dispose();
  await settled();
  for (const x of kept) x.dispose();
  expect(memory().liveBuffers).toBe(before);
});
