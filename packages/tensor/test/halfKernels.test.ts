// Kernels that take 16-bit factors as they are: sums are as exact as those of f32 factors, in every mix of formats, on
// every variant, and results are rounded once. Attention on matrix tiles rounds its weights to bf16 besides.

import { loadBinding } from "@figment/native";
import {
  abs,
  assertNoLeaks,
  type DType,
  exp,
  type HalfType,
  matmul,
  scope,
  select,
  sum,
  Tensor,
  transpose,
} from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fromBf16, fromF16, toBf16, toF16 } from "#dtype";
import { type Aval, GraphBuilder } from "#ir/graph";
import { type AttentionAttrs, visibility } from "#ops/attention";
import { definedOps, type OpDef, type Sample } from "#ops/definition";
import { loadGraph, releaseProgram, runProgram } from "#runtime/program";

import { Draws } from "./support/draws.ts";
import {
  bilinearUnits,
  bytesOf,
  distance,
  epsilon,
  expectedAt,
  kernelOf,
  termsOf,
  variantsDuring,
} from "./support/parity.ts";
import { drawPoint, type Point, tensorsAt, titleOf } from "./support/points.ts";

const seed = 4343;
/** Error relative to the largest element where sums pass through a softmax. */
const fusedTolerance = 2e-5;
/** What kernels of bf16 factors may be off, relative to the norm. */
const normTolerance = 1e-2;
/** The most that rounding moves a number, relative to its size, and `least` among the denormals of f16. */
const rounding = { bf16: 2 ** -8, f16: 2 ** -11, f32: 0 } as const;
const least = 2 ** -24;
const threadCounts = [1, 2, 5];
/**
 * Without it kernels meet a third of the mixes at each sample, in turn, and those on emulated tiles, which are slow, one of
 * six, and other threads at every third sample.
 */
const thorough = process.env.FIGMENT_TEST_ALL === "1";

/** A number near x that every format holds. */
const representable = (x: number): number => fromF16(toF16(fromBf16(toBf16(x))));

interface Mix {
  /** Formats of the factors, in turn, and of the results. */
  readonly factors: readonly DType[];
  readonly result: "f32" | HalfType;
}

const mixes: readonly Mix[] = [
  { factors: ["bf16", "bf16"], result: "bf16" },
  { factors: ["bf16", "bf16"], result: "f32" },
  { factors: ["f16", "f16"], result: "f16" },
  { factors: ["f32", "bf16"], result: "f32" },
  { factors: ["bf16", "f32"], result: "bf16" },
  { factors: ["f32", "f16"], result: "bf16" },
];

/** A mix that a kernel takes: those that split factors leave pairs of bf16 to others. */
const mixOf = (variant: string): Mix =>
  mixes.find(({ factors }) => !variant.includes("-split") || factors.includes("f32")) as Mix;

const binding = loadBinding();
const products = definedOps().filter((def) => def.factors);
const variantsOf = (def: OpDef): string[] =>
  binding.variants(kernelOf(def, (def.samples?.() ?? [])[0] as Sample) as string).map(({ name }) => name);
const samplesOf = (def: OpDef) => (def.samples?.() ?? []).map((sample, i) => [titleOf(sample), sample, i] as const);

console.info(`16-bit factors: seed ${seed}`);
beforeAll(() => binding.setPoison(true));
afterAll(() => {
  binding.setPoison(false);
  assertNoLeaks();
});

/** The format of input `i` in a mix; residuals and biases have that of the results, statistics are f32, lengths i32. */
function inputType(def: OpDef, sample: Sample, i: number, { factors, result }: Mix): DType {
  const own = sample.inputs[i]?.dtype;
  if (own) return own;
  const at = def.factors?.indexOf(i) ?? -1;
  if (at >= 0) return factors[at % factors.length] as DType;
  return def.hints?.includes(i) && sample.inputs[i]?.shape.length === 3 ? "f32" : result;
}

/** Runs a variant on operands of any mix of formats, which no shape rule would let users mix. */
function run(def: OpDef, sample: Sample, inputs: readonly Tensor[], mix: Mix, variant: string): Tensor[] {
  const builder = new GraphBuilder();
  const outputs: Aval[] = def
    .infer(
      inputs.map(({ shape }, i) => ({ shape, dtype: sample.inputs[i]?.dtype ?? "f32" })),
      sample.attrs,
    )
    .map(({ shape }, k) => ({ shape, dtype: def.name === "attention" && k === 1 ? "f32" : mix.result }));
  const values = inputs.map((x) => builder.arg(x));
  const node = builder.node(def, values, { ...sample.attrs, result: mix.result }, outputs, "");
  const program = loadGraph(builder.finish(node.outputs), def.name, variant);
  try {
    const storages = inputs.map((x) => x.storage(def.name));
    return runProgram(program, 0, storages).map(
      (storage, k) => new Tensor((outputs[k] as Aval).shape, (outputs[k] as Aval).dtype, { storage }),
    );
  } finally {
    releaseProgram(program);
  }
}

/** A point whose numbers every format holds. */
const pointOf = (sample: Sample, i: number): Point =>
  drawPoint(sample, new Draws(seed + i)).map((x) => x?.map(representable) ?? null);

/** The operands at a point, each in its format; residuals from f64. */
function operandsAt(def: OpDef, sample: Sample, point: Point, mix: Mix): Tensor[] {
  return tensorsAt(sample, point, "f64").map((x, k) => x.cast(inputType(def, sample, k, mix)));
}

/** What a sample should give, and the size of each sum's terms where the op is linear in each factor. */
interface Specification {
  readonly point: Point;
  readonly expected: readonly ArrayLike<number>[];
  readonly terms: ReturnType<typeof termsOf> | null;
  /** The size of the terms of attention's last products, whose factors kernels on matrix tiles round to bf16. */
  readonly rounded: readonly (ArrayLike<number> | undefined)[];
  readonly largest: number;
}

/** Σ |ds||k|, Σ |ds||q| and Σ p|dout|, the sizes of the terms of attention's gradient. */
function gradientTerms(sample: Sample, point: Point): ArrayLike<number>[] {
  const { scale, causal } = sample.attrs as unknown as AttentionAttrs;
  const inputs = tensorsAt(sample, point, "f64");
  const lse = inputs[4] as Tensor;
  const swapHeads = (x: Tensor): Tensor => transpose(x, [0, 2, 1, 3]);
  const [q, k, v, out, dout] = [0, 1, 2, 3, 5].map((i) => swapHeads(inputs[i] as Tensor)) as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ];
  const visible = visibility(q.dim(2), k.dim(2), causal, inputs[6]);
  const all = exp(
    matmul(q, k, { transposeB: true })
      .mul(scale)
      .sub(lse.reshape([...lse.shape, 1])),
  );
  const weights = visible ? select(visible, all, 0) : all;
  const change = matmul(dout, v, { transposeB: true }).sub(sum(out.mul(dout), -1, { keepDims: true }));
  const slopes = abs(weights.mul(change)).mul(scale);
  return [
    matmul(slopes, abs(k)),
    matmul(slopes, abs(q), { transposeA: true }),
    matmul(weights, abs(dout), { transposeA: true }),
  ].map((x) => swapHeads(x).dataSync());
}

/** What a kernel may be off for rounding factors between its products, without the factor of one rounding. */
function roundedTerms(def: OpDef, sample: Sample, point: Point): readonly (ArrayLike<number> | undefined)[] {
  if (def.name === "attentionGrad") return gradientTerms(sample, point);
  if (def.name !== "attention") return [];
  return expectedAt(
    def,
    sample,
    point.map((x, i) => (i === 2 ? (x?.map(Math.abs) ?? null) : x)),
  ).slice(0, 1);
}

function specify(def: OpDef, sample: Sample, i: number): Specification {
  const point = pointOf(sample, i);
  const expected = expectedAt(def, sample, point);
  const { activation = "none" } = sample.attrs as { activation?: string };
  const linear = !def.name.startsWith("attention") && activation === "none";
  let largest = 0;
  for (const list of expected)
    for (let e = 0; e < list.length; e++)
      if (Number.isFinite(list[e])) largest = Math.max(largest, Math.abs(list[e] as number));
  const terms = linear ? termsOf(def, sample, point) : null;
  return { point, expected, terms, rounded: roundedTerms(def, sample, point), largest };
}

function check(
  def: OpDef,
  sample: Sample,
  { point, expected, terms, rounded, largest }: Specification,
  mix: Mix,
  variant: string,
): void {
  // The gradient of attention is told its result, which a 16-bit format rounds: all its sums feel that.
  const residual = def.name === "attentionGrad" ? 4 * rounding[mix.result] : 0;
  const sizes = terms?.(variant);
  let results: Tensor[] = [];
  const runIt = (): void => {
    results = run(def, sample, operandsAt(def, sample, point, mix), mix, variant);
  };
  // Where the kernel does not take the mix another does, which may be one on tiles: that matters where those round.
  const ran = rounded.length > 0 ? variantsDuring(runIt) : [variant];
  if (rounded.length === 0) runIt();
  const tiles = ran.some((kernel) => kernel.endsWith("-bf16"));
  results.forEach((y, k) => {
    const [data, want] = [y.dataSync(), expected[k] as ArrayLike<number>];
    let worst = 0;
    for (let e = 0; e < want.length; e++) {
      const exact = sizes
        ? bilinearUnits(variant) * epsilon * (sizes[k]?.[e] as number)
        : (fusedTolerance + residual) * largest;
      const sums = exact + (tiles ? rounding.bf16 * (rounded[k]?.[e] ?? 0) : 0);
      const stored = y.dtype === "f32" ? 0 : rounding[mix.result] * (Math.abs(want[e] as number) + sums) + least;
      const off = Object.is(data[e], want[e]) ? 0 : Math.abs((data[e] as number) - (want[e] as number));
      worst = Math.max(worst, off === 0 ? 0 : Number.isNaN(off) ? Number.POSITIVE_INFINITY : off / (sums + stored));
    }
    expect(worst, `output ${k} of ${variant}: worst element, in units of its bound`).toBeLessThanOrEqual(1);
    if (!tiles) return;
    const off = distance(data, want, () => 1);
    expect(off.relative, `output ${k} of ${variant}: error relative to the norm`).toBeLessThanOrEqual(normTolerance);
  });
}

describe.each(products.map((def) => [def.name, def] as const))("%s", (_name, def) => {
  it.each(samplesOf(def))(
    "sums in f32 and rounds once, in every mix of formats and on every kernel, at %s",
    (_title, sample, i) => {
      const specification = scope(() => specify(def, sample, i));
      for (const [m, mix] of mixes.entries()) {
        for (const variant of variantsOf(def)) {
          if (!thorough && (m + i) % (variant.startsWith("emulated") ? 6 : 3) !== 0) continue;
          try {
            scope(() => check(def, sample, specification, mix, variant));
          } catch (error) {
            throw new Error(`${mix.factors.join("×")}→${mix.result}`, { cause: error });
          }
        }
      }
    },
  );

  it.each(variantsOf(def))(
    "runs the kernel %s for at least one sample, with the same bits on any number of threads",
    (variant) => {
      const own = binding.threads();
      const mix = mixOf(variant);
      const ran = new Set<string>();
      try {
        for (const [title, sample, i] of samplesOf(def)) {
          if (!thorough && ran.has(variant) && i % 3 !== 0) continue;
          const runs = threadCounts.map((threads) => {
            binding.setThreads(threads);
            return scope(() => {
              const inputs = operandsAt(def, sample, pointOf(sample, i), mix);
              let results: Tensor[] = [];
              for (const kernel of variantsDuring(() => {
                results = run(def, sample, inputs, mix, variant);
              }))
                ran.add(kernel);
              return Buffer.concat(results.map((y) => bytesOf(y.dataSync())));
            });
          });
          const same = runs.every((other) => other.equals(runs[0] as Buffer));
          expect(same, title).toBe(true);
        }
      } finally {
        binding.setThreads(own);
      }
      expect([...ran]).toContain(variant);
    },
  );
});
