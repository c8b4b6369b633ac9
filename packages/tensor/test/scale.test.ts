// A matrix product or convolution times a vector over its columns, or times one number, which its kernel scales by as it stores:
// when it does, as for inference's batch norm and scaled residuals, and that it computes what operations one after another do.

import {
  batchNormWith,
  compile,
  conv2d,
  grad,
  matmul,
  relu,
  scope,
  silu,
  sum,
  type Tensor,
  tensor,
} from "@figment/tensor";
import { describe, expect, it } from "vitest";
import { matmulDef } from "#ops/matmul";
import { bitsOf, expectSameKept } from "./support/keptWeights.ts";
import {
  convolutions,
  draws,
  everyFormat,
  expectWithin,
  keptCases,
  products,
  recordsOf,
  singlePrecisions,
} from "./support/productCases.ts";
import { describeOnTiles } from "./support/tiles.ts";

const draw = draws(23);

type Operands = readonly [x: Tensor, w: Tensor, b: Tensor, s: Tensor, o: Tensor];

/** The records of a function of x [1, 4, 5, 3], w [8, 3, 3, 3], b [8], s [8] and o [1, 2, 3, 8]. */
const printed = (fn: (...operands: Operands) => Tensor | Tensor[]): string =>
  recordsOf(
    (...operands) => fn(...(operands as unknown as Operands)),
    [draw([1, 4, 5, 3]), draw([8, 3, 3, 3]), draw([8]), draw([8]), draw([1, 2, 3, 8])],
  );

describe("the operands", () => {
  const aval = (...shape: number[]) => ({ shape, dtype: "f32" as const });
  const attrs = { transposeA: false, transposeB: false, activation: "none", scale: true } as const;
  const [a, b] = [aval(3, 8), aval(8, 10)];
  it("are factors, a scale of a number for each column or for all, a bias and an addend", () => {
    const result = [aval(3, 10)];
    expect(matmulDef.infer([a, b, aval(10)], attrs)).toEqual(result);
    expect(matmulDef.infer([a, b, aval(1), aval(10)], attrs)).toEqual(result);
    expect(matmulDef.infer([a, b, aval(1), aval(3, 10)], { ...attrs, addend: true })).toEqual(result);
    expect(() => matmulDef.infer([a, b], attrs)).toThrow("expected 3 to 4 operands, got 2");
    expect(() => matmulDef.infer([a, b, aval(3)], attrs)).toThrow("scale must have shape [10] or [1], got [3]");
  });
  it("are none beside gated columns", () => {
    const gated = { ...attrs, activation: "geglu" } as const;
    expect(() => matmulDef.infer([a, b, aval(10)], gated)).toThrow("neither scaled nor added to");
  });
});

describe("the pattern", () => {
  it("makes batch norm after a convolution with a bias one record, beside those of the vectors", () => {
    const text = printed((x, w, b, s) => relu(batchNormWith(conv2d(x, w, { bias: b }), s, b, b, s.square())));
    expect(text).toMatch(/f32\[1,2,3,8\] = conv2d\(.*activation=relu scale=true/);
    expect(text.match(/f32\[1,2,3,8\] = /g)).toHaveLength(1);
  });

  it("makes scaled residuals one record, beside that of the bias", () => {
    const text = printed((x, w, b, _, o) => conv2d(x, w, { bias: b }).mul(0.2).add(o));
    expect(text).toMatch(/f32\[1,2,3,8\] = conv2d\(.*scale=true addend=true/);
    expect(text.match(/f32\[1,2,3,8\] = /g)).toHaveLength(1);
  });

  it.each<[string, (...operands: Operands) => Tensor]>([
    ["a vector", (x, w, _, s) => conv2d(x, w).mul(s)],
    ["a vector first", (x, w, _, s) => s.mul(conv2d(x, w))],
    ["a vector of more dimensions", (x, w, _, s) => conv2d(x, w).mul(s.reshape([1, 1, 1, 8]))],
    ["a vector and an activation", (x, w, b, s) => silu(conv2d(x, w).mul(s).add(b))],
  ])("makes one record with %s", (_, fn) => {
    const text = printed(fn);
    expect(text.match(/f32\[1,2,3,8\] = /g)).toHaveLength(1);
    expect(text).toContain("scale=true");
  });

  it.each<[string, (...operands: Operands) => Tensor | Tensor[]]>([
    [
      "the product is read elsewhere",
      (x, w, _, s) => {
        const y = conv2d(x, w);
        return [y.mul(s), y];
      },
    ],
    ["an activation comes first", (x, w, _, s) => relu(conv2d(x, w)).mul(s)],
    ["the numbers are of the result's shape", (x, w, _b, _s, o) => conv2d(x, w).mul(o)],
    [
      "sums are of many rows of both factors",
      (x) => matmul(x.reshape([20, 3]), x.reshape([20, 3]), { transposeA: true }).mul(2),
    ],
  ])("leaves products alone where %s", (_, fn) => {
    expect(printed(fn)).not.toContain("scale=true");
  });
});

describe("vectors of f16", () => {
  const half = (numbers: number[] | number[][]): Tensor => tensor(numbers, { dtype: "f16" });
  it.each<[string, number, (y: Tensor, b: Tensor, s: Tensor) => Tensor]>([
    ["a scaled bias", 1984, (y, b, s) => y.add(b).mul(s)],
    ["a sum of biases", 60992, (y, b) => y.add(b).add(b)],
  ])("are not computed with, where they overflow and the result does not: %s", (_, want, after) => {
    const [x, w, b, s] = [half([[-59000]]), half([[1, 1]]), half([60000, 60000]), half([2, 2])];
    const layer = (...[y, v, c, t]: Tensor[]): Tensor =>
      after(matmul(y as Tensor, v as Tensor), c as Tensor, t as Tensor);
    const f = compile(layer);
    expect(scope(() => [...f(x, w, b, s).dataSync()])).toEqual([want, want]);
    expect(scope(() => [...layer(x, w, b, s).dataSync()])).toEqual([want, want]);
    for (const owner of [f, x, w, b, s]) owner.dispose();
  });
});

function matches(): void {
  it.each(everyFormat)(
    "%s of %s at precision %s is within %f",
    (_, dtype, precision, tolerance, { shapes, result, product }) => {
      const columns = result.at(-1) as number;
      const operands = [...shapes, [columns], [columns], result].map((shape) => draw(shape, dtype));
      const layer = (...[x, w, s, b, o]: Tensor[]): Tensor =>
        relu(
          product(x as Tensor, w as Tensor)
            .mul(s as Tensor)
            .add(b as Tensor),
        ).add(o as Tensor);
      expect(expectWithin(tolerance, layer, operands, dtype, precision)).toMatch(
        /activation=relu.*scale=true.*addend=true/,
      );
      for (const x of operands) x.dispose();
    },
  );

  it.each(singlePrecisions)("gives the bits of operations afterwards at precision %s", (precision) => {
    for (const { shapes, result, product } of [...products, ...convolutions]) {
      const columns = result.at(-1) as number;
      for (const count of [columns, 1]) {
        const operands = [...shapes, [count], [columns]].map((shape) => draw(shape));
        const apart = compile(
          (...[x, w, s, b]: Tensor[]) => {
            const y = product(x as Tensor, w as Tensor);
            return [y.mul(s as Tensor).add(b as Tensor), y];
          },
          { precision },
        );
        const once = compile(
          (...[x, w, s, b]: Tensor[]) =>
            product(x as Tensor, w as Tensor)
              .mul(s as Tensor)
              .add(b as Tensor),
          { precision },
        );
        const want = scope(() => bitsOf((apart(...operands) as Tensor[])[0] as Tensor));
        expect(scope(() => bitsOf(once(...operands) as Tensor))).toBe(want);
        expect(once.print()).toContain("scale=true");
        expect(apart.print()).not.toContain("scale");
        for (const owner of [once, apart, ...operands]) owner.dispose();
      }
    }
  });

  it("keeps numbers that are not finite in their columns", () => {
    const numbers = [0, Number.NaN, Number.POSITIVE_INFINITY, -1];
    for (const { shapes, result, product } of [...products, ...convolutions]) {
      const columns = result.at(-1) as number;
      const [x, w] = shapes.map((shape) => draw(shape)) as [Tensor, Tensor];
      const s = tensor(Float32Array.from({ length: columns }, (_, i) => numbers[i % numbers.length] as number));
      const [plain, scaled] = [
        compile((y: Tensor, v: Tensor) => product(y, v)),
        compile((y: Tensor, v: Tensor, t: Tensor) => product(y, v).mul(t)),
      ];
      const sums = scope(() => plain(x, w).dataSync());
      const got = scope(() => scaled(x, w, s).dataSync());
      for (const [i, y] of got.entries()) {
        const want = Math.fround((sums[i] as number) * (numbers[(i % columns) % numbers.length] as number));
        expect(y === want || (Number.isNaN(y) && Number.isNaN(want))).toBe(true);
      }
      for (const owner of [plain, scaled, x, w, s]) owner.dispose();
    }
  });

  it("gives the same bits by weights kept packed, and on any number of threads", () => {
    for (const { shapes, product } of keptCases)
      for (const dtype of ["f32", "bf16"] as const) {
        const [x, w] = shapes.map((shape) => draw(shape, dtype)) as [Tensor, Tensor];
        const [s, b] = [draw([w.dim(0)], dtype), draw([w.dim(0)], dtype)];
        expectSameKept((y, v) => relu(product(y, v).mul(s).add(b)), x, w);
        for (const owner of [x, w, s, b]) owner.dispose();
      }
  });
}

describeOnTiles("scaled sums", matches);

describe("operands", () => {
  it("may be the scale, the bias and a factor at once", () => {
    const [x, w] = [draw([6, 5]), draw([5, 5])];
    const f = compile((y: Tensor, v: Tensor) => {
      const row = v.slice([0, 0], [1, 5]).reshape([5]);
      return matmul(y, v).mul(row).add(row);
    });
    const want = scope(() =>
      matmul(x, w)
        .mul(w.slice([0, 0], [1, 5]))
        .add(w.slice([0, 0], [1, 5]))
        .dataSync(),
    );
    const got = scope(() => f(x, w).dataSync());
    for (const [i, y] of want.entries()) expect(got[i]).toBeCloseTo(y, 4);
    for (const owner of [f, x, w]) owner.dispose();
  });
});

describe("derivatives", () => {
  it("are those of operations one after another", () => {
    const [x, w, s, b] = [draw([4, 6]), draw([5, 6]), draw([5]), draw([5])];
    const loss = (y: Tensor, v: Tensor, t: Tensor, c: Tensor): Tensor =>
      sum(silu(matmul(y, v, { transposeB: true }).mul(t).add(c)).mul(c));
    const slopes = (y: Tensor, v: Tensor, t: Tensor, c: Tensor): Tensor[] => [
      grad((at: Tensor) => loss(at, v, t, c))(y),
      grad((at: Tensor) => loss(y, at, t, c))(v),
      grad((at: Tensor) => loss(y, v, at, c))(t),
      grad((at: Tensor) => loss(y, v, t, at))(c),
    ];
    const want = scope(() => slopes(x, w, s, b).map((y) => [...y.dataSync()]));
    const f = compile(slopes);
    const got = scope(() => f(x, w, s, b).map((y) => [...y.dataSync()]));
    for (const [i, y] of want.entries())
      for (const [j, slope] of y.entries()) expect(got[i]?.[j]).toBeCloseTo(slope, 4);
    for (const owner of [f, x, w, s, b]) owner.dispose();
  });
});
