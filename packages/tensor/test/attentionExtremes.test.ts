// Attention of numbers that are not finite and of scores that are large, on every kernel that the machine can run.

import { loadBinding } from "@figment/native";
import { assertNoLeaks, rng, scope, type Tensor, tensor } from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type AttentionAttrs, attentionDef, attentionGradDef } from "#ops/attention";
import { runNode } from "#runtime/eager";

const binding = loadBinding();
const random = rng(1123);
beforeAll(() => binding.setPoison(true));
afterAll(() => {
  binding.setPoison(false);
  random.dispose();
  assertNoLeaks();
});

const list = (x: Tensor): number[] => [...x.cast("f64").dataSync()];

/** Numbers [1, s, h, d] of queries, keys, values and cotangents, as a format holds them. */
type Problem = readonly Tensor[];
type Format = "f32" | "bf16" | "f64";

function draw(format: Format, [sq, sk, h, d]: readonly number[], sizes: readonly number[]): Problem {
  return [sq, sk, sk, sq].map((s, i) =>
    random
      .normal([1, s as number, h as number, d as number])
      .mul(sizes[i] as number)
      .cast(format),
  );
}

/** out, dq, dk and dv by a kernel, the derivative from what the reference gave of out and lse. */
function resultsOf(problem: Problem, attrs: AttentionAttrs, variant: string, lengths: readonly Tensor[]): number[][] {
  const [q, k, v, dout] = problem as readonly [Tensor, Tensor, Tensor, Tensor];
  const [out] = runNode(attentionDef, [q, k, v, ...lengths], attrs, { variant });
  const given = runNode(attentionDef, [...[q, k, v].map((x) => x.cast("f64")), ...lengths], attrs);
  const residuals = [given[0]?.cast(q.dtype), given[1]?.cast(q.dtype === "f64" ? "f64" : "f32")] as Tensor[];
  const grads = runNode(attentionGradDef, [q, k, v, ...residuals, dout, ...lengths], attrs, { variant });
  return [out as Tensor, ...grads].map(list);
}

const names = new Set([...binding.variants("attention"), ...binding.variants("attentionGrad")].map(({ name }) => name));
const kernels = [...names].filter((name) => !name.endsWith("-decode"));
const exact = (problem: Problem, attrs: AttentionAttrs, lengths: readonly Tensor[] = []): number[][] =>
  resultsOf(
    problem.map((x) => x.cast("f64")),
    attrs,
    "reference",
    lengths,
  );

describe("a number that is not finite", () => {
  const spoiled = (x: Tensor, at: number, value: number): Tensor => {
    const data = list(x);
    data[at % data.length] = value;
    return tensor(data, { shape: x.shape, dtype: "f64" }).cast(x.dtype as Format);
  };
  it.each(kernels)("reaches no query that does not see it, nor what derives from such queries: %s", (kernel) => {
    for (const format of ["f32", "bf16"] as const)
      for (const shape of [
        [4, 4, 1, 2],
        [70, 70, 2, 40],
        [40, 100, 1, 32],
      ])
        for (const value of [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN])
          for (const which of [0, 1, 2, 3])
            for (const place of [0.6, 0.99])
              scope(() => {
                const problem = draw(format, shape, [1, 1, 1, 1]).map((x, i) =>
                  i === which ? spoiled(x, Math.floor(x.size * place), value) : x,
                );
                const lengths = place < 0.9 ? [tensor([shape[1] as number], { dtype: "i32" })] : [];
                const attrs = { causal: true, scale: 0.2 };
                const expected = exact(problem, attrs, lengths);
                resultsOf(problem, attrs, kernel, lengths).forEach((result, i) => {
                  const finite = (expected[i] as number[]).map(Number.isFinite);
                  expect(result.map(Number.isFinite), `${format} ${shape} ${value} in ${which}: ${i}`).toEqual(finite);
                });
              });
  });
});

describe("large scores", () => {
  const errorOf = (given: readonly number[], expected: readonly number[]): number =>
    Math.hypot(...given.map((x, i) => x - (expected[i] as number))) / Math.hypot(...expected);

  it.each(kernels)("of one key give it the weight 1: %s", (kernel) =>
    scope(() => {
      for (const [format, tolerance] of [
        ["f32", 1e-5],
        ["bf16", 2 ** -8],
      ] as const)
        for (const size of [1, 4, 10, 100, 1000, 1e6]) {
          const problem = draw(format, [40, 1, 2, 64], [size, size, 1, 1]);
          const attrs = { causal: false, scale: 0.125 };
          const [values, expected] = [resultsOf(problem, attrs, kernel, []), exact(problem, attrs)].map((x) => x[3]);
          expect(errorOf(values as number[], expected as number[]), `${format} ${size}`).toBeLessThan(tolerance);
        }
    }),
  );

  it.each(kernels)("give derivatives that err as scores are rounded: %s", (kernel) => {
    // Scores of random numbers are about 8 size² at most. Of far larger ones all weights are 0 or 1, and what is exact
    // of dq and dk is nothing beside what weights are rounded to.
    for (const size of [1, 2, 4, 10, 30, 100])
      for (const causal of [false, true])
        scope(() => {
          const problem = draw("f32", [70, 130, 1, 64], [size, size, 1, 1]);
          const attrs = { causal, scale: 0.125 };
          const expected = exact(problem, attrs);
          const tolerance = 2e-6 + 8 * size * size * 2 ** -23;
          resultsOf(problem, attrs, kernel, []).forEach((given, i) => {
            if (size > 10 && (i === 1 || i === 2)) return;
            expect(errorOf(given, expected[i] as number[]), `${size}, ${causal}: ${i}`).toBeLessThan(tolerance);
          });
        });
  });
});
