// u·gelu(v) of the halves (u, v) of a matrix product's columns, which the product's kernel stores by itself: when it does, and
// that it computes what operations one after another do, in every format, with weights kept packed or not.

import { compile, type DType, full, gelu, matmul, scope, split, type Tensor } from "@figment/tensor";
import { describe, expect, it } from "vitest";
import { expectSameKept } from "./support/keptWeights.ts";
import { draws, formats, recordsOf } from "./support/productCases.ts";
import { describeOnTiles } from "./support/tiles.ts";

const draw = draws(17);

const halves = (x: Tensor): [Tensor, Tensor] => split(x, 2, -1) as [Tensor, Tensor];
function geglu(x: Tensor): Tensor {
  const [value, gate] = halves(x);
  return value.mul(gelu(gate));
}
const layer = (x: Tensor, w: Tensor, b: Tensor): Tensor => geglu(matmul(x, w, { transposeB: true }).add(b));

/** How many records of each name a function of x [3, 8], w [10, 8] and b [10] is. */
const printed = (fn: (x: Tensor, w: Tensor, b: Tensor) => Tensor | Tensor[]): string =>
  recordsOf(fn as (...operands: Tensor[]) => Tensor | Tensor[], [draw([3, 8]), draw([10, 8]), draw([10])]);

describe("the pattern", () => {
  it("makes one record of a product, its bias and its gated half", () => {
    const text = printed(layer);
    expect(text.match(/ = /g)).toHaveLength(1);
    expect(text).toMatch(/f32\[3,5\] = matmul\(.*activation=geglu/);
  });

  it("sees halves of a product whose leading axes are others", () => {
    const text = printed((x, w) => geglu(matmul(x, w, { transposeB: true }).reshape([1, 3, 10])));
    expect(text).toMatch(/f32\[3,5\] = matmul\(.*activation=geglu.*\n.*f32\[1,3,5\] = reshape/);
  });

  it.each<[string, (x: Tensor, w: Tensor, b: Tensor) => Tensor | Tensor[]]>([
    [
      "the first half gates",
      (x, w) => ((y) => (halves(y)[1] as Tensor).mul(gelu(halves(y)[0])))(matmul(x, w, { transposeB: true })),
    ],
    [
      "constants repeat the gated half",
      (x, w) =>
        (([u, v]) => u.mul(v.mul(full([2, 3, 5], 0.5)).mul(v.mul(Math.SQRT1_2).erf().add(1))))(
          halves(matmul(x, w, { transposeB: true })),
        ),
    ],
    ["the product is read elsewhere", (x, w) => ((y) => [geglu(y), y])(matmul(x, w, { transposeB: true }))],
    [
      "the gate is read elsewhere",
      (x, w) => ((y) => [geglu(y), halves(y)[1].exp()])(matmul(x, w, { transposeB: true })),
    ],
    [
      "gelu is approximated",
      (x, w) =>
        ((y) => halves(y)[0].mul(gelu(halves(y)[1], { approximate: "tanh" })))(matmul(x, w, { transposeB: true })),
    ],
    [
      "halves are of rows",
      (x, w) =>
        ((y) => (([u, v]) => u.mul(gelu(v)))(split(y, 2) as [Tensor, Tensor]))(matmul(w, x, { transposeB: true })),
    ],
  ])("leaves products alone where %s", (_, fn) => {
    expect(printed(fn)).not.toContain("geglu");
  });
});

/** Rows, columns of the result and depth: blocks that are full, have ends, and are small. */
const sizes = [
  [1, 1, 1],
  [3, 17, 40],
  [40, 50, 33],
  [65, 16, 96],
  [130, 96, 700],
] as const;

function matches(): void {
  const cases = formats.flatMap((format) => sizes.map((size) => [...format, size] as const));
  it.each(cases)("%s at precision %s is within %f at %s", (dtype, precision, tolerance, [rows, columns, depth]) => {
    const [x, w, b] = [draw([rows, depth], dtype), draw([2 * columns, depth], dtype), draw([2 * columns], dtype)];
    // The precision rounds factors; what else is compared is what was rounded in between.
    const apart = (dtype === "bf16" || dtype === "f16" ? "f32" : dtype) as DType;
    const rounded = (y: Tensor): Tensor => (precision === "bf16" ? y.cast("bf16").cast("f32") : y.cast(apart));
    const want = scope(() => layer(rounded(x), rounded(w), b.cast(apart)).dataSync());
    const f = compile(layer, { precision });
    const got = scope(() => f(x, w, b).dataSync());
    expect(f.print()).toContain("geglu");
    let [largest, worst] = [0, 0];
    for (const [i, y] of want.entries()) {
      largest = Math.max(largest, Math.abs(y));
      worst = Math.max(worst, Math.abs(y - (got[i] as number)));
    }
    expect(worst / largest).toBeLessThanOrEqual(tolerance);
    for (const owner of [f, x, w, b]) owner.dispose();
  });

  it("gives the same bits by weights kept packed, and on any number of threads", () => {
    for (const dtype of ["f32", "bf16"] as const) {
      const [x, w, b] = [draw([37, 544], dtype), draw([2 * 500, 544], dtype), draw([1000], dtype)];
      expect(expectSameKept((y, v) => layer(y, v, b), x, w)).toMatch(/packed 1×, kept 5×/);
      for (const owner of [x, w, b]) owner.dispose();
    }
  });
}

describeOnTiles("products", matches);
