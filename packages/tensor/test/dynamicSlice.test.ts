// Boxes whose place is data: the clamping rule, and cells that are updated in place.

import {
  assertNoLeaks,
  at,
  Cell,
  compile,
  dynamicSlice,
  dynamicUpdateSlice,
  type OpenScope,
  openScope,
  scalar,
  tensor,
  zeros,
} from "@figment/tensor";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";

let open: OpenScope;
const list = (x: { dataSync(): ArrayLike<number> }): number[] => Array.from(x.dataSync());
const i32 = (x: number) => scalar(x, "i32");

beforeEach(() => {
  open = openScope();
});
afterEach(() => open[Symbol.dispose]());
afterAll(() => assertNoLeaks());

describe("dynamic slices", () => {
  it("are clamped to lie inside, whatever the starts", () =>
    open.run(() => {
      const x = tensor([10, 11, 12, 13, 14]);
      for (const [start, first] of [
        [0, 10],
        [2, 12],
        [3, 13],
        [4, 13],
        [99, 13],
        [-7, 10],
      ] as const) {
        expect(list(dynamicSlice(x, [i32(start)], [2]))).toEqual([first, first + 1]);
      }
      expect(list(dynamicUpdateSlice(x, tensor([1, 2]), [i32(99)]))).toEqual([10, 11, 12, 1, 2]);
      expect(list(x)).toEqual([10, 11, 12, 13, 14]);
    }));

  it("take the part at a position given by a tensor, beside numbers", () =>
    open.run(() => {
      const x = tensor([
        [1, 2],
        [3, 4],
      ]);
      expect(list(x.at(i32(1)))).toEqual([3, 4]);
      expect(list(at(x, i32(0), -1))).toEqual([2]);
      expect(at(x, i32(0), 1).shape).toEqual([]);
    }));

  it("refuse boxes and starts that do not fit, saying so", () =>
    open.run(() => {
      expect(() => dynamicSlice(zeros([3]), [0], [4])).toThrow(/does not fit/);
      expect(() => dynamicSlice(zeros([3]), [0, 0], [1])).toThrow(/starts for 1 axes/);
      expect(() => dynamicSlice(zeros([3]), [tensor([1.5])], [1])).toThrow(/i32/);
      expect(() => dynamicUpdateSlice(zeros([3]), zeros([1], "i32"), [0])).toThrow(/cast/);
    }));
});

describe("a cell whose box is replaced inside a compiled function", () => {
  it("is written in place, by one record that touches no other memory", () => {
    const cell = new Cell({ shape: [1000, 4], initial: () => new Float32Array(4000) });
    const write = compile((row: ReturnType<typeof zeros>, i: ReturnType<typeof zeros>) => {
      cell.set(dynamicUpdateSlice(cell.value, row, [i, 0]));
    });
    open.run(() => {
      const before = cell.value;
      write(tensor([[1, 2, 3, 4]]), i32(7));
      expect(list(cell.value.at(7))).toEqual([1, 2, 3, 4]);
      expect(list(before.at(7))).toEqual([0, 0, 0, 0]);
      const text = write.explain();
      expect(text.split("\n").filter((line) => /dynamicUpdateSlice/.test(line)).length).toBe(1);
    });
    write.dispose();
    cell.dispose();
  });

  it("keeps its old contents for those that read them through a view in the same call", () => {
    const [a, b] = [1, 2].map(() => new Cell({ shape: [4], initial: () => [1, 2, 3, 4] })) as [Cell, Cell];
    const f = compile((i: ReturnType<typeof zeros>) => {
      const old = a.value;
      a.set(dynamicUpdateSlice(old, tensor([9, 9]), [i]));
      b.set(dynamicUpdateSlice(b.value, old.slice([0], [2]), [2]));
    });
    const shifted = compile(() => {
      a.set(dynamicUpdateSlice(a.value, a.value.slice([0], [2]), [1]));
      return a.value.reshape([2, 2]);
    });
    open.run(() => {
      f(i32(0));
      expect(list(a.value)).toEqual([9, 9, 3, 4]);
      expect(list(b.value)).toEqual([1, 2, 1, 2]);
      expect(list(shifted())).toEqual([9, 9, 9, 4]);
      expect(list(a.value)).toEqual([9, 9, 9, 4]);
    });
    for (const made of [a, b, f, shifted]) made.dispose();
  });
});
