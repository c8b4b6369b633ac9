// A matrix product or convolution plus numbers of its result's shape, which its kernel adds as it stores: when it does, and that
// it computes what operations one after another do, in every format, with weights kept packed or not.

import { compile, grad, matmul, relu, scope, silu, sum, type Tensor } from "@figment/tensor";
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

const draw = draws(19);

type Fn = (...operands: Tensor[]) => Tensor | Tensor[];

/** The records of a function of x [3, 8], w [10, 8], b [10] and o [3, 10]. */
const printed = (fn: Fn): string => recordsOf(fn, [draw([3, 8]), draw([10, 8]), draw([10]), draw([3, 10])]);
const linear = (x: Tensor, w: Tensor, b: Tensor): Tensor => matmul(x, w, { transposeB: true }).add(b);

describe("the operands", () => {
  const aval = (...shape: number[]) => ({ shape, dtype: "f32" as const });
  const attrs = { transposeA: false, transposeB: false, activation: "none", addend: true } as const;
  it("are factors, a bias if there is one, and what has the result's shape", () => {
    expect(matmulDef.infer([aval(3, 8), aval(8, 10), aval(3, 10)], attrs)).toEqual([aval(3, 10)]);
    expect(matmulDef.infer([aval(3, 8), aval(8, 10), aval(10), aval(3, 10)], attrs)).toEqual([aval(3, 10)]);
    expect(() => matmulDef.infer([aval(3, 8), aval(8, 10)], attrs)).toThrow("expected 3 to 4 operands, got 2");
    expect(() => matmulDef.infer([aval(3, 8), aval(8, 10), aval(1, 10)], attrs)).toThrow(
      "addend must have shape [3, 10]",
    );
  });
  it("are none beside gated columns", () => {
    const gated = { ...attrs, activation: "geglu" } as const;
    expect(() => matmulDef.infer([aval(3, 8), aval(8, 10), aval(3, 5)], gated)).toThrow("neither scaled nor added to");
  });
});

describe("the pattern", () => {
  it.each<[string, Fn]>([
    [
      "the product first",
      (...[x, w, b, o]: Tensor[]) => linear(x as Tensor, w as Tensor, b as Tensor).add(o as Tensor),
    ],
    [
      "the product last",
      (...[x, w, b, o]: Tensor[]) => (o as Tensor).add(linear(x as Tensor, w as Tensor, b as Tensor)),
    ],
    [
      "an activation before",
      (...[x, w, b, o]: Tensor[]) => silu(linear(x as Tensor, w as Tensor, b as Tensor)).add(o as Tensor),
    ],
  ])("makes one record with %s", (_, fn) => {
    const text = printed(fn);
    expect(text.match(/ = /g)).toHaveLength(1);
    expect(text).toMatch(/f32\[3,10\] = matmul\(.*addend=true/);
  });

  it("sees products under another shape", () => {
    const text = printed((...[x, w, b, o]: Tensor[]) =>
      linear(x as Tensor, w as Tensor, b as Tensor)
        .reshape([3, 2, 5])
        .add((o as Tensor).reshape([3, 2, 5])),
    );
    expect(text).toMatch(/f32\[3,10\] = matmul\(.*addend=true/);
    expect(text).not.toContain("add(");
  });

  it("takes one of two products", () => {
    const text = printed((...[x, w, b]: Tensor[]) =>
      linear(x as Tensor, w as Tensor, b as Tensor).add(matmul(x as Tensor, (w as Tensor).exp(), { transposeB: true })),
    );
    expect(text.match(/matmul\(/g)).toHaveLength(2);
    expect(text.match(/addend=true/g)).toHaveLength(1);
  });

  it("leaves what follows the sum to others", () => {
    const text = printed((...[x, w, b, o]: Tensor[]) =>
      relu(linear(x as Tensor, w as Tensor, b as Tensor).add(o as Tensor)),
    );
    expect(text).toMatch(/activation=none addend=true/);
  });

  it.each<[string, Fn]>([
    [
      "the product is read elsewhere",
      (...[x, w, b, o]: Tensor[]) => {
        const y = linear(x as Tensor, w as Tensor, b as Tensor);
        return [y.add(o as Tensor), y];
      },
    ],
    [
      "the other is computed for it alone",
      (...[x, w, b, o]: Tensor[]) => linear(x as Tensor, w as Tensor, b as Tensor).add((o as Tensor).exp()),
    ],
    [
      "the other is repeated",
      (...[x, w, b, o]: Tensor[]) =>
        linear(x as Tensor, w as Tensor, b as Tensor).add((o as Tensor).sum([0]).reshape([1, 10])),
    ],
  ])("leaves products alone where %s", (_, fn) => {
    expect(printed(fn)).not.toContain("addend");
  });
});

function matches(): void {
  it.each(everyFormat)(
    "%s of %s at precision %s is within %f",
    (_, dtype, precision, tolerance, { shapes, result, product }) => {
      const operands = [...shapes, [result.at(-1) as number], result].map((shape) => draw(shape, dtype));
      const layer = (...[x, w, b, o]: Tensor[]): Tensor =>
        relu(product(x as Tensor, w as Tensor).add(b as Tensor)).add(o as Tensor);
      expect(expectWithin(tolerance, layer, operands, dtype, precision)).toContain("addend=true");
      for (const x of operands) x.dispose();
    },
  );

  it.each(singlePrecisions)("gives the bits of an addition afterwards at precision %s", (precision) => {
    for (const { shapes, result, product } of [...products, ...convolutions]) {
      const operands = [...shapes, result].map((shape) => draw(shape));
      const once = compile(((x, w, o) => product(x as Tensor, w as Tensor).add(o as Tensor)) as Fn, { precision });
      const apart = compile(
        ((x, w, o) => {
          const y = product(x as Tensor, w as Tensor);
          return [y.add(o as Tensor), y];
        }) as Fn,
        { precision },
      );
      const want = scope(() => bitsOf((apart(...operands) as Tensor[])[0] as Tensor));
      expect(scope(() => bitsOf(once(...operands) as Tensor))).toBe(want);
      expect(once.print()).toContain("addend=true");
      expect(apart.print()).not.toContain("addend");
      for (const owner of [once, apart, ...operands]) owner.dispose();
    }
  });

  it("gives the same bits by weights kept packed, and on any number of threads", () => {
    for (const { shapes, result, product } of keptCases)
      for (const dtype of ["f32", "bf16"] as const) {
        const [x, w, o] = [...shapes, result].map((shape) => draw(shape, dtype)) as [Tensor, Tensor, Tensor];
        expectSameKept((y, v) => product(y, v).add(o), x, w);
        for (const owner of [x, w, o]) owner.dispose();
      }
  });
}

describeOnTiles("sums", matches);

describe("derivatives", () => {
  it("are those of operations one after another", () => {
    const [x, w, o] = [draw([4, 6]), draw([5, 6]), draw([4, 5])];
    const loss = (y: Tensor, v: Tensor, other: Tensor): Tensor =>
      sum(silu(matmul(y, v, { transposeB: true }).add(other)).mul(other));
    const slopes = (y: Tensor, v: Tensor, other: Tensor): Tensor[] => [
      grad((at: Tensor) => loss(at, v, other))(y),
      grad((at: Tensor) => loss(y, at, other))(v),
      grad((at: Tensor) => loss(y, v, at))(other),
    ];
    const want = scope(() => slopes(x, w, o).map((y) => [...y.dataSync()]));
    const f = compile(slopes);
    const got = scope(() => f(x, w, o).map((y) => [...y.dataSync()]));
    for (const [i, y] of want.entries())
      for (const [j, slope] of y.entries()) expect(got[i]?.[j]).toBeCloseTo(slope, 4);
    for (const owner of [f, x, w, o]) owner.dispose();
  });
});
