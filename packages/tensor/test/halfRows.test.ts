// Norms, softmax, its logarithm, cross entropy and their gradients read and write 16-bit tensors as
// they are: on every variant they compute in f32 and round once, and no cast stands around them.

import { loadBinding } from "@figment/native";
import {
  assertNoLeaks,
  compile,
  groupNorm,
  type HalfType,
  layerNorm,
  logSoftmax,
  rng,
  scope,
  softmax,
  type Tensor,
} from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fromBf16, fromF16, toBf16, toF16 } from "#dtype";
import { definedOps, type OpDef, type Sample } from "#ops/definition";
import { runNode } from "#runtime/eager";
import { Draws } from "./support/draws.ts";
import { expectedAt, kernelOf, variantsDuring } from "./support/parity.ts";
import { drawPoint, type Point, tensorsAt, titleOf } from "./support/points.ts";

const seed = 4444;
/** Error relative to the largest element before rounding: the bound of f32 kernels. */
const fusedTolerance = 2e-5;
/** The most that rounding moves a number, relative to its size, and `least` among the denormals of f16. */
const rounding = { bf16: 2 ** -8, f16: 2 ** -11 } as const;
const least = 2 ** -24;
const threadCounts = [1, 2, 5];

const names = ["softmax", "logSoftmax", "crossEntropy", "layerNorm", "rmsNorm", "groupNorm", "batchNorm"];
const ops = definedOps().filter(({ name }) => names.includes(name.replace(/Grad$/, "")));
const binding = loadBinding();
const samplesOf = (def: OpDef) => (def.samples?.() ?? []).map((sample, i) => [titleOf(sample), sample, i] as const);
const variantsOf = (def: OpDef): string[] =>
  binding.variants(kernelOf(def, (def.samples?.() ?? [])[0] as Sample) as string).map(({ name }) => name);

/** A number near x that both formats hold. */
const representable = (x: number): number => fromF16(toF16(fromBf16(toBf16(x))));
const pointOf = (sample: Sample, i: number): Point =>
  drawPoint(sample, new Draws(seed + i)).map((x, k) => (x && !sample.inputs[k]?.dtype ? x.map(representable) : x));

console.info(`rows in 16 bits: seed ${seed}`);
beforeAll(() => binding.setPoison(true));
afterAll(() => {
  binding.setPoison(false);
  assertNoLeaks();
});

function check(def: OpDef, sample: Sample, point: Point, dtype: HalfType, variant: string): void {
  const expected = expectedAt(def, sample, point);
  runNode(def, tensorsAt(sample, point, dtype), sample.attrs, { variant }).forEach((y, k) => {
    const [data, want] = [y.dataSync(), expected[k] as ArrayLike<number>];
    const stored = y.dtype === "f32" ? 0 : rounding[dtype];
    let largest = 0;
    for (let e = 0; e < want.length; e++) largest = Math.max(largest, Math.abs(want[e] as number));
    let worst = 0;
    for (let e = 0; e < want.length; e++) {
      const sums = fusedTolerance * largest;
      const off = Math.abs((data[e] as number) - (want[e] as number));
      const bound = sums + stored * (Math.abs(want[e] as number) + sums) + least;
      worst = Math.max(worst, Number.isNaN(off) ? Number.POSITIVE_INFINITY : off / bound);
    }
    expect(worst, `output ${k} of ${variant}: worst element, in units of its bound`).toBeLessThanOrEqual(1);
  });
}

describe.each(ops.map((def) => [def.name, def] as const))("%s", (_name, def) => {
  describe.each(variantsOf(def))("on the kernel %s", (variant) => {
    it.each(samplesOf(def))("computes in f32 and rounds once at %s", (_title, sample, i) => {
      const point = pointOf(sample, i);
      for (const dtype of ["bf16", "f16"] as const) scope(() => check(def, sample, point, dtype, variant));
    });

    it("takes bf16 without another record", () => {
      for (const [, sample, i] of samplesOf(def)) {
        scope(() => {
          const inputs = tensorsAt(sample, pointOf(sample, i), "bf16");
          expect(variantsDuring(() => runNode(def, inputs, sample.attrs, { variant }))).toEqual([variant]);
        });
      }
    });

    it("gives the same bits on any number of threads", () => {
      const own = binding.threads();
      try {
        for (const [title, sample, i] of samplesOf(def)) {
          const runs = threadCounts.map((threads) => {
            binding.setThreads(threads);
            return scope(() => {
              const inputs = tensorsAt(sample, pointOf(sample, i), "bf16");
              return runNode(def, inputs, sample.attrs, { variant }).map((y) => [...y.dataSync()]);
            });
          });
          for (const other of runs) expect(other, title).toEqual(runs[0]);
        }
      } finally {
        binding.setThreads(own);
      }
    });
  });
});

describe("explain()", () => {
  it("shows norms and softmax that read and write bf16, with f32 statistics and no casts", () =>
    scope(() => {
      const random = rng(3);
      const f = compile((x: Tensor, g: Tensor) =>
        logSoftmax(softmax(layerNorm(groupNorm(x, g, g, { groups: 2 }), g, g))),
      );
      f(random.normal([4, 8]).cast("bf16"), random.normal([8]).cast("bf16"));
      expect(f.explain()).toMatch(/layerNorm +\[4,8\].* bf16×3 → bf16 f32×2 /);
      expect(f.explain()).toMatch(/groupNorm +\[4,8\].* bf16×3 → bf16 f32×2 /);
      expect(f.explain()).toMatch(/softmax +\[4,8\].* bf16 /);
      expect(f.explain()).toMatch(/logSoftmax +\[4,8\].* bf16 /);
      expect(f.explain()).not.toContain("cast");
      f.dispose();
      random.dispose();
    }));
});
