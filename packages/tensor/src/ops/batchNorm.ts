// Batch normalisation (Ioffe & Szegedy 2015, algorithms 1 and 2) over channels-last values: in training with
// the statistics of the batch, which are results too, in evaluation with given ones.

import { apply } from "../core/apply.js";
import { composed, scope } from "../core/scope.js";
import type { Tensor } from "../core/tensor.js";
import { isTracing } from "../core/trace.js";
import { computeType } from "../dtype.js";
import { ShapeError } from "../errors.js";
import type { Aval, Node } from "../ir/graph.js";
import { type Shape, showShape, sizeOf } from "../shape.js";
import { activateChannels, channelActivations, type NormActivationAttrs } from "./activation.js";
import { epsOf, expectStatistics, followedBy, sampleLeaky, statisticsOf } from "./affineNorm.js";
import { add, mul, rsqrt, square, sub } from "./arithmetic.js";
import { checkTensor, expectCompute, expectCount, expectShape, firstInPlace, type StoreAttrs } from "./checks.js";
import { defineOp, type KernelCall, nativeSchema, type OpDef, type Sample } from "./definition.js";
import { gradientThrough } from "./fused.js";
import { mean } from "./reduce.js";

const batchFields = { rows: "i64", c: "i64", activation: "i32", slope: "f64", eps: "f64" } as const;
const batchNormSchema = nativeSchema("batchNorm", batchFields);
const batchNormGradSchema = nativeSchema("batchNormGrad", batchFields);

/** What is added to the variance, and what follows. */
export type BatchNormAttrs = StoreAttrs & NormActivationAttrs & { readonly eps: number };

/** Options of {@link batchNorm} and {@link batchNormWith}. */
export interface BatchNormOptions {
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
}

/** What {@link batchNorm} gives. */
export interface BatchNormResult {
  /** The normalised values, of x's shape. */
  readonly y: Tensor;
  /** Mean of each channel, [C]; no derivative flows through it. */
  readonly mean: Tensor;
  /** Biased variance of each channel, [C]; no derivative flows through it. */
  readonly variance: Tensor;
  /** Unbiased variance of each channel, [C], as running variances keep it; no derivative flows through it. */
  readonly unbiasedVariance: Tensor;
}

const channelsOf = (x: Shape): number => x.at(-1) as number;

/** Checks x and the vectors over its channels. */
function inferChannels(op: string, x: Aval, vectors: Readonly<Record<string, Aval>>): Aval {
  const dtype = expectCompute(op, { x, ...vectors });
  if (x.shape.length < 2) throw new ShapeError(`${op}: x must be [N, ..., C], got shape ${showShape(x.shape)}`);
  for (const [name, aval] of Object.entries(vectors)) expectShape(op, name, aval, [channelsOf(x.shape)]);
  return { shape: x.shape, dtype };
}

/** Both kernels have values of x's shape first and last or alone; all between are vectors of channels. */
const batchCall =
  (schema: KernelCall["schema"]) =>
  (node: Node, { eps, activation, slope }: BatchNormAttrs): KernelCall => {
    const { shape } = node.inputs[0] as Aval;
    const [rows, c] = [sizeOf(batchShape(node.inputs[0] as Aval)), channelsOf(shape)];
    const fold = (avals: readonly Aval[]) =>
      avals.map((aval, index) => ({ index, dims: aval.shape.length > 1 ? [rows, c] : [c] }));
    const params = { rows, c, activation: channelActivations.indexOf(activation), slope, eps };
    return { schema, params, inputs: fold(node.inputs), outputs: fold(node.outputs) };
  };

/** All extents but the last. */
const batchShape = (x: Aval): Shape => x.shape.slice(0, -1);

function decomposeBatch([x, gamma, beta]: readonly Tensor[], attrs: BatchNormAttrs): Tensor[] {
  const axes = batchShape(x as Tensor).map((_, axis) => axis);
  const centre = mean(x as Tensor, axes);
  const centred = sub(x as Tensor, centre);
  const variance = mean(square(centred), axes);
  const normal = mul(centred, rsqrt(add(variance, attrs.eps)));
  const affine = add(mul(normal, gamma as Tensor), beta as Tensor);
  const count = sizeOf(batchShape(x as Tensor));
  return [activateChannels(affine, attrs), centre, variance, mul(variance, count / Math.max(count - 1, 1))];
}

const cases: readonly (readonly [Shape, BatchNormAttrs])[] = [
  [[3, 1], { eps: 1e-5, ...followedBy("linear") }],
  [[5, 4], { eps: 1e-5, ...followedBy("linear") }],
  [[2, 3, 5, 3], { eps: 1e-3, ...followedBy("linear") }],
  [[3, 2, 4], { eps: 1e-5, ...followedBy("relu") }],
  [[7, 3], { eps: 1e-5, ...sampleLeaky }],
  [[2, 7, 17], { eps: 1e-5, ...followedBy("linear") }],
  [[4, 14, 14, 32], { eps: 1e-5, ...followedBy("relu") }],
  [[2, 61, 67, 3], { eps: 1e-5, ...followedBy("silu") }],
  [[1, 13, 11, 130], { eps: 1e-5, ...sampleLeaky }],
];

export const batchNormDef: OpDef<BatchNormAttrs> = defineOp({
  name: "batchNorm",
  effect: "pure",
  residuals: [1, 2, 3],
  infer: (inputs, { result }) => {
    expectCount("batchNorm", inputs, 3);
    const [x, gamma, beta] = inputs as readonly [Aval, Aval, Aval];
    const { shape, dtype } = inferChannels("batchNorm", x, { gamma, beta });
    const statistic = { shape: gamma.shape, dtype: computeType(dtype) };
    return [{ shape, dtype: result ?? dtype }, statistic, statistic, statistic];
  },
  vjp: ({ inputs, outputs, attrs, cotangent }) => {
    const [, centre, variance] = outputs as readonly [Tensor, Tensor, Tensor];
    return apply(batchNormGradDef, [...inputs, centre, variance, cotangent()], attrs);
  },
  decompose: decomposeBatch,
  lower: { kind: "kernel", halves: true, call: batchCall(batchNormSchema) },
  stores: true,
  inPlace: firstInPlace,
  samples: () =>
    cases.map(([shape, attrs]) => {
      const c = channelsOf(shape);
      return { inputs: [{ shape }, { shape: [c] }, { shape: [c] }], attrs };
    }),
});

export const batchNormGradDef: OpDef<BatchNormAttrs> = defineOp({
  name: "batchNormGrad",
  effect: "pure",
  hints: [3, 4],
  infer: (inputs, { result }) => {
    const op = "batchNormGrad";
    expectCount(op, inputs, 6);
    const [x, gamma, beta, centre, variance, dy] = inputs as readonly [Aval, Aval, Aval, Aval, Aval, Aval];
    const { dtype } = inferChannels(op, x, { gamma, beta });
    expectStatistics(op, { mean: centre, variance }, { shape: gamma.shape, dtype: computeType(dtype) });
    expectCompute(op, { x, dy });
    expectShape(op, "dy", dy, x.shape);
    return [x, gamma, beta].map(({ shape }, i) => ({ shape, dtype: i === 0 ? (result ?? dtype) : dtype }));
  },
  decompose: ([x, gamma, beta, , , dy], attrs) =>
    gradientThrough((primals) => decomposeBatch(primals, attrs).slice(0, 1), [x, gamma, beta] as Tensor[], [dy]),
  stores: true,
  lower: { kind: "kernel", halves: true, call: batchCall(batchNormGradSchema) },
  inPlace: () => [[0, 5]],
  samples: (): Sample<BatchNormAttrs>[] =>
    cases.map(([shape, attrs]) => {
      const c = channelsOf(shape);
      const residual = statisticsOf(batchNormDef, [c], attrs);
      return { inputs: [{ shape }, { shape: [c] }, { shape: [c] }, residual(1), residual(2), { shape }], attrs };
    }),
});

/**
 * Batch normalisation as in training: (x − mean) / √(variance + eps) · gamma + beta, with the mean and the biased
 * variance of each channel over all other axes (Ioffe & Szegedy 2015, algorithm 1). Derivatives of y flow through
 * the statistics that it was normalised with. Running variances are kept unbiased: variance · m / (m − 1) for m
 * values a channel (variance where there is one).
 *
 * @param x [N, ..., C], of a float type.
 * @param gamma [C].
 * @param beta [C].
 * @throws ShapeError when x has fewer than two dimensions or gamma and beta are not [C]; DTypeError for other types.
 * @example
 * const { y, mean: centre } = batchNorm(tensor([[1], [3]]), ones([1]), zeros([1]), { eps: 0 });
 * y.at(0); // -1
 * centre.at(0); // 2
 */
export function batchNorm(x: Tensor, gamma: Tensor, beta: Tensor, options: BatchNormOptions = {}): BatchNormResult {
  const op = "batchNorm";
  checkTensor(op, "x", x);
  checkTensor(op, "gamma", gamma);
  checkTensor(op, "beta", beta);
  const eps = epsOf(op, options);
  const body = (): BatchNormResult => {
    const [y, ...statistics] = apply(batchNormDef, [x, gamma, beta], { eps, ...followedBy("linear") }) as [
      Tensor,
      ...Tensor[],
    ];
    const [centre, variance, unbiasedVariance] = statistics.map((statistic) => statistic.alias()) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    return { y, mean: centre, variance, unbiasedVariance };
  };
  return isTracing() ? body() : scope(body);
}

/**
 * Batch normalisation as in evaluation, with statistics given (Ioffe & Szegedy 2015, algorithm 2, step 11): an affine
 * map per channel, (x − mean) / √(variance + eps) · gamma + beta.
 *
 * @param x [N, ..., C], of a float type.
 * @param gamma [C].
 * @param beta [C].
 * @param centre mean of each channel, [C].
 * @param variance variance of each channel, [C].
 * @returns x's shape.
 * @throws ShapeError when x has fewer than two dimensions or a vector is not [C]; DTypeError for other types.
 * @example
 * batchNormWith(tensor([[5]]), ones([1]), zeros([1]), tensor([1]), tensor([4]), { eps: 0 }); // 2
 */
export function batchNormWith(
  x: Tensor,
  gamma: Tensor,
  beta: Tensor,
  centre: Tensor,
  variance: Tensor,
  options: BatchNormOptions = {},
): Tensor {
  const op = "batchNormWith";
  const vectors = { gamma, beta, mean: centre, variance };
  for (const [name, tensor] of Object.entries({ x, ...vectors })) checkTensor(op, name, tensor);
  const eps = epsOf(op, options);
  inferChannels(op, x, vectors);
  return composed(() => {
    const scale = mul(gamma, rsqrt(add(variance, eps)));
    return add(mul(x, scale), sub(beta, mul(centre, scale)));
  });
}
