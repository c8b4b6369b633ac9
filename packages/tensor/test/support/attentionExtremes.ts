// What attention promises of numbers that are not finite and of scores that are large, as tests of whatever kernels.

import { loadBinding } from "@figment/native";
import { type Rng, rng, scope, type Tensor, tensor } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { type AttentionAttrs, attentionDef, attentionGradDef } from "#ops/attention";
import type { OpDef } from "#ops/definition";
import { runNode } from "#runtime/eager";

export type Format = "f32" | "bf16" | "f16" | "f64";

export const list = (x: Tensor): number[] => [...x.cast("f64").dataSync()];

/** The error relative to the norm of what is expected. */
export function errorOf(given: readonly number[], expected: readonly number[]): number {
  return Math.hypot(...given.map((x, i) => x - (expected[i] as number))) / Math.hypot(...expected);
}

/** Queries, keys, values and cotangents [1, s, h, d], as many as there are sizes of their numbers, as a format holds them. */
export function drawOperands(
  random: Rng,
  format: Format,
  [sq, sk, h, d]: readonly [sq: number, sk: number, h: number, d: number],
  sizes: readonly number[],
): Tensor[] {
  return sizes.map((size, i) =>
    random
      .normal([1, i % 3 === 0 ? sq : sk, h, d])
      .mul(size)
      .cast(format),
  );
}

/** Where kernels are tried. */
export interface Bench {
  readonly kernels: readonly string[];
  /** Formats that a kernel takes. */
  readonly formats: (kernel: string) => readonly Format[];
  /** Results of an op on a kernel, with operands that were made on the CPU. */
  readonly run: (
    def: OpDef<AttentionAttrs>,
    inputs: readonly Tensor[],
    attrs: AttentionAttrs,
    variant: string,
  ) => readonly (readonly number[])[];
  /** Of the problems with a number that is not finite one in so many is tried, of the sizes of scores one in half as many. */
  readonly sparse: number;
}

const onCpu: Bench["run"] = (def, inputs, attrs, variant) =>
  runNode(def as OpDef, [...inputs], attrs, { variant }).map(list);

/** Kernels of the CPU. */
export function benchOfCpu(): Bench {
  const binding = loadBinding();
  const names = [...binding.variants("attention"), ...binding.variants("attentionGrad")].map(({ name }) => name);
  const kernels = [...new Set(names)].filter((name) => !name.endsWith("-decode"));
  return { kernels, formats: () => ["f32", "bf16"], run: onCpu, sparse: 2 };
}

/** out, dq, dk and dv, the derivative from what the reference gives of out and lse. */
function resultsOf(
  run: Bench["run"],
  problem: readonly Tensor[],
  attrs: AttentionAttrs,
  variant: string,
  lengths: readonly Tensor[] = [],
): (readonly number[])[] {
  const [q, k, v, dout] = problem as readonly [Tensor, Tensor, Tensor, Tensor];
  const given = runNode(attentionDef, [...[q, k, v].map((x) => x.cast("f64")), ...lengths], attrs);
  const residuals = [given[0]?.cast(q.dtype), given[1]?.cast(q.dtype === "f64" ? "f64" : "f32")] as Tensor[];
  const [out] = run(attentionDef, [q, k, v, ...lengths], attrs, variant);
  return [
    out as readonly number[],
    ...run(attentionGradDef, [q, k, v, ...residuals, dout, ...lengths], attrs, variant),
  ];
}
const exact = (problem: readonly Tensor[], attrs: AttentionAttrs, lengths?: readonly Tensor[]): (readonly number[])[] =>
  resultsOf(
    onCpu,
    problem.map((x) => x.cast("f64")),
    attrs,
    "reference",
    lengths,
  );

const spoiled = (x: Tensor, place: number, value: number): Tensor => {
  const data = list(x);
  data[Math.floor(data.length * place)] = value;
  return tensor(data, { shape: x.shape, dtype: "f64" }).cast(x.dtype as Format);
};

/** sq, sk, h and d. */
const shapes = [
  [4, 4, 1, 2],
  [70, 70, 1, 40],
  [40, 100, 1, 32],
  [3, 200, 1, 160],
] as const;
/** Whether in causal order, which share of the keys counts, and which operands have the number at which share of positions. */
const sights = [
  { causal: true, counting: undefined, place: 0.99, spoiled: [0, 1, 2, 3] },
  { causal: true, counting: 1, place: 0.6, spoiled: [0, 1, 2, 3] },
  { causal: false, counting: 0.5, place: 0.6, spoiled: [1, 2] },
  { causal: true, counting: 0.75, place: 0.6, spoiled: [0, 1, 2, 3] },
] as const;
const values = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN];
const closeness: Record<Format, number> = { f64: 1e-12, f32: 1e-5, f16: 4e-3, bf16: 2e-2 };

/** Declares that what is not finite keeps to those that see it. */
export function testNotFinite({ kernels, formats, run, sparse }: Bench): void {
  /** What is finite must be, and be right; the rest must not be finite. */
  function compare(
    kernel: string,
    format: Format,
    problem: readonly Tensor[],
    attrs: AttentionAttrs,
    lengths: readonly Tensor[],
    title: string,
  ): void {
    const expected = exact(problem, attrs, lengths);
    resultsOf(run, problem, attrs, kernel, lengths).forEach((result, i) => {
      const what = `${format} ${title}: ${i}`;
      const wanted = expected[i] as readonly number[];
      const finite = wanted.map(Number.isFinite);
      expect(result.map(Number.isFinite), what).toEqual(finite);
      // Of terms of about 1, however little is left of them.
      const bound = closeness[format] * (1 + Math.max(0, ...wanted.filter(Number.isFinite).map(Math.abs)));
      const off = result.map((x, at) => (finite[at] ? Math.abs(x - (wanted[at] as number)) : 0));
      expect(Math.max(...off), what).toBeLessThan(bound);
    });
  }
  describe("a number that is not finite", () => {
    const random = rng(1123);
    afterAll(() => random.dispose());
    const problems = shapes.flatMap((shape) =>
      sights.flatMap((sight) => sight.spoiled.map((which) => ({ shape, ...sight, which }))),
    );
    const cases = kernels.flatMap((kernel) => formats(kernel).map((format, turn) => [kernel, format, turn] as const));
    it.each(cases)(
      "reaches no query that does not see it, nor what derives from such queries: %s, %s",
      (kernel, format, turn) => {
        problems.forEach(({ shape, causal, counting, place, which }, i) => {
          if (i % sparse !== turn % sparse) return;
          const value = values[i % values.length] as number;
          scope(() => {
            const problem = drawOperands(random, format, shape, [1, 1, 1, 1]).map((x, i) =>
              i === which ? spoiled(x, place, value) : x,
            );
            const lengths = counting === undefined ? [] : [tensor([Math.ceil(shape[1] * counting)], { dtype: "i32" })];
            const attrs = { causal, scale: 0.2 };
            compare(kernel, format, problem, attrs, lengths, `${shape} ${causal} ${counting} ${value} in ${which}`);
          });
        });
      },
    );

    it.each(cases)("makes no key's derivatives NaN by one query that does not see it: %s, %s", (kernel, format) => {
      // A key is infinite: the first query that sees it has a score of +Inf, and NaN as weights; later ones have scores of
      // -Inf, and weights that are finite. So only the former's keys have derivatives of NaN.
      for (const shape of shapes)
        scope(() => {
          const [sq, sk, h, d] = shape;
          const [q, ...others] = drawOperands(random, format, shape, [1, 1, 1, 1]) as [Tensor, Tensor, Tensor, Tensor];
          const first = Math.floor(sq / 3);
          const signed = list(q).map((x, i) => (i % (h * d) === 0 ? (i / (h * d) === first ? 1 : -1) : x));
          const seen = first + sk - sq;
          const keys = spoiled(others[0], (seen * h * d) / (sk * h * d), Number.POSITIVE_INFINITY);
          const problem = [tensor(signed, { shape: q.shape, dtype: "f64" }).cast(format), keys, others[1], others[2]];
          compare(kernel, format, problem as Tensor[], { causal: true, scale: 0.2 }, [], `${shape}`);
        });
    });
  });
}

/** Declares that weights of large scores add up to 1. */
export function testLargeScores({ kernels, formats, run, sparse }: Bench): void {
  const step = Math.ceil(sparse / 2);
  const some = (sizes: readonly number[]) => sizes.filter((_, i) => (sizes.length - 1 - i) % step === 0);
  describe("large scores", () => {
    const random = rng(1124);
    afterAll(() => random.dispose());
    it.each(kernels)("of one key give it the weight 1: %s", (kernel) => {
      for (const format of formats(kernel))
        for (const size of some([1, 4, 10, 100, 1000, 1e6]))
          scope(() => {
            const held = format === "f16" ? Math.min(size, 1e4) : size;
            const problem = drawOperands(random, format, [40, 1, 2, 64], [held, held, 1, 1]);
            const attrs = { causal: false, scale: 0.125 };
            const [given, expected] = [resultsOf(run, problem, attrs, kernel), exact(problem, attrs)];
            for (const i of [0, 3])
              expect(errorOf(given[i] as number[], expected[i] as number[]), `${format} ${size}: ${i}`).toBeLessThan(
                { f64: 1e-12, f32: 1e-5, f16: 2 ** -10, bf16: 2 ** -8 }[format],
              );
          });
    });

    it.each(kernels)("of one key give it the weight 1 beside hidden queries that are not finite: %s", (kernel) => {
      // In causal order the last query alone sees the one key that counts.
      for (const format of formats(kernel))
        for (const size of some([10, 1000, 1e6]))
          scope(() => {
            const held = format === "f16" ? Math.min(size, 1e4) : size;
            const problem = drawOperands(random, format, [40, 40, 1, 64], [held, held, 1, 1]);
            const lengths = [tensor([1], { dtype: "i32" })];
            const hiding = problem.map((x, i) => (i === 3 ? spoiled(x, 0, Number.NaN) : x));
            const attrs = { causal: true, scale: 0.125 };
            const given = resultsOf(run, hiding, attrs, kernel, lengths)[3] as readonly number[];
            const expected = exact(problem, attrs, lengths)[3] as readonly number[];
            expect(errorOf(given, expected), `${format} ${size}`).toBeLessThan(
              { f64: 1e-12, f32: 1e-5, f16: 2 ** -10, bf16: 2 ** -8 }[format],
            );
          });
    });

    it.each(kernels)("beside a hidden number that is not finite give weights as exact: %s", (kernel) => {
      // Queries see few keys, so that one weight is 1 and out and dv have few terms.
      for (const format of formats(kernel))
        for (const size of some([4, 30, 100]))
          scope(() => {
            const sizes = [size, size, 1, 1];
            const problem = drawOperands(random, format, [70, 70, 1, 40], sizes).map((x, i) =>
              i === 2 ? spoiled(x, 0.99, Number.NaN) : x,
            );
            const attrs = { causal: true, scale: 0.2 };
            const expected = exact(problem, attrs);
            const given = resultsOf(run, problem, attrs, kernel);
            for (const i of [0, 3]) {
              const wanted = expected[i] as readonly number[];
              const seen = wanted.flatMap((x, at) => (Number.isFinite(x) ? [at] : []));
              const of = (list: readonly number[]) => seen.map((at) => list[at] as number);
              const tolerance = closeness[format] + 8 * size * size * (format === "f64" ? 2 ** -52 : 2 ** -23);
              expect(errorOf(of(given[i] as readonly number[]), of(wanted)), `${format} ${size}: ${i}`).toBeLessThan(
                tolerance,
              );
            }
          });
    });

    it.each(kernels.filter((kernel) => formats(kernel).some((format) => format !== "f64")))(
      "give derivatives that err as scores are rounded: %s",
      (kernel) => {
        // Scores of random numbers are about 8 size² at most. Of far larger ones all weights are 0 or 1, and what is
        // exact of dq and dk is nothing beside what weights are rounded to.
        for (const format of formats(kernel).filter((format) => format !== "f64"))
          for (const [size, causal] of some([1, 2, 4, 10, 30, 100]).flatMap(
            (size) =>
              [
                [size, false],
                [size, true],
              ] as const,
          ))
            scope(() => {
              const problem = drawOperands(random, format, [70, 130, 1, 64], [size, size, 1, 1]);
              const attrs = { causal, scale: 0.125 };
              const expected = exact(problem, attrs);
              const tolerance = (format === "f32" ? 2e-6 : closeness[format]) + 8 * size * size * 2 ** -23;
              resultsOf(run, problem, attrs, kernel).forEach((given, i) => {
                if (size > (format === "f32" ? 10 : 2) && (i === 1 || i === 2)) return;
                expect(errorOf(given, expected[i] as number[]), `${format} ${size}, ${causal}: ${i}`).toBeLessThan(
                  tolerance,
                );
              });
            });
      },
    );
  });
}
