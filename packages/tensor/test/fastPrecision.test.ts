// Precision "fast": as exact as "highest" where there are no matrix tiles, and where there are, products of factors split
// into two bf16 parts each, whose error is bounded by the size of their terms.

import {
  abs,
  assertNoLeaks,
  attention,
  compile,
  conv2d,
  grad,
  matmul,
  rng,
  scope,
  sum,
  Tensor,
  tensor,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { type Precision, withPrecision } from "#core/precision";
import { Trace } from "#core/trace";
import { leavesOf } from "#core/tree";
import type { Aval, Graph } from "#ir/graph";
import { printGraph } from "#ir/print";
import { passes } from "#passes/index";
import { native } from "#runtime/device";
import { loadGraph, releaseProgram, runProgram } from "#runtime/program";

/**
 * What dropping the product of the lower parts, up to 2⁻¹⁶, and the rounding of each, half as much, may cost, of the sum of the
 * terms' sizes; and what drawn numbers, whose errors differ in sign, stay within.
 */
const [most, unit] = [2 ** -15, 2 ** -16];

const random = rng(31);
afterAll(() => {
  random.dispose();
  assertNoLeaks();
});

type Body = (...inputs: readonly Tensor[]) => Tensor;

/** The graph of a function at a precision, after all passes. */
function graphOf(body: Body, inputs: readonly Tensor[], precision: Precision = "fast"): Graph {
  const trace = new Trace();
  const args = inputs.map(({ shape, dtype }) => trace.argument({ shape, dtype }));
  const { graph } = trace.run(() => withPrecision(precision, () => body(...args)), leavesOf);
  return passes.reduce((current, [, pass]) => pass(current), graph);
}

/** What the function gives on tiles. */
function onTiles(body: Body, inputs: readonly Tensor[], precision: Precision): Tensor {
  const graph = graphOf(body, inputs, precision);
  const program = loadGraph(graph, "fast", "emulated-split");
  try {
    const { shape, dtype } = graph.outputs[0] as Aval;
    const storages = inputs.map((x) => x.storage("fast"));
    const [storage] = runProgram(program, 0, storages);
    return new Tensor(shape, dtype, { storage: storage as NonNullable<typeof storage> });
  } finally {
    releaseProgram(program);
  }
}

const wide = (x: Tensor): Tensor => x.cast("f64");

/** The largest error on tiles, in units of the sum of the terms' sizes; the function must be linear in each input. */
function worstOn(body: Body, inputs: readonly Tensor[], precision: Precision): number {
  const got = onTiles(body, inputs, precision).dataSync();
  const want = body(...inputs.map(wide)).dataSync();
  const terms = body(...inputs.map((x) => abs(wide(x)))).dataSync();
  let worst = 0;
  for (let i = 0; i < want.length; i++) {
    const off = Math.abs((got[i] as number) - (want[i] as number));
    worst = Math.max(worst, off === 0 ? 0 : off / (terms[i] as number));
  }
  return worst;
}

describe("precision fast on matrix tiles", () => {
  const convolve: Body = (x, w) => conv2d(x as Tensor, w as Tensor, { padding: 1, stride: 2 });
  const cases: readonly (readonly [string, Body, readonly (readonly number[])[]])[] = [
    [
      "matmul",
      (a, b) => matmul(a as Tensor, b as Tensor),
      [
        [33, 70],
        [70, 40],
      ],
    ],
    [
      "transposed matmul",
      (a, b) => matmul(a as Tensor, b as Tensor, { transposeA: true, transposeB: true }),
      [
        [2, 70, 9],
        [2, 11, 70],
      ],
    ],
    ["matmul with a bias", (a, b, c) => matmul(a as Tensor, b as Tensor).add(c as Tensor), [[5, 40], [40, 7], [7]]],
    [
      "conv2d",
      convolve,
      [
        [2, 7, 8, 19],
        [21, 3, 3, 19],
      ],
    ],
    [
      "conv2dInputGrad",
      (x, w, y) => grad((v: Tensor) => sum(convolve(v, w as Tensor).mul(y as Tensor)))(x as Tensor),
      [
        [2, 7, 8, 19],
        [21, 3, 3, 19],
        [2, 4, 4, 21],
      ],
    ],
    [
      "conv2dWeightGrad",
      (x, w, y) => grad((v: Tensor) => sum(convolve(x as Tensor, v).mul(y as Tensor)))(w as Tensor),
      [
        [2, 7, 8, 19],
        [21, 3, 3, 19],
        [2, 4, 4, 21],
      ],
    ],
  ];
  it.each(cases)(
    "%s is off by at most 2⁻¹⁶ of the size of its terms, and by more than at highest",
    (_name, body, shapes) =>
      scope(() => {
        const inputs = shapes.map((shape) => random.normal(shape));
        const worst = worstOn(body, inputs, "fast");
        expect(worst).toBeLessThanOrEqual(unit);
        expect(worst).toBeGreaterThan(4 * worstOn(body, inputs, "highest"));
      }),
  );

  it.each([64, 256, 1152])("is off by less than 10⁻⁵ of the norm of sums of %d normal products", (depth) =>
    scope(() => {
      const [a, b] = [random.normal([32, depth]), random.normal([depth, 32])];
      const body: Body = (x, y) => matmul(x as Tensor, y as Tensor);
      const [got, want] = [onTiles(body, [a, b], "fast").dataSync(), body(wide(a), wide(b)).dataSync()];
      const norm = (values: number[]): number => Math.hypot(...values);
      const off = norm(Array.from(want, (y, i) => (got[i] as number) - y)) / norm([...want]);
      expect(off).toBeLessThan(1e-5);
    }),
  );

  it("is off by nearly 2⁻¹⁵ of factors whose lower parts are as large and rounded as far down as they can be", () =>
    scope(() => {
      // The lower part is just below the middle of 254·2⁻¹⁶ and 255·2⁻¹⁶, the two largest.
      const factor = 1 + 509 * 2 ** -17 - 2 ** -23;
      const matrix = (rows: number, columns: number): Tensor =>
        tensor(new Float32Array(rows * columns).fill(factor), { shape: [rows, columns] });
      const worst = worstOn((a, b) => matmul(a as Tensor, b as Tensor), [matrix(32, 64), matrix(64, 32)], "fast");
      expect(worst).toBeLessThanOrEqual(most);
      expect(worst).toBeGreaterThan(0.9 * most);
    }));

  it("is as exact for a convolution in groups", () =>
    scope(() => {
      const [x, w] = [random.normal([1, 6, 6, 8]), random.normal([6, 3, 3, 4])];
      const body: Body = (v, u) => conv2d(v as Tensor, u as Tensor, { groups: 2 });
      expect(worstOn(body, [x, w], "fast")).toBeLessThanOrEqual(unit);
    }));

  it("gives infinity and NaN where the exact product does", () =>
    scope(() => {
      const a = tensor([Number.POSITIVE_INFINITY, 1, Number.NaN, 1, 1, 2], { shape: [3, 2] });
      const body: Body = (x, y) => matmul(x as Tensor, y as Tensor);
      expect([...onTiles(body, [a, tensor([1, 2], { shape: [2, 1] })], "fast").dataSync()]).toEqual([
        Number.POSITIVE_INFINITY,
        Number.NaN,
        5,
      ]);
    }));

  it("leaves the factors of attention and f64 ones as they are", () =>
    scope(() => {
      const x = random.normal([1, 4, 4, 4]);
      expect(printGraph(graphOf((q) => attention(q as Tensor, q as Tensor, q as Tensor), [x]))).not.toContain("bf16");
      expect(printGraph(graphOf((a) => matmul(a as Tensor, a as Tensor), [wide(x)]))).not.toContain("bf16");
    }));
});

describe("precision fast without matrix tiles", () => {
  it("gives the bits of highest", () =>
    scope(() => {
      const [a, b] = [random.normal([9, 20]), random.normal([20, 5])];
      expect(printGraph(graphOf((x, y) => matmul(x as Tensor, y as Tensor), [a, b]))).not.toContain("bf16");
      const f = compile((x: Tensor, y: Tensor) => matmul(x, y), { precision: "fast" });
      // On a machine with tiles the two differ, within the bound.
      const bound = native().cpu().isa === "amx" ? unit : 0;
      const [fast, exact] = [f(a, b), matmul(a, b)].map((x) => x.dataSync()) as [Float32Array, Float32Array];
      const terms = matmul(abs(a), abs(b)).dataSync();
      fast.forEach((y, i) => {
        expect(Math.abs(y - (exact[i] as number))).toBeLessThanOrEqual(bound * (terms[i] as number));
      });
      f.dispose();
    }));

  it("takes f64 operands as they are", () =>
    scope(() => {
      const a = tensor([1 + 2 ** -40, 1], { shape: [1, 2], dtype: "f64" });
      const f = compile((x: Tensor) => matmul(x, x, { transposeB: true }), { precision: "fast" });
      expect([...f(a).dataSync()]).toEqual([...matmul(a, a, { transposeB: true }).dataSync()]);
      f.dispose();
    }));
});
