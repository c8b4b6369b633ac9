// What the reductions, products, convolutions and fused ops promise beyond parity and derivatives: special
// values, broadcasting, element types, and errors that say what was given and what was expected.

import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  Cell,
  DTypeError,
  FigmentError,
  type OpenScope,
  ShapeError,
  type Tensor,
  UsageError,
  adamUpdate,
  addNoise,
  assertNoLeaks,
  attention,
  avgPool,
  conv2d,
  conv2dInputGrad,
  conv2dWeightGrad,
  crossEntropy,
  emaUpdate,
  gather,
  grad,
  groupNorm,
  logSoftmax,
  matmul,
  max,
  mean,
  norm,
  openScope,
  resizeNearest,
  rng,
  samplerStep,
  scatterAdd,
  softmax,
  sqrt,
  sum,
  sumSquares,
  tensor,
  zeros,
} from "@figment/tensor";
import { sizeOf } from "#shape";
import { Draws } from "./support/draws.ts";

const seed = 99;
console.info(`ops: seed ${seed}`);

let draws: Draws;
let open: OpenScope;
let close: () => void;

/** Everything that a test makes is freed at its end. */
const run = <T>(fn: () => T): T => open.run(fn);
const drawn = (shape: readonly number[], dtype: "f32" | "f64" = "f32"): Tensor =>
  tensor(draws.array(sizeOf(shape)), { shape, dtype });
const list = (x: Tensor): number[] => [...x.dataSync()];
const i32 = (...xs: number[]): Tensor => tensor(Int32Array.from(xs));

beforeEach(() => {
  draws = new Draws(seed);
  open = openScope();
  close = () => open[Symbol.dispose]();
});
afterEach(() => close());
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
      expect(() => matmul(zeros([2, 2]), i32(1, 2).reshape([2, 1]))).toThrow(/computes in f32 or f64/);
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

describe("updates", () => {
  const cell = (data: readonly number[]): Cell => {
    const made = new Cell({ shape: [data.length] });
    made.setData(data);
    return made;
  };

  it("adamUpdate moves each weight by the learning rate at its first step", () => {
    const [p, m, v] = [cell([1, -2]), cell([0, 0]), cell([0, 0])];
    run(() => {
      adamUpdate({ cells: [p], grads: [tensor([0.5, -3])], m: [m], v: [v], lr: 0.1, step: 1 });
      const moved = list(p.value);
      expect(moved[0]).toBeCloseTo(0.9, 6);
      expect(moved[1]).toBeCloseTo(-1.9, 6);
      expect(list(m.value)[0]).toBeCloseTo(0.05, 6);
    });
    for (const made of [p, m, v]) made.dispose();
  });

  it("emaUpdate moves targets toward cells and tensors", () => {
    const [target, source] = [cell([1, 2]), cell([3, 4])];
    run(() => {
      emaUpdate(0.75, [target], [source]);
      expect(list(target.value)).toEqual([1.5, 2.5]);
      emaUpdate(tensor(0), [target], [tensor([7, 8])]);
      expect(list(target.value)).toEqual([7, 8]);
    });
    for (const made of [target, source]) made.dispose();
  });

  it("a tensor read before an update keeps its value", () => {
    const target = cell([1, 2]);
    run(() => {
      const before = target.value;
      emaUpdate(0, [target], [tensor([5, 6])]);
      expect(list(before)).toEqual([1, 2]);
      expect(list(target.value)).toEqual([5, 6]);
    });
    target.dispose();
  });

  it("sumSquares gives the square of the global norm", () =>
    run(() => {
      expect(sqrt(sumSquares([tensor([3]), tensor([[4, 0]])])).itemSync()).toBe(5);
      expect(sumSquares([]).itemSync()).toBe(0);
    }));

  it("lists of different lengths are refused", () => {
    const p = cell([1]);
    run(() => {
      expect(() => adamUpdate({ cells: [p], grads: [], m: [p], v: [p], lr: 1, step: 1 })).toThrow(
        /grads has 0 entries for 1 cells/,
      );
      expect(() => emaUpdate(0.5, [p], [])).toThrow(/sources has 0 entries for 1 cells/);
    });
    p.dispose();
  });
});

describe("diffusion arithmetic", () => {
  it("addNoise picks its coefficients by timestep", () =>
    run(() => {
      const out = addNoise(tensor([[1], [1]]), tensor([[1], [2]]), i32(1, 0), tensor([1, 0.5]), tensor([0, 0.25]));
      expect(list(out)).toEqual([0.75, 1]);
    }));

  it("addNoise refuses a timestep out of range when its result is read", () =>
    run(() => {
      const out = addNoise(tensor([[1]]), tensor([[1]]), i32(2), tensor([1, 0.5]), tensor([0, 0.25]));
      expect(() => out.dataSync()).toThrow(expect.objectContaining({ code: "ERR_FIGMENT_INDEX" }));
    }));

  it("samplerStep clamps its prediction of x₀ and combines tensors", () =>
    run(() => {
      const coef = tensor([2, -1, 1, 0, 0.5, 0, 0, 0, 0, 0, 0, 0]);
      const step = samplerStep({ coef, tensors: [tensor([1, 0.25]), tensor([0.5, 0.25])], clamp: [-1, 1] });
      expect(list(step)).toEqual([1.5, 0.375]);
    }));

  it("samplerStep draws the noise that the stream would give, and advances it", () => {
    const [a, b] = [rng(7), rng(7)];
    run(() => {
      const coef = tensor([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
      const noise = samplerStep({ coef, random: a, tensors: [zeros([11])], noise: true });
      expect(list(noise)).toEqual(list(b.normal([11])));
      expect(list(a.normal([3]))).toEqual(list(b.normal([3])));
    });
    a.dispose();
    b.dispose();
  });
});

describe("wrong JavaScript arguments", () => {
  const x = (): Tensor => zeros([1, 2, 2, 1]);
  const wrong: readonly (readonly [string, () => unknown])[] = [
    ["sum of null", () => sum(null as never)],
    ["sum with options null", () => sum(x(), 0, null as never)],
    ["sum over a string", () => sum(x(), "0" as never)],
    ["sum with keepDims 1", () => sum(x(), 0, { keepDims: 1 } as never)],
    ["matmul of arrays", () => matmul([[1]] as never, [[1]] as never)],
    ["conv2d of undefined", () => conv2d(undefined as never, x())],
    ["conv2d with a padding of strings", () => conv2d(x(), x(), { padding: ["a", 1] } as never)],
    ["conv2d with ragged padding", () => conv2d(x(), x(), { padding: [1, [2, 3]] } as never)],
    ["conv2d with options 3", () => conv2d(x(), x(), 3 as never)],
    ["conv2dInputGrad with an input shape of three", () => conv2dInputGrad(x(), x(), { inputShape: [1, 2, 2] })],
    ["conv2dWeightGrad without options", () => conv2dWeightGrad(x(), x(), undefined as never)],
    ["resizeNearest to a string", () => resizeNearest(x(), "2" as never)],
    ["avgPool without options", () => avgPool(x(), undefined as never)],
    ["gather with a number", () => gather(x(), 0 as never)],
    ["gather along axis 1.5", () => gather(x(), zeros([1], "i32"), 1.5)],
    ["scatterAdd with size −1", () => scatterAdd(x(), zeros([1], "i32"), -1)],
    ["scatterAdd of a scalar", () => scatterAdd(zeros([]), zeros([1], "i32"), 1)],
    ["groupNorm without options", () => groupNorm(x(), x(), x(), undefined as never)],
    ["groupNorm with groups 0", () => groupNorm(x(), zeros([1]), zeros([1]), { groups: 0 })],
    ["groupNorm with eps NaN", () => groupNorm(x(), zeros([1]), zeros([1]), { groups: 1, eps: Number.NaN })],
    ["softmax of a number", () => softmax(1 as never)],
    ["attention of a matrix", () => attention(zeros([2, 2]), zeros([2, 2]), zeros([2, 2]))],
    ["attention with a scale of strings", () => attention(x(), x(), x(), { scale: "1" } as never)],
    ["crossEntropy with an array", () => crossEntropy(x(), [0] as never)],
    ["adamUpdate of nothing", () => adamUpdate(undefined as never)],
    [
      "adamUpdate with tensors as cells",
      () => adamUpdate({ cells: [x()], grads: [x()], m: [], v: [], lr: 1, step: 1 } as never),
    ],
    ["emaUpdate of tensors", () => emaUpdate(0.5, [x()] as never, [x()])],
    ["sumSquares of a tensor", () => sumSquares(x() as never)],
    ["addNoise without timesteps", () => addNoise(x(), x(), null as never, x(), x())],
    ["samplerStep without tensors", () => samplerStep({ coef: zeros([12]), tensors: [] })],
    ["samplerStep with noise and no stream", () => samplerStep({ coef: zeros([12]), tensors: [x()], noise: true })],
    ["samplerStep with half a clamp", () => samplerStep({ coef: zeros([12]), tensors: [x()], clamp: [1] } as never)],
  ];

  it.each(wrong)("%s is a typed error", (_title, call) => {
    let caught: unknown;
    run(() => {
      try {
        call();
      } catch (error) {
        caught = error;
      }
    });
    expect(caught).toBeInstanceOf(FigmentError);
    expect([ShapeError, DTypeError, UsageError].some((kind) => caught instanceof kind)).toBe(true);
  });
});
