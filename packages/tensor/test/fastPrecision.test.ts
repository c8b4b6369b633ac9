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
import { withPrecision } from "#core/precision";
import { Trace } from "#core/trace";
import { leavesOf } from "#core/tree";
import type { Aval, Graph } from "#ir/graph";
import { printGraph } from "#ir/print";
import { passes } from "#passes/index";
import { mixPrecision } from "#passes/precision";
import { loadGraph, releaseProgram, runProgram } from "#runtime/program";

/** What dropping the product of the lower parts, and their rounding, may cost, of the sum of the terms' sizes. */
const unit = 2 ** -16;

const random = rng(31);
afterAll(() => {
  random.dispose();
  assertNoLeaks();
});

type Body = (...inputs: readonly Tensor[]) => Tensor;

/** The graph of a function at precision "fast", after the passes of a machine with matrix tiles or without. */
function graphOf(body: Body, inputs: readonly Tensor[], tiles: boolean): Graph {
  const trace = new Trace();
  const args = inputs.map(({ shape, dtype }) => trace.argument({ shape, dtype }));
  const { graph } = trace.run(() => withPrecision("fast", () => body(...args)), leavesOf);
  return passes.reduce(
    (current, [name, pass]) => (name === "precision" ? mixPrecision(current, () => tiles) : pass(current)),
    graph,
  );
}

/** What the function gives on tiles. */
function onTiles(body: Body, inputs: readonly Tensor[]): Tensor {
  const graph = graphOf(body, inputs, true);
  const program = loadGraph(graph, "fast", "emulated-bf16");
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
function worstOn(body: Body, inputs: readonly Tensor[]): number {
  const got = onTiles(body, inputs).dataSync();
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
    "%s is off by at most 2⁻¹⁶ of the size of its terms, and by far less than bf16",
    (_name, body, shapes) =>
      scope(() => {
        const worst = worstOn(
          body,
          shapes.map((shape) => random.normal(shape)),
        );
        expect(worst).toBeLessThanOrEqual(unit);
        expect(worst).toBeGreaterThan(0);
      }),
  );

  it("splits each factor into two bf16 parts and multiplies three of the four", () =>
    scope(() => {
      const [a, b] = [random.normal([2, 4]), random.normal([4, 3])];
      const text = printGraph(graphOf((x, y) => matmul(x as Tensor, y as Tensor), [a, b], true));
      expect(text).toMatch(/bf16\[2,12\] = concat/);
      expect(text).toMatch(/bf16\[12,3\] = concat/);
      expect(text.match(/matmul/g)).toHaveLength(1);
    }));

  it("needs one part of a factor that is stored as bf16", () =>
    scope(() => {
      const [a, b] = [random.normal([2, 4]), random.normal([4, 3]).cast("bf16")];
      const body: Body = (x, y) => matmul(x as Tensor, (y as Tensor).cast((x as Tensor).dtype));
      const text = printGraph(graphOf(body, [a, b], true));
      expect(text).toMatch(/bf16\[2,8\] = concat/);
      expect(text).toMatch(/bf16\[8,3\] = concat\(%a1, %a1\)/);
      expect(worstOn(body, [a, b])).toBeLessThanOrEqual(unit);
    }));

  it("leaves attention, convolutions in groups and f64 as they are", () =>
    scope(() => {
      const x = random.normal([1, 4, 4, 4]);
      const w = random.normal([4, 3, 3, 2]);
      expect(printGraph(graphOf((q) => attention(q as Tensor, q as Tensor, q as Tensor), [x], true))).not.toContain(
        "bf16",
      );
      const grouped = graphOf((v, u) => conv2d(v as Tensor, u as Tensor, { groups: 2 }), [x, w], true);
      expect(printGraph(grouped)).not.toContain("bf16");
      expect(printGraph(graphOf((a) => matmul(a as Tensor, a as Tensor), [wide(x)], true))).not.toContain("bf16");
    }));
});

describe("precision fast without matrix tiles", () => {
  it("gives the graph and the bits of highest", () =>
    scope(() => {
      const [a, b] = [random.normal([9, 20]), random.normal([20, 5])];
      expect(printGraph(graphOf((x, y) => matmul(x as Tensor, y as Tensor), [a, b], false))).not.toContain("bf16");
      const f = compile((x: Tensor, y: Tensor) => matmul(x, y), { precision: "fast" });
      // On a machine with tiles the two differ, within the bound.
      const [fast, exact] = [f(a, b), matmul(a, b)].map((x) => x.dataSync()) as [Float32Array, Float32Array];
      const terms = matmul(abs(a), abs(b)).dataSync();
      fast.forEach((y, i) => {
        expect(Math.abs(y - (exact[i] as number))).toBeLessThanOrEqual(unit * (terms[i] as number));
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
