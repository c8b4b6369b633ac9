// Order and places as users call them: sort, topk, argmax, takeAlong, running sums.

import {
  argmax,
  argmin,
  argsort,
  assertNoLeaks,
  cumsum,
  type DType,
  grad,
  mul,
  type Sorted,
  scatterAddAlong,
  scope,
  sort,
  sum,
  type Tensor,
  takeAlong,
  tensor,
  topk,
  zeros,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

const values = (make: () => Tensor): number[] => scope(() => [...make().dataSync()]);
const both = (make: () => Sorted): { values: number[]; indices: number[] } =>
  scope(() => {
    const { values: v, indices } = make();
    return { values: [...v.dataSync()], indices: [...indices.dataSync()] };
  });
const ints = (...xs: number[]): Tensor => tensor(Int32Array.from(xs));
const { NaN: nan, POSITIVE_INFINITY: inf } = Number;

afterAll(() => assertNoLeaks());

describe("argmax and argmin", () => {
  it("give the first of equal elements and the first NaN", () => {
    expect(values(() => argmax(tensor([1, 3, 3, 2])))).toEqual([1]);
    expect(values(() => argmin(tensor([1, -1, 3, -1])))).toEqual([1]);
    expect(values(() => argmax(tensor([1, nan, inf, nan])))).toEqual([1]);
    expect(values(() => argmin(tensor([1, nan, -inf, nan])))).toEqual([1]);
    expect(values(() => argmax(tensor([-inf, -inf])))).toEqual([0]);
  });

  it("find NaN and ties wherever they stand in long rows and beside others", () => {
    const columns = 21;
    for (const length of [9, 40, 5000, 70_000]) {
      for (const place of [0, 7, length - 1]) {
        const row = new Float32Array(length).fill(2);
        row[place] = nan;
        expect(
          values(() => argmax(tensor(row))),
          `NaN at ${place} of ${length}`,
        ).toEqual([place]);
        row[place] = 3;
        row[length - 1] = 3;
        expect(
          values(() => argmax(tensor(row))),
          `3 at ${place} of ${length}`,
        ).toEqual([place]);
      }
    }
    const table = new Float32Array(30 * columns);
    table[11 * columns + 20] = nan;
    table[12 * columns + 20] = inf;
    table[9 * columns + 3] = 5;
    const places = values(() => argmax(tensor(table, { shape: [30, columns] }), 0));
    expect([places[20], places[3], places[0]]).toEqual([11, 9, 0]);
  });

  it("count along an axis or through the flattened tensor, and keep dimensions on request", () =>
    scope(() => {
      const x = tensor([
        [4, 9, 2],
        [8, 1, 7],
      ]);
      expect([...argmax(x, 1).dataSync()]).toEqual([1, 0]);
      expect([...argmax(x, 0).dataSync()]).toEqual([1, 0, 1]);
      expect([...argmin(x).dataSync()]).toEqual([4]);
      expect(argmax(x, -1, { keepDims: true }).shape).toEqual([2, 1]);
      expect(argmax(x, undefined, { keepDims: true }).shape).toEqual([1, 1]);
      expect(argmax(x, 0).dtype).toBe("i32");
    }));

  it("take every dtype", () => {
    for (const dtype of ["f32", "f64", "bf16", "f16", "i32", "u8"] as DType[])
      expect(
        values(() => argmax(tensor([1, 7, 3], { dtype }))),
        dtype,
      ).toEqual([1]);
    expect(values(() => argmax(tensor([false, true])))).toEqual([1]);
  });

  it("refuse an axis without elements, and give an empty result for empty rows", () =>
    scope(() => {
      expect(() => argmax(zeros([3, 0]), 1)).toThrow(/has no elements/);
      expect(() => argmin(zeros([0]))).toThrow(/has no elements/);
      expect(argmax(zeros([0, 3]), 1).shape).toEqual([0]);
      expect(() => argmax(zeros([3]), 1)).toThrow(/out of range/);
    }));
});

describe("sort", () => {
  it("keeps the order of equal elements and puts NaN last, either way", () => {
    const x = (): Tensor => tensor([2, nan, -0, 1, 0, nan, -inf, inf, 1]);
    const up = both(() => sort(x()));
    expect(up.values).toEqual([-inf, -0, 0, 1, 1, 2, inf, nan, nan]);
    expect(up.indices).toEqual([6, 2, 4, 3, 8, 0, 7, 1, 5]);
    const down = both(() => sort(x(), { descending: true }));
    expect(down.values).toEqual([inf, 2, 1, 1, -0, 0, -inf, nan, nan]);
    expect(down.indices).toEqual([7, 0, 3, 8, 2, 4, 6, 1, 5]);
  });

  it("works along any axis", () =>
    scope(() => {
      const x = tensor([
        [3, 1],
        [2, 5],
        [9, 0],
      ]);
      const { values: v, indices } = sort(x, { axis: 0 });
      expect([...v.dataSync()]).toEqual([2, 0, 3, 1, 9, 5]);
      expect([...indices.dataSync()]).toEqual([1, 2, 0, 0, 2, 1]);
      expect([...takeAlong(x, argsort(x, { axis: 0 }), 0).dataSync()]).toEqual([2, 0, 3, 1, 9, 5]);
    }));

  it("takes every dtype and gives it back", () => {
    for (const dtype of ["f32", "f64", "bf16", "f16", "i32", "u8"] as DType[]) {
      scope(() => {
        const sorted = sort(tensor([3, 1, 2], { dtype }));
        expect(sorted.values.dtype).toBe(dtype);
        expect([...sorted.values.dataSync()], dtype).toEqual([1, 2, 3]);
      });
    }
    expect(values(() => sort(tensor([true, false, true])).values)).toEqual([0, 1, 1]);
  });

  it("sends derivatives to where the elements stood", () => {
    const weights = (): Tensor => tensor([10, 20, 30]);
    const slope = grad((x: Tensor) => sum(mul(sort(x).values, weights())));
    expect(values(() => slope(tensor([3, 1, 2])))).toEqual([30, 10, 20]);
  });

  it("gives empty results for empty tensors, and refuses scalars", () =>
    scope(() => {
      expect(sort(zeros([0])).values.shape).toEqual([0]);
      expect(sort(zeros([3, 0])).indices.shape).toEqual([3, 0]);
      expect(sort(zeros([0, 4]), { axis: 0 }).values.shape).toEqual([0, 4]);
      expect(() => sort(zeros([]))).toThrow(/out of range/);
    }));
});

describe("topk", () => {
  it("gives the greatest first, or the least first, the earlier of equal ones, NaN last", () => {
    const x = (): Tensor => tensor([5, nan, 7, 7, -1]);
    expect(both(() => topk(x(), 3))).toEqual({ values: [7, 7, 5], indices: [2, 3, 0] });
    expect(both(() => topk(x(), 2, { largest: false }))).toEqual({ values: [-1, 5], indices: [4, 0] });
    expect(both(() => topk(x(), 5)).indices).toEqual([2, 3, 0, 4, 1]);
  });

  it("is the head of a sort, for rows of every length, with ties and NaN", () => {
    for (const length of [1, 64, 100, 1000, 5003]) {
      const row = Float32Array.from({ length }, (_, i) => (i % 97 === 3 ? nan : Math.floor(Math.sin(i * i) * 50)));
      for (const k of [1, 5, Math.floor(length / 4)].filter((n) => n <= length)) {
        for (const largest of [true, false]) {
          const head = both(() => topk(tensor(row), k, { largest }));
          const whole = both(() => sort(tensor(row), { descending: largest }));
          expect(head.indices, `${k} of ${length}`).toEqual(whole.indices.slice(0, k));
        }
      }
    }
  });

  it("finds the few numbers of rows that are NaN otherwise", () => {
    const row = new Float32Array(1000).fill(nan);
    row[500] = 3;
    row[999] = -inf;
    const { values: v, indices } = both(() => topk(tensor(row), 4));
    expect(v).toEqual([3, -inf, nan, nan]);
    expect(indices).toEqual([500, 999, 0, 1]);
  });

  it("refuses more than there is", () =>
    scope(() => {
      expect(() => topk(zeros([2, 3]), 4)).toThrow(/do not have 4 elements/);
      expect(() => topk(zeros([]), 0)).toThrow(/do not have/);
      expect(() => topk(zeros([3]), 1.5)).toThrow(/integer/);
      expect(topk(zeros([2, 3]), 0).values.shape).toEqual([2, 0]);
    }));
});

describe("takeAlong", () => {
  it("picks one element for each row with indices of one rank less", () => {
    const x = (): Tensor =>
      tensor([
        [1, 2, 3],
        [4, 5, 6],
      ]);
    expect(values(() => takeAlong(x(), ints(2, 0)))).toEqual([3, 4]);
    expect(values(() => takeAlong(x(), ints(1, 0, 1), 0))).toEqual([4, 2, 6]);
    expect(values(() => takeAlong(tensor([5, 6, 7]), tensor(1, { dtype: "i32" })))).toEqual([6]);
  });

  it("broadcasts the other axes", () =>
    scope(() => {
      const x = tensor([
        [1, 2, 3],
        [4, 5, 6],
      ]);
      const picked = takeAlong(x, tensor([[2, 0]], { dtype: "i32" }), 1);
      expect(picked.shape).toEqual([2, 2]);
      expect([...picked.dataSync()]).toEqual([3, 1, 6, 4]);
    }));

  it("takes every dtype of elements", () => {
    for (const dtype of ["f32", "f64", "bf16", "f16", "i32", "u8"] as DType[])
      expect(
        values(() => takeAlong(tensor([1, 7, 3], { dtype }), ints(1, 1))),
        dtype,
      ).toEqual([7, 7]);
    expect(values(() => takeAlong(tensor([true, false]), ints(0, 1)))).toEqual([1, 0]);
  });

  it("fails with a typed error for indices out of range, and the device works on", async () => {
    const [x, updates] = [tensor([1, 2, 3]), zeros([2])];
    for (const bad of [3, -1, -(2 ** 31), 2 ** 31 - 1]) {
      const indices = ints(0, bad);
      const taken = takeAlong(x, indices);
      await expect(taken.data()).rejects.toMatchObject({
        code: "ERR_FIGMENT_INDEX",
        message: expect.stringContaining(`takeAlong: index ${bad} at position 1 is outside [0, 3)`),
      });
      const added = scatterAddAlong(updates, indices, 3);
      await expect(added.data()).rejects.toMatchObject({ code: "ERR_FIGMENT_INDEX" });
      for (const made of [indices, taken, added]) made.dispose();
    }
    expect([...(await x.data())]).toEqual([1, 2, 3]);
    for (const made of [x, updates]) made.dispose();
  });

  it("refuses shapes that do not fit, and empty axes unless nothing is picked", () =>
    scope(() => {
      expect(() => takeAlong(zeros([2, 3]), zeros([2, 2, 2], "i32"))).toThrow(/rank/);
      expect(() => takeAlong(zeros([2, 3]), zeros([5, 1], "i32"))).toThrow(/broadcast/);
      expect(() => takeAlong(zeros([2, 3]), zeros([2, 1]))).toThrow(/i32/);
      expect(() => takeAlong(zeros([2, 0]), zeros([2, 1], "i32"))).toThrow(/empty/);
      expect(takeAlong(zeros([2, 0]), zeros([2, 0], "i32")).shape).toEqual([2, 0]);
      expect([...scatterAddAlong(zeros([2, 0]), zeros([2, 0], "i32"), 2).dataSync()]).toEqual([0, 0, 0, 0]);
      expect(() => scatterAddAlong(zeros([2]), zeros([2], "i32"), 0)).toThrow(/no place/);
    }));
});

describe("cumsum", () => {
  it("sums from either end, with the element or without it", () => {
    const x = (): Tensor => tensor([1, 2, 3, 4]);
    expect(values(() => cumsum(x()))).toEqual([1, 3, 6, 10]);
    expect(values(() => cumsum(x(), 0, { exclusive: true }))).toEqual([0, 1, 3, 6]);
    expect(values(() => cumsum(x(), 0, { reverse: true }))).toEqual([10, 9, 7, 4]);
    expect(values(() => cumsum(x(), 0, { exclusive: true, reverse: true }))).toEqual([9, 7, 4, 0]);
  });

  it("rounds each sum of f32 once, however long the row", () => {
    const length = 200_000;
    const row = Float32Array.from({ length }, (_, i) => Math.fround(Math.sin(i * 0.7) + 0.3));
    const sums = values(() => cumsum(tensor(row)));
    let exact = 0;
    let worst = 0;
    for (let i = 0; i < length; i++) {
      exact += row[i] as number;
      worst = Math.max(worst, Math.abs((sums[i] as number) - exact) / Math.max(1, Math.abs(exact)));
    }
    expect(worst).toBeLessThan(2 ** -23);
  });

  it("keeps bf16, and counts bools in i32", () =>
    scope(() => {
      expect(cumsum(tensor([1, 2], { dtype: "bf16" })).dtype).toBe("bf16");
      const counts = cumsum(tensor([true, false, true]));
      expect(counts.dtype).toBe("i32");
      expect([...counts.dataSync()]).toEqual([1, 1, 2]);
    }));

  it("lets NaN through from where it stands", () => {
    expect(values(() => cumsum(tensor([1, nan, 2])))).toEqual([1, nan, nan]);
    expect(values(() => cumsum(tensor([[1, nan, 2]]), 1, { reverse: true }))).toEqual([nan, nan, 2]);
  });

  it("takes empty tensors and refuses scalars", () =>
    scope(() => {
      expect(cumsum(zeros([0])).shape).toEqual([0]);
      expect(cumsum(zeros([3, 0]), 0).shape).toEqual([3, 0]);
      expect(() => cumsum(zeros([]))).toThrow(/out of range/);
    }));
});
