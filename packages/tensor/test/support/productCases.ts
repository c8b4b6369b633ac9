// Products and convolutions that epilogues are tried on: their shapes reach every kernel, with whole tiles and parts of them.

import {
  assertNoLeaks,
  type ConvOptions,
  compile,
  conv2d,
  type DType,
  matmul,
  type Precision,
  rng,
  scope,
  type Tensor,
} from "@figment/tensor";
import { afterAll, expect } from "vitest";

/** Normal numbers of a seed, for all tests of a file, which are to leave no memory behind. */
export function draws(seed: number): (shape: readonly number[], dtype?: DType) => Tensor {
  const random = rng(seed);
  afterAll(() => {
    random.dispose();
    assertNoLeaks();
  });
  return (shape, dtype = "f32") => scope(() => random.normal(shape).cast(dtype));
}

/** The records of a function, compiled and run once, of operands, which it disposes of. */
export function recordsOf(fn: (...operands: Tensor[]) => Tensor | Tensor[], operands: readonly Tensor[]): string {
  const f = compile(fn);
  scope(() => void f(...operands));
  const text = f.print();
  for (const owner of [f, ...operands]) owner.dispose();
  return text;
}

/** Formats of operands, the precision, and the most that a result may be off, relative to the largest. */
export const formats: readonly [DType, Precision, number][] = [
  ["f32", "highest", 1e-5],
  ["f32", "fast", 1e-4],
  ["f32", "bf16", 1e-5],
  ["bf16", "highest", 2 ** -7],
  ["f16", "highest", 2 ** -10],
  ["f64", "highest", 1e-12],
];

/** A product as a function of its factors, the shapes of these, and that of its result. */
export interface Case {
  readonly title: string;
  readonly shapes: readonly [readonly number[], readonly number[]];
  readonly result: readonly number[];
  readonly product: (x: Tensor, w: Tensor) => Tensor;
}
export const products = (
  [
    [1, 1, 1],
    [3, 17, 40],
    [40, 50, 33],
    [65, 32, 96],
    [130, 96, 700],
    [19, 70, 2306],
    [2, 200, 96],
    [96, 3, 200],
  ] as const
).map(
  ([rows, columns, depth]): Case => ({
    title: `${rows}×${columns}×${depth}`,
    shapes: [
      [rows, depth],
      [columns, depth],
    ],
    result: [rows, columns],
    product: (x, w) => matmul(x, w, { transposeB: true }),
  }),
);
export const convolutions = (
  [
    [[1, 5, 6, 3], [7, 3, 3, 3], [1, 5, 6, 7], { padding: 1 }],
    [[2, 9, 8, 64], [64, 3, 3, 64], [2, 9, 8, 64], { padding: 1 }],
    [[1, 17, 16, 160], [70, 3, 3, 160], [1, 17, 16, 70], { padding: 1 }],
    [[2, 9, 9, 32], [48, 3, 3, 32], [2, 5, 5, 48], { padding: 1, stride: 2 }],
    [[1, 8, 8, 96], [33, 1, 1, 96], [1, 8, 8, 33], {}],
    [[1, 8, 7, 32], [64, 3, 3, 8], [1, 8, 7, 64], { padding: 1, groups: 4 }],
    [[1, 8, 7, 24], [24, 3, 3, 1], [1, 8, 7, 24], { padding: 1, groups: 24 }],
  ] satisfies [number[], number[], number[], ConvOptions][]
).map(
  ([x, w, result, options]): Case => ({
    title: `${x} by ${w}`,
    shapes: [x, w],
    result,
    product: (image, weights) => conv2d(image, weights, options),
  }),
);

/** All of them in each format and precision, as rows of tests. */
export const everyFormat = formats.flatMap((format) =>
  [...products, ...convolutions].map((item) => [item.title, ...format, item] as const),
);
/** The precisions of f32. */
export const singlePrecisions = formats.filter(([dtype]) => dtype === "f32").map(([, precision]) => precision);

/** A convolution and a product whose weights are worth keeping packed. */
export const keptCases: readonly Case[] = [
  {
    title: "image",
    shapes: [
      [1, 9, 7, 64],
      [96, 3, 3, 64],
    ],
    result: [1, 9, 7, 96],
    product: (x, w) => conv2d(x, w, { padding: 1 }),
  },
  {
    title: "rows",
    shapes: [
      [37, 544],
      [500, 544],
    ],
    result: [37, 500],
    product: (x, w) => matmul(x, w, { transposeB: true }),
  },
];

/**
 * Expects of a function of x, w and further operands, compiled at a precision, what it computes in f32 by operations one after
 * another, to within a part of the largest result; gives its program's text.
 */
export function expectWithin(
  tolerance: number,
  layer: (...operands: Tensor[]) => Tensor,
  operands: readonly Tensor[],
  dtype: DType,
  precision: Precision,
): string {
  const f = compile(layer, { precision });
  const got = scope(() => (f(...operands) as Tensor).dataSync());
  // The precision rounds factors; what else is compared is what was rounded in between.
  const apart = (dtype === "bf16" || dtype === "f16" ? "f32" : dtype) as DType;
  const rounded = (y: Tensor): Tensor => (precision === "bf16" ? y.cast("bf16").cast("f32") : y);
  const want = scope(() =>
    layer(...operands.map((y, i) => (i < 2 ? rounded(y.cast(apart)) : y.cast(apart)))).dataSync(),
  );
  let [largest, worst] = [0, 0];
  for (const [i, y] of want.entries()) {
    largest = Math.max(largest, Math.abs(y));
    worst = Math.max(worst, Math.abs(y - (got[i] as number)));
  }
  expect(worst / largest).toBeLessThanOrEqual(tolerance);
  const text = f.print();
  f.dispose();
  return text;
}
