// Reductions as users call them: extremes, products, log-sum-exp, spread and truth, empty tensors included.

import {
  all,
  any,
  assertNoLeaks,
  grad,
  logSoftmax,
  logsumexp,
  max,
  mean,
  min,
  prod,
  scope,
  std,
  sum,
  type Tensor,
  tensor,
  variance,
  zeros,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

const values = (make: () => Tensor): number[] => scope(() => [...make().dataSync()]);
const { NaN: nan, POSITIVE_INFINITY: inf } = Number;
const close = (actual: number[], expected: number[]): void => {
  expect(actual.length).toBe(expected.length);
  for (const [i, x] of expected.entries()) expect(actual[i]).toBeCloseTo(x, 5);
};

afterAll(() => assertNoLeaks());

describe("min and max", () => {
  it("are NaN where an element is", () => {
    expect(values(() => min(tensor([3, nan, 1])))).toEqual([nan]);
    expect(
      values(() =>
        max(
          tensor([
            [3, nan],
            [1, 2],
          ]),
          1,
        ),
      ),
    ).toEqual([nan, 2]);
  });

  it("share the derivative between equal elements", () => {
    expect(values(() => grad((x: Tensor) => min(x))(tensor([1, 5, 1, 7])))).toEqual([0.5, 0, 0.5, 0]);
  });

  it("take integers", () => {
    expect(values(() => min(tensor([3, -7, 1], { dtype: "i32" })))).toEqual([-7]);
    expect(scope(() => min(tensor([3, 1], { dtype: "u8" })).dtype)).toBe("i32");
  });
});

describe("reductions of nothing", () => {
  it("are 0 for sums, 1 for products, −∞ for log-sum-exp, NaN for means, as in NumPy", () => {
    expect(values(() => sum(zeros([0])))).toEqual([0]);
    expect(values(() => prod(zeros([2, 0]), 1))).toEqual([1, 1]);
    expect(values(() => logsumexp(zeros([0])))).toEqual([-inf]);
    expect(values(() => mean(zeros([0])))).toEqual([nan]);
    expect(values(() => variance(zeros([0])))).toEqual([nan]);
    expect(values(() => any(zeros([0], "bool")))).toEqual([0]);
    expect(values(() => all(zeros([0], "bool")))).toEqual([1]);
  });

  it("are refused where there would have to be an element", () =>
    scope(() => {
      expect(() => max(zeros([2, 0]), 1)).toThrow(/no maximum/);
      expect(() => min(zeros([0]))).toThrow(/no minimum/);
      expect(max(zeros([0, 2]), 1).shape).toEqual([0]);
    }));
});

describe("prod", () => {
  it("multiplies over axes, in any number of elements", () => {
    for (const n of [1, 2, 3, 5, 8, 13]) {
      const factors = Array.from({ length: n }, (_, i) => 1 + (i % 3) / 4);
      close(
        values(() => prod(tensor(factors))),
        [factors.reduce((a, b) => a * b, 1)],
      );
    }
    expect(
      values(() =>
        prod(
          tensor([
            [1, 2, 3],
            [4, 5, 6],
          ]),
          0,
        ),
      ),
    ).toEqual([4, 10, 18]);
    expect(values(() => prod(tensor([3, -5], { dtype: "i32" })))).toEqual([-15]);
    expect(scope(() => prod(zeros([2, 3, 4]), [0, 2], { keepDims: true }).shape)).toEqual([1, 3, 1]);
  });

  it("has derivatives where elements are 0", () => {
    expect(values(() => grad((x: Tensor) => prod(x))(tensor([2, 0, 3])))).toEqual([0, 6, 0]);
    expect(values(() => grad((x: Tensor) => prod(x))(tensor([2, 0, 0])))).toEqual([0, 0, 0]);
    const second = grad((x: Tensor) => sum(grad((y: Tensor) => prod(y))(x)));
    expect(values(() => second(tensor([2, 0, 3])))).toEqual([3, 5, 2]);
  });
});

describe("logsumexp", () => {
  it("neither overflows nor underflows", () => {
    expect(values(() => logsumexp(tensor([1000, 1000])))).toEqual([Math.fround(1000 + Math.LN2)]);
    expect(values(() => logsumexp(tensor([-1000, -1000])))).toEqual([Math.fround(-1000 + Math.LN2)]);
    close(
      values(() =>
        logsumexp(
          tensor([
            [0, 0],
            [1, -inf],
          ]),
          1,
        ),
      ),
      [Math.LN2, 1],
    );
    expect(values(() => logsumexp(tensor([-inf, -inf])))).toEqual([-inf]);
    expect(values(() => logsumexp(tensor([0, inf])))).toEqual([inf]);
    expect(values(() => logsumexp(tensor([0, nan])))).toEqual([nan]);
  });

  it("has softmax's weights as its derivative, and 0 for a row of −∞", () => {
    const slope = grad((x: Tensor) => sum(logsumexp(x, 1)));
    close(
      values(() =>
        slope(
          tensor([
            [0, Math.log(3)],
            [-inf, -inf],
            [-inf, 5],
          ]),
        ),
      ),
      [0.25, 0.75, 0, 0, 0, 1],
    );
  });

  it("reduces any axes", () => {
    const x = (): Tensor =>
      tensor([
        [
          [0, 1],
          [2, 3],
        ],
      ]);
    close(
      values(() => logsumexp(x(), [0, 2])),
      [1.313262, 3.313262],
    );
    expect(scope(() => logsumexp(x(), [0, 2], { keepDims: true }).shape)).toEqual([1, 2, 1]);
    expect(() => values(() => logsumexp(tensor([1], { dtype: "i32" })))).toThrow(/float/);
  });
});

describe("variance and std", () => {
  it("divide by the number of elements, less the correction", () => {
    const x = (): Tensor =>
      tensor([
        [1, 2, 6],
        [4, 4, 4],
      ]);
    close(
      values(() => variance(x(), 1)),
      [14 / 3, 0],
    );
    close(
      values(() => variance(x(), 1, { correction: 1 })),
      [7, 0],
    );
    close(
      values(() => std(x(), 1, { correction: 1, keepDims: true })),
      [Math.sqrt(7), 0],
    );
    expect(values(() => variance(tensor([5]), 0, { correction: 1 }))).toEqual([nan]);
    expect(() => values(() => variance(x(), 1, { correction: -1 }))).toThrow(/correction/);
  });

  it("stay exact far from 0", () => {
    close(
      values(() => variance(tensor([100000, 100002]))),
      [1],
    );
  });

  it("have a derivative of 0 where the variance is 0", () => {
    expect(values(() => grad((x: Tensor) => std(x))(tensor([3, 3])))).toEqual([0, 0]);
  });
});

describe("any and all", () => {
  it("reduce bool tensors over axes", () =>
    scope(() => {
      const x = tensor([
        [1, 0],
        [1, 1],
      ]).ne(0);
      expect([...any(x, 0).dataSync()]).toEqual([1, 1]);
      expect([...all(x, 0).dataSync()]).toEqual([1, 0]);
      expect([...all(x).dataSync()]).toEqual([0]);
      expect(any(x).dtype).toBe("bool");
      expect(all(x, 1, { keepDims: true }).shape).toEqual([2, 1]);
      expect(() => any(tensor([1]))).toThrow(/expected a bool tensor/);
    }));
});

describe("logSoftmax", () => {
  it("is exact where softmax would underflow, and NaN for a row of −∞", () => {
    close(
      values(() => logSoftmax(tensor([0, -200]))),
      [0, -200],
    );
    close(
      values(() => logSoftmax(tensor([100000, 100000]))),
      [-Math.LN2, -Math.LN2],
    );
    expect(values(() => logSoftmax(tensor([0, -inf])))).toEqual([0, -inf]);
    expect(values(() => logSoftmax(tensor([-inf, -inf])))).toEqual([nan, nan]);
    expect(scope(() => logSoftmax(zeros([3, 0])).shape)).toEqual([3, 0]);
  });
});
