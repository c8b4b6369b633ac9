// Strided slices, padding in between, reversal, splitting, padding with what is there, and pixel shuffles: values,
// exact transposes, and errors that say what was given.

import {
  assertNoLeaks,
  compile,
  edgePad,
  flip,
  grad,
  type OpenScope,
  openScope,
  pad,
  pixelShuffle,
  pixelUnshuffle,
  reflectPad,
  ShapeError,
  slice,
  split,
  sum,
  type Tensor,
  tensor,
  zeros,
} from "@figment/tensor";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { sizeOf } from "#shape";
import { Draws } from "./support/draws.ts";

const seed = 31;
console.info(`movement: seed ${seed}`);

let draws: Draws;
let open: OpenScope;
const run = <T>(fn: () => T): T => open.run(fn);
const list = (x: Tensor): number[] => [...x.dataSync()];
const drawn = (shape: readonly number[]): Tensor => tensor(draws.array(sizeOf(shape)), { shape, dtype: "f64" });
const counted = (shape: readonly number[]): Tensor =>
  tensor(
    Float32Array.from({ length: sizeOf(shape) }, (_, i) => i),
    { shape },
  );

/** Expects ⟨f(x), y⟩ = ⟨x, fᵀ(y)⟩ for a linear f, with fᵀ from its derivative. */
function expectTransposed(f: (x: Tensor) => Tensor, shape: readonly number[]): void {
  const x = drawn(shape);
  const y = drawn(f(x).shape);
  const forth = f(x).mul(y).sum().itemSync();
  const back = grad((z: Tensor) => sum(f(z).mul(y)))(x)
    .mul(x)
    .sum()
    .itemSync();
  expect(back).toBeCloseTo(forth, 10);
}

beforeEach(() => {
  draws = new Draws(seed);
  open = openScope();
});
afterEach(() => open[Symbol.dispose]());
afterAll(() => assertNoLeaks());

describe("slices with steps", () => {
  it("take every step-th element", () =>
    run(() => {
      expect(list(slice(counted([10]), [1], [3], [4]))).toEqual([1, 5, 9]);
      expect(list(counted([4, 5]).slice([1, 0], [2, 3], [2, 2]))).toEqual([5, 7, 9, 15, 17, 19]);
    }));

  it("are put back by padding in between, which is their derivative", () =>
    run(() => {
      const back = grad((x: Tensor) => sum(slice(x, [1], [3], [2]).mul(tensor([7, 8, 9]))))(zeros([8]));
      expect(list(back)).toEqual([0, 7, 0, 8, 0, 9, 0, 0]);
      expect(list(pad(tensor([7, 8, 9]), [1], [2], -1, [1]))).toEqual([-1, 7, -1, 8, -1, 9, -1, -1]);
    }));

  it("run as strides inside compiled functions, and as boxes of what they are written into", () => {
    const step = compile((x: Tensor) => pad(slice(x, [0, 1], [3, 2], [1, 3]).mul(2), [1, 0], [0, 1], 0.5, [0, 2]));
    run(() =>
      expect(list(step(counted([3, 6])))).toEqual([
        ...[0.5, 0.5, 0.5, 0.5, 0.5],
        ...[2, 0.5, 0.5, 8, 0.5],
        ...[14, 0.5, 0.5, 20, 0.5],
        ...[26, 0.5, 0.5, 32, 0.5],
      ]),
    );
    step.dispose();
  });

  it("of nothing are empty wherever they start", () =>
    run(() => expect(slice(zeros([3, 2]), [3, 0], [0, 2]).dataSync()).toHaveLength(0)));

  it("refuse to leave the tensor, and steps below 1", () =>
    run(() => {
      expect(() => slice(zeros([5]), [1], [3], [2])).toThrow(/starts \[1\] with sizes \[3\] and steps \[2\] leave/);
      expect(() => slice(zeros([5]), [4], [2], [-1])).toThrow(/slice: steps must be an integer ≥ 1, got -1/);
      expect(() => pad(zeros([5]), [0], [0], 0, [1, 1])).toThrow(/expected interior for 1 axes/);
    }));
});

describe("flip", () => {
  it("reverses the order along the axes given, and is its own inverse and derivative", () =>
    run(() => {
      const x = counted([2, 3]);
      expect(list(flip(x, 1))).toEqual([2, 1, 0, 5, 4, 3]);
      expect(list(x.flip([0]))).toEqual([3, 4, 5, 0, 1, 2]);
      expect(list(flip(flip(x)))).toEqual(list(x));
      expectTransposed((z) => flip(z, [0, -1]), [3, 2, 4]);
    }));

  it("moves elements of any type", () =>
    run(() => expect(list(flip(tensor([true, false, false])))).toEqual([0, 0, 1])));

  it("refuses axes that are not there or are named twice", () =>
    run(() => {
      expect(() => flip(zeros([2]), 1)).toThrow(ShapeError);
      expect(() => flip(zeros([2, 2]), [0, -2])).toThrow(/twice/);
    }));
});

describe("split", () => {
  it("cuts into equal parts, or into parts of given extents", () =>
    run(() => {
      expect(split(counted([2, 6]), 3, 1).map(list)).toEqual([
        [0, 1, 6, 7],
        [2, 3, 8, 9],
        [4, 5, 10, 11],
      ]);
      expect(counted([5]).split([1, 0, 4]).map(list)).toEqual([[0], [], [1, 2, 3, 4]]);
    }));

  it("refuses parts that do not fit", () =>
    run(() => {
      expect(() => split(zeros([5]), 2)).toThrow(/axis 0 of \[5\] does not divide into 2 equal parts/);
      expect(() => split(zeros([5]), [2, 2])).toThrow(/do not add up/);
    }));
});

describe("padding with what is there", () => {
  it("reflects at the first and last element, which are not repeated", () =>
    run(() => {
      expect(list(reflectPad(counted([4]), [3], [2]))).toEqual([3, 2, 1, 0, 1, 2, 3, 2, 1]);
      expect(list(reflectPad(counted([2, 3]), [1, 0], [0, 2]))).toEqual([3, 4, 5, 4, 3, 0, 1, 2, 1, 0, 3, 4, 5, 4, 3]);
    }));

  it("repeats the borders", () =>
    run(() => expect(list(edgePad(counted([2, 2]), [0, 2], [1, 0]))).toEqual([0, 0, 0, 1, 2, 2, 2, 3, 2, 2, 2, 3])));

  it("has derivatives that are exact transposes", () =>
    run(() => {
      expectTransposed((x) => reflectPad(x, [0, 2, 1, 0], [0, 1, 3, 0]), [2, 3, 4, 2]);
      expectTransposed((x) => edgePad(x, [2, 0], [1, 3]), [3, 2]);
    }));

  it("leaves its operand alone where there is nothing to add", () =>
    run(() => {
      const x = counted([3]);
      reflectPad(x, [0], [0]).dispose();
      expect(list(x)).toEqual([0, 1, 2]);
    }));

  it("refuses what it has not enough for", () =>
    run(() => {
      expect(() => reflectPad(zeros([3]), [3], [0])).toThrow(/axis 0 of \[3\] has 2 elements beside the border/);
      expect(() => edgePad(zeros([0]), [1], [0])).toThrow(/empty/);
      expect(() => reflectPad(zeros([3, 3]), [1], [1])).toThrow(/expected 2 amounts/);
    }));
});

describe("pixel shuffles", () => {
  it("lay channels out in blocks, rows first", () =>
    run(() => {
      const x = tensor([0, 1, 2, 3, 10, 11, 12, 13], { shape: [1, 1, 1, 8] });
      expect(list(pixelShuffle(x, 2))).toEqual([0, 10, 1, 11, 2, 12, 3, 13]);
    }));

  it("are each other's inverse", () =>
    run(() => {
      const x = drawn([2, 6, 9, 2]);
      expect(list(pixelShuffle(pixelUnshuffle(x, 3), 3))).toEqual(list(x));
      expectTransposed((z) => pixelUnshuffle(z, 2), [1, 4, 6, 3]);
    }));

  it("refuse channels and images that do not divide", () =>
    run(() => {
      expect(() => pixelShuffle(zeros([1, 2, 2, 6]), 2)).toThrow(/4 does not divide the 6 channels/);
      expect(() => pixelUnshuffle(zeros([1, 3, 4, 1]), 2)).toThrow(/does not divide height and width/);
    }));
});
