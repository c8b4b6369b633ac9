// What resizing, max pooling and upfirdn promise beyond parity and derivatives: ties, padding, closure under
// differentiation, separable filters, and errors that say what was given.

import {
  assertNoLeaks,
  grad,
  maxPool,
  type OpenScope,
  openScope,
  resizeBilinear,
  ShapeError,
  sum,
  type Tensor,
  tensor,
  upfirdn2d,
  zeros,
} from "@figment/tensor";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { sizeOf } from "#shape";
import { Draws } from "./support/draws.ts";

const seed = 13;
console.info(`images: seed ${seed}`);

let draws: Draws;
let open: OpenScope;
const run = <T>(fn: () => T): T => open.run(fn);
const list = (x: Tensor): number[] => [...x.dataSync()];
const drawn = (shape: readonly number[]): Tensor => tensor(draws.array(sizeOf(shape)), { shape, dtype: "f64" });
const image = (rows: readonly (readonly number[])[]): Tensor =>
  tensor(rows.flat(), { shape: [1, rows.length, rows[0]?.length ?? 0, 1] });

function expectClose(actual: Tensor, expected: Tensor): void {
  expect(actual.shape).toEqual(expected.shape);
  const [a, b] = [actual.dataSync(), expected.dataSync()];
  expect(Math.max(...Array.from(a, (x, i) => Math.abs(x - (b[i] as number))))).toBeLessThan(1e-12);
}

beforeEach(() => {
  draws = new Draws(seed);
  open = openScope();
});
afterEach(() => open[Symbol.dispose]());
afterAll(() => assertNoLeaks());

describe("bilinear resizing", () => {
  it("takes centres half a pixel from the border, or the corners onto each other", () =>
    run(() => {
      expect(list(resizeBilinear(image([[0, 4]]), [1, 4]))).toEqual([0, 1, 3, 4]);
      expect(list(resizeBilinear(image([[0, 3]]), [1, 4], { alignCorners: true }))).toEqual([0, 1, 2, 3]);
    }));

  it("keeps an image of the same size, bit for bit", () =>
    run(() => {
      const x = drawn([1, 3, 4, 5]);
      expect(list(resizeBilinear(x, [3, 4]))).toEqual(list(x));
    }));

  it("refuses images without pixels, sizes without extent and unknown options", () =>
    run(() => {
      expect(() => resizeBilinear(zeros([1, 0, 2, 1]), [2, 2])).toThrow(/no pixels/);
      expect(() => resizeBilinear(zeros([1, 2, 2, 1]), [0, 2])).toThrow(ShapeError);
      expect(() => resizeBilinear(zeros([1, 2, 2, 1]), [2, 2], { corners: true } as never)).toThrow(/unknown option/);
    }));
});

describe("max pooling", () => {
  it("gives the derivative to the first of equal elements", () =>
    run(() => {
      const slope = grad((x: Tensor) => sum(maxPool(x, { kernel: 2 })));
      expect(
        list(
          slope(
            image([
              [3, 3],
              [3, 3],
            ]),
          ),
        ),
      ).toEqual([1, 0, 0, 0]);
      expect(
        list(
          slope(
            image([
              [1, 2],
              [2, 0],
            ]),
          ),
        ),
      ).toEqual([0, 1, 0, 0]);
    }));

  it("adds up where windows overlap", () =>
    run(() => {
      const slope = grad((x: Tensor) => sum(maxPool(x, { kernel: [1, 3], stride: 1, padding: [0, 1] })));
      expect(list(slope(image([[1, 9, 2, 3]])))).toEqual([0, 3, 0, 1]);
    }));

  it("never takes padding, however small the elements", () =>
    run(() => {
      const x = image([
        [-5, -4],
        [Number.NEGATIVE_INFINITY, -6],
      ]);
      expect(list(maxPool(x, { kernel: 3, stride: 2, padding: 1 }))).toEqual([-4]);
    }));

  it("is NaN where an element is", () =>
    run(() => expect(list(maxPool(image([[1, Number.NaN, 5, 2]]), { kernel: [1, 2] }))).toEqual([Number.NaN, 5])));

  it("costs no more for a window far larger than the image", () =>
    run(() => {
      const x = drawn([1, 2, 2, 1]);
      const most = 2 ** 31 - 1;
      const pooled = maxPool(x, {
        kernel: most,
        stride: 1,
        padding: [
          [most - 1, 0],
          [most - 1, 0],
        ],
      });
      expect(pooled.shape).toEqual([1, 2, 2, 1]);
      expect(list(pooled)[3]).toBe(Math.max(...list(x)));
    }));

  it("refuses windows that do not fit or may hold padding alone", () =>
    run(() => {
      expect(() => maxPool(zeros([1, 2, 2, 1]), { kernel: 3 })).toThrow(/3×3 window does not fit/);
      expect(() => maxPool(zeros([1, 4, 4, 1]), { kernel: 2, padding: 2 })).toThrow(/smaller than the 2×2 window/);
    }));
});

describe("upfirdn2d", () => {
  it("puts zeros in between, convolves, and keeps every down-th result", () =>
    run(() => {
      const filter = tensor([[1, 2]]);
      expect(list(upfirdn2d(image([[1, 10]]), filter, { up: [1, 2] }))).toEqual([2, 10, 20]);
      expect(list(upfirdn2d(image([[1, 10, 100]]), filter, { padding: [0, 1], down: [1, 2] }))).toEqual([1, 120]);
      expect(list(upfirdn2d(image([[1, 10, 100]]), filter, { flipFilter: true }))).toEqual([21, 210]);
      expect(
        list(
          upfirdn2d(image([[1, 10, 100]]), filter, {
            padding: [
              [0, 0],
              [-1, 0],
            ],
          }),
        ),
      ).toEqual([120]);
    }));

  it("applies a separable filter along both axes", () =>
    run(() => {
      const [x, taps] = [drawn([2, 5, 6, 3]), drawn([4])];
      const square = taps.reshape([4, 1]).mul(taps.reshape([1, 4]));
      const options = {
        up: 2,
        down: [1, 3],
        padding: [
          [2, 1],
          [3, 0],
        ],
      } as const;
      expectClose(upfirdn2d(x, taps, options), upfirdn2d(x, square, options));
    }));

  it("has the opposite sampling with the filter turned around as its derivative", () =>
    run(() => {
      const [x, filter] = [drawn([1, 4, 4, 2]), drawn([4, 4])];
      const y = drawn([1, 8, 8, 2]);
      const back = grad((z: Tensor) =>
        sum(
          upfirdn2d(z, filter, {
            up: 2,
            padding: [
              [2, 1],
              [2, 1],
            ],
          }).mul(y),
        ),
      )(x);
      expectClose(back, upfirdn2d(y, filter, { down: 2, padding: 1, flipFilter: true }));
    }));

  it("makes padding of an image without pixels, whose derivative is empty", () =>
    run(() => {
      const f = (x: Tensor): Tensor => upfirdn2d(x, tensor([[1, 1]]), { padding: 1 });
      expect(list(f(zeros([1, 0, 1, 1])))).toEqual([0, 0, 0, 0]);
      expect(grad((x: Tensor) => sum(f(x)))(zeros([1, 0, 1, 1])).shape).toEqual([1, 0, 1, 1]);
    }));

  it("refuses filters that do not fit, saying how large the image is by then", () =>
    run(() => {
      const call = (): Tensor => upfirdn2d(zeros([1, 2, 3, 1]), zeros([5, 2]), { up: 2 });
      expect(call).toThrow(/5×2 filter does not fit into the image \[1, 2, 3, 1\], which is 4×6/);
      expect(() => upfirdn2d(zeros([1, 2, 3, 1]), zeros([1, 1, 1]))).toThrow(/filter must be \[kH, kW\]/);
      expect(() => upfirdn2d(zeros([1, 2, 3, 1]), zeros([1, 1]), { up: 0 })).toThrow(/up must be an integer ≥ 1/);
      expect(() => upfirdn2d(zeros([1, 2, 3, 1]), zeros([1, 1]), { up: 2 ** 28 })).toThrow(/at most 268435456/);
    }));
});
