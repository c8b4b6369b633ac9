// What the reductions, products, convolutions and fused ops promise beyond parity and derivatives: special
// values, broadcasting, element types, and errors that say what was given and what was expected.

import {
  assertNoLeaks,
  attention,
  avgPool,
  conv2d,
  conv2dInputGrad,
  conv2dWeightGrad,
  crossEntropy,
  DTypeError,
  gather,
  grad,
  groupNorm,
  logSoftmax,
  matmul,
  max,
  mean,
  norm,
  type OpenScope,
  openScope,
  resizeNearest,
  ShapeError,
  scatterAdd,
  softmax,
  sum,
  type Tensor,
  tensor,
  zeros,
} from "@figment/tensor";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { sizeOf } from "#shape";
import { Draws } from "./support/draws.ts";

const seed = 99;
console.info(`ops: seed ${seed}`);

let draws: Draws;
let open: OpenScope;

/** Everything that a test makes is freed at its end. */
const run = <T>(fn: () => T): T => open.run(fn);
const drawn = (shape: readonly number[], dtype: "f32" | "f64" = "f32"): Tensor =>
  tensor(draws.array(sizeOf(shape)), { shape, dtype });
const list = (x: Tensor): number[] => [...x.dataSync()];
const i32 = (...xs: number[]): Tensor => tensor(Int32Array.from(xs));

beforeEach(() => {
  draws = new Draws(seed);
  open = openScope();
});
afterEach(() => open[Symbol.dispose]());
afterAll(() => assertNoLeaks());

describe("reductions", () => {
  it("sum counts booleans and bytes without wrapping", () =>
    run(() => {
      expect(sum(tensor([true, false, true])).itemSync()).toBe(2);
      expect(sum(tensor(new Uint8Array(300).fill(255))).itemSync()).toBe(300 * 255);
    }));

  it("sum of nothing is 0, and the maximum of nothing an error", () =>
    run(() => {
      expect(list(sum(zeros([2, 0]), 1))).toEqual([0, 0]);
      expect(() => max(zeros([2, 0]), 1)).toThrow(/max: shape \[2, 0\] has no elements/);
    }));

  it("sums bf16 in f32 and gives bf16", () =>
    run(() => {
      const total = sum(tensor(new Array(1000).fill(1), { dtype: "bf16" }));
      expect(total.dtype).toBe("bf16");
      expect(total.itemSync()).toBe(1000);
    }));

  it("max is NaN where an element is NaN", () =>
    run(() =>
      expect(
        list(
          max(
            tensor([
              [1, Number.NaN],
              [3, 2],
            ]),
            1,
          ),
        ),
      ).toEqual([Number.NaN, 3]),
    ));

  it("max shares its derivative equally among equal elements", () =>
    run(() => expect(list(grad((x: Tensor) => max(x))(tensor([3, 1, 3, 2])))).toEqual([0.5, 0, 0.5, 0])));

  it("reduces no axes without changing a value", () =>
    run(() => expect(list(sum(tensor([1, 2]), []))).toEqual([1, 2])));

  it("norm has a derivative of 0 at 0 instead of NaN", () =>
    run(() => {
      expect(list(grad((x: Tensor) => norm(x))(zeros([3])))).toEqual([0, 0, 0]);
      expect(list(grad((x: Tensor) => norm(x))(tensor([3, 4])))[0]).toBeCloseTo(0.6, 6);
    }));

  it("names the axis that is out of range", () =>
    run(() => {
      expect(() => sum(zeros([2, 3]), 2)).toThrow(ShapeError);
      expect(() => sum(zeros([2, 3]), 2)).toThrow("sum: axis 2 is out of range for 2 dimensions");
      expect(() => sum(zeros([2, 3]), [0, -2])).toThrow(/name an axis twice/);
      expect(() => mean(i32(1, 2))).toThrow(DTypeError);
    }));
});

describe("matmul", () => {
  const naive = (a: Tensor, b: Tensor): number[] => {
    const [m, k, n] = [a.dim(0), a.dim(1), b.dim(1)];
    const [x, y] = [a.dataSync(), b.dataSync()];
    return Array.from({ length: m * n }, (_, i) => {
      let total = 0;
      for (let at = 0; at < k; at++)
        total += (x[Math.floor(i / n) * k + at] as number) * (y[at * n + (i % n)] as number);
      return total;
    });
  };

  it("multiplies", () =>
    run(() => {
      const [a, b] = [drawn([5, 7], "f64"), drawn([7, 3], "f64")];
      const expected = naive(a, b);
      list(matmul(a, b)).forEach((x, i) => {
        expect(x).toBeCloseTo(expected[i] as number, 12);
      });
    }));

  it("broadcasts batch dimensions that neither operand has whole", () =>
    run(() => {
      const [a, b] = [drawn([2, 1, 4, 5], "f64"), drawn([3, 5, 6], "f64")];
      const c = matmul(a, b);
      expect(c.shape).toEqual([2, 3, 4, 6]);
      const expected = naive(a.at(1, 0), b.at(2));
      list(c.at(1, 2)).forEach((x, i) => {
        expect(x).toBeCloseTo(expected[i] as number, 12);
      });
    }));

  it("gives zeros for an empty inner extent and nothing for empty rows", () =>
    run(() => {
      expect(list(matmul(zeros([2, 0]), zeros([0, 3])))).toEqual([0, 0, 0, 0, 0, 0]);
      expect(matmul(zeros([0, 4]), zeros([4, 3])).shape).toEqual([0, 3]);
    }));

  it("says which inner extents differ", () =>
    run(() => {
      expect(() => matmul(zeros([2, 3]), zeros([4, 5]))).toThrow(
        "matmul: inner extents differ: [2, 3] has 3 columns, [4, 5] has 4 rows",
      );
      expect(() => matmul(zeros([3]), zeros([3, 1]))).toThrow(/operands must be \[..., M, K\]/);
      expect(() => matmul(zeros([2, 2]), zeros([2, 2], "f64"))).toThrow(DTypeError);
      expect(() => matmul(zeros([2, 2]), i32(1, 2).reshape([2, 1]))).toThrow(/computes with floats/);
    }));
});

describe("convolution", () => {
  it("slides the kernel over the image without flipping it", () =>
    run(() => {
      const x = tensor([1, 2, 3, 4], { shape: [1, 1, 4, 1] });
      const w = tensor([10, 1], { shape: [1, 1, 2, 1] });
      expect(list(conv2d(x, w))).toEqual([12, 23, 34]);
    }));

  it("pads each side as told", () =>
    run(() => {
      const x = tensor([1, 2], { shape: [1, 1, 2, 1] });
      const w = tensor([1], { shape: [1, 1, 1, 1] });
      expect(
        list(
          conv2d(x, w, {
            padding: [
              [0, 0],
              [1, 2],
            ],
          }),
        ),
      ).toEqual([0, 1, 2, 0, 0]);
    }));

  it("transposes itself: ⟨conv(x, w), y⟩ = ⟨x, inputGrad(y, w)⟩ = ⟨w, weightGrad(x, y)⟩", () =>
    run(() => {
      const options = { stride: [2, 1], padding: 1, dilation: [1, 2], groups: 2 } as const;
      const [x, w] = [drawn([2, 7, 9, 4], "f64"), drawn([6, 3, 2, 2], "f64")];
      const c = conv2d(x, w, options);
      const y = drawn(c.shape, "f64");
      const inner = (a: Tensor, b: Tensor): number => sum(a.mul(b)).itemSync();
      const expected = inner(c, y);
      expect(inner(x, conv2dInputGrad(y, w, { ...options, inputShape: x.shape }))).toBeCloseTo(expected, 9);
      expect(inner(w, conv2dWeightGrad(x, y, { ...options, kernelSize: [3, 2] }))).toBeCloseTo(expected, 9);
    }));

  it("inputGrad makes the smallest image unless told its shape", () =>
    run(() => {
      const [y, w] = [zeros([1, 4, 4, 2]), zeros([2, 3, 3, 1])];
      expect(conv2dInputGrad(y, w, { stride: 2, padding: 1 }).shape).toEqual([1, 7, 7, 1]);
      expect(conv2dInputGrad(y, w, { stride: 2, padding: 1, inputShape: [1, 8, 8, 1] }).shape).toEqual([1, 8, 8, 1]);
      expect(() => conv2dInputGrad(y, w, { stride: 2, padding: 1, inputShape: [1, 9, 9, 1] })).toThrow(ShapeError);
    }));

  it("says what does not fit", () =>
    run(() => {
      const x = zeros([1, 4, 4, 3]);
      expect(() => conv2d(x, zeros([2, 3, 3, 4]))).toThrow(
        /image \[1, 4, 4, 3\] and weights \[2, 3, 3, 4\] do not fit with 1 group/,
      );
      expect(() => conv2d(x, zeros([2, 5, 5, 3]))).toThrow(/window .* does not fit into the image \[1, 4, 4, 3\]/);
      expect(() => conv2d(x, zeros([2, 3, 3, 3]), { bias: zeros([3]) })).toThrow(
        /bias must have shape \[2\], got \[3\]/,
      );
      expect(() => conv2d(x, zeros([2, 3, 3, 3]), { stride: 0 })).toThrow(/stride must be an integer ≥ 1, got 0/);
      expect(() => conv2d(x, zeros([2, 3, 3, 3]), { padding: 2 ** 31 })).toThrow(
        /padding must be an integer ≥ 0 and below 2³¹, got 2147483648/,
      );
      expect(() => conv2d(x, zeros([2, 3, 3, 3]), { strides: 2 } as never)).toThrow(/unknown option "strides"/);
      expect(() => conv2d(zeros([4, 4, 3]), zeros([2, 3, 3, 3]))).toThrow(
        /x must be \[N, H, W, C\], got shape \[4, 4, 3\]/,
      );
    }));
});

describe("resampling", () => {
  it("repeats pixels when it enlarges and takes every other when it halves", () =>
    run(() => {
      const x = tensor([1, 2, 3, 4], { shape: [1, 2, 2, 1] });
      expect(list(resizeNearest(x, [2, 4]))).toEqual([1, 1, 2, 2, 3, 3, 4, 4]);
      expect(list(resizeNearest(x, [1, 1]))).toEqual([1]);
    }));

  it("pools over windows, counting padding as zeros", () =>
    run(() => {
      const x = tensor([1, 2, 3, 4], { shape: [1, 2, 2, 1] });
      expect(list(avgPool(x, { kernel: 2 }))).toEqual([2.5]);
      expect(list(avgPool(x, { kernel: 2, padding: 1 }))).toEqual([0.25, 0.5, 0.75, 1]);
      expect(() => avgPool(x, { kernel: 3 })).toThrow(/3×3 window does not fit/);
      expect(() => avgPool(x, {} as never)).toThrow(ShapeError);
    }));
});

describe("indexing", () => {
  it.each(["f32", "f64", "bf16", "f16", "i32", "u8", "bool"] as const)("gathers %s", (dtype) =>
    run(() => {
      const x = tensor([0, 1, 1, 0, 0, 1], { shape: [3, 2], dtype });
      const rows = gather(x, i32(2, 0));
      expect(rows.dtype).toBe(dtype);
      expect(list(rows)).toEqual([0, 1, 0, 1]);
    }),
  );

  it("gather takes a scalar index away with its axis", () =>
    run(() =>
      expect(
        list(
          gather(
            tensor([
              [1, 2, 3],
              [4, 5, 6],
            ]),
            i32(1).reshape([]),
            -1,
          ),
        ),
      ).toEqual([2, 5]),
    ));

  it("scatterAdd adds where an index repeats", () =>
    run(() => expect(list(scatterAdd(tensor([1, 2, 3]), i32(0, 1, 0), 3))).toEqual([4, 2, 0])));

  it("an index out of range fails when the result is read, and the device stays usable", () =>
    run(() => {
      const bad = gather(tensor([1, 2, 3]), i32(0, 3));
      expect(() => bad.dataSync()).toThrow(expect.objectContaining({ code: "ERR_FIGMENT_INDEX" }));
      const negative = scatterAdd(tensor([1]), i32(-1), 3);
      expect(() => negative.dataSync()).toThrow(expect.objectContaining({ code: "ERR_FIGMENT_INDEX" }));
      expect(list(gather(tensor([1, 2, 3]), i32(2)))).toEqual([3]);
    }));

  it("wants integers as indices", () =>
    run(() => {
      expect(() => gather(tensor([1, 2]), tensor([0, 1]))).toThrow(/gather: indices must be i32, got f32 \[2\]/);
      expect(list(gather(tensor([1, 2]), tensor(new Uint8Array([1, 0]))))).toEqual([2, 1]);
    }));
});

describe("fused ops", () => {
  it("softmax stays finite for large scores and sums to 1", () =>
    run(() => {
      expect(list(softmax(tensor([1000, 1000, -1000])))).toEqual([0.5, 0.5, 0]);
      expect(list(logSoftmax(tensor([1000, 0])))).toEqual([0, -1000]);
    }));

  it("cross entropy is −log softmax at the label and refuses labels out of range", () =>
    run(() => {
      const logits = drawn([3, 4], "f64");
      const losses = list(crossEntropy(logits, i32(1, 3, 0)));
      const logs = list(logSoftmax(logits));
      expect(losses[1]).toBeCloseTo(-(logs[7] as number), 12);
      const bad = crossEntropy(logits, i32(0, 4, 0));
      expect(() => bad.dataSync()).toThrow(expect.objectContaining({ code: "ERR_FIGMENT_INDEX" }));
      expect(() => crossEntropy(logits, i32(0, 1))).toThrow(/labels .* must have shape \[3\], got \[2\]/);
    }));

  it("attention without a mask averages values by the softmax of scores", () =>
    run(() => {
      const q = zeros([1, 1, 1, 2]);
      const v = tensor([1, 2, 3, 4], { shape: [1, 2, 1, 2] });
      expect(list(attention(q, zeros([1, 2, 1, 2]), v))).toEqual([2, 3]);
    }));

  it("causal attention's first query sees the first key only", () =>
    run(() => {
      const [q, k, v] = [drawn([1, 3, 2, 4]), drawn([1, 3, 2, 4]), drawn([1, 3, 2, 4])];
      const out = attention(q, k, v, { causal: true });
      list(out.at(0, 0)).forEach((x, i) => {
        expect(x).toBeCloseTo(list(v.at(0, 0))[i] as number, 6);
      });
      expect(() => attention(drawn([1, 4, 2, 4]), k, v, { causal: true })).toThrow(/4 queries over 3 keys/);
    }));

  it("groupNorm normalises each group of each sample", () =>
    run(() => {
      const y = groupNorm(drawn([2, 5, 5, 6]), tensor([1, 1, 1, 1, 1, 1]), zeros([6]), { groups: 3 });
      const grouped = y.reshape([2, 25, 3, 2]);
      for (const x of list(mean(grouped, [1, 3]))) expect(x).toBeCloseTo(0, 5);
      for (const x of list(mean(grouped.square(), [1, 3]))) expect(x).toBeCloseTo(1, 3);
      expect(() => groupNorm(y, zeros([6]), zeros([6]), { groups: 4 })).toThrow(
        /4 groups do not divide the 6 channels/,
      );
    }));

  it("one tensor may fill several places, and its derivative counts each", () =>
    run(() => {
      const x = drawn([1, 3, 1, 2], "f64");
      const self = list(grad((q: Tensor) => sum(attention(q, q, q).square()))(x));
      const parts = [0, 1, 2].map((place) => {
        const operands = (q: Tensor): [Tensor, Tensor, Tensor] =>
          [0, 1, 2].map((i) => (i === place ? q : x.clone())) as [Tensor, Tensor, Tensor];
        return list(grad((q: Tensor) => sum(attention(...operands(q)).square()))(x.clone()));
      });
      self.forEach((value, i) => {
        expect(value).toBeCloseTo(
          parts.reduce((total, part) => total + (part[i] as number), 0),
          10,
        );
      });
    }));
});
