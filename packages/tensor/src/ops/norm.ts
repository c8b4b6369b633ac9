// Group normalisation (Wu & He 2018) over channels-last values, optionally followed by an activation: each of
// `groups` runs of channels is normalised with its own mean and biased variance, then scaled and shifted
// per channel. mean and rstd travel to the gradient as hints.

import { apply } from "../core/apply.js";
import { composed } from "../core/scope.js";
import type { Tensor } from "../core/tensor.js";
import { computeType } from "../dtype.js";
import { ShapeError } from "../errors.js";
import type { Aval, Node } from "../ir/graph.js";
import { type Shape, showShape, sizeOf } from "../shape.js";
import { activateChannels, channelActivations, type NormActivationAttrs } from "./activation.js";
import { defaultEps, expectStatistics, followedBy, sampleLeaky } from "./affineNorm.js";
import { add, mul, rsqrt, square, sub } from "./arithmetic.js";
import {
  checkBoolean,
  checkFinite,
  checkInteger,
  checkOptions,
  checkTensor,
  expectAffine,
  expectCompute,
  expectCount,
  expectShape,
  firstInPlace,
  type StoreAttrs,
} from "./checks.js";
import { defineOp, type KernelCall, nativeSchema, type OpDef, type Sample, type SampleInput } from "./definition.js";
import { gradientThrough } from "./fused.js";
import { reshape } from "./movement.js";
import { mean } from "./reduce.js";

const normFields = {
  n: "i64",
  spatial: "i64",
  c: "i64",
  groups: "i32",
  activation: "i32",
  slope: "f64",
  eps: "f64",
} as const;
const groupNormSchema = nativeSchema("groupNorm", normFields);
const groupNormGradSchema = nativeSchema("groupNormGrad", normFields);

/** How channels are grouped, what is added to the variance, and what follows. */
export type GroupNormAttrs = StoreAttrs & NormActivationAttrs & { readonly groups: number; readonly eps: number };

/** Options of {@link groupNorm}. */
export interface GroupNormOptions {
  /** Number of groups; divides the channels. */
  readonly groups: number;
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
  /** Apply x·sigmoid(x) to the result. Default false. */
  readonly silu?: boolean;
}

/** x [N, …, C] seen as [n, spatial, c]. */
function extents(x: Shape): { n: number; spatial: number; c: number } {
  return { n: x[0] as number, spatial: sizeOf(x.slice(1, -1)), c: x.at(-1) as number };
}

/** Checks x, gamma and beta; gives the avals of y, mean and rstd. */
function inferNorm(op: string, x: Aval, gamma: Aval, beta: Aval, attrs: GroupNormAttrs): Aval[] {
  const { groups, result } = attrs;
  const dtype = expectAffine(op, x, { gamma, beta }, attrs);
  if (x.shape.length < 2) throw new ShapeError(`${op}: x must be [N, ..., C], got shape ${showShape(x.shape)}`);
  const { n, c } = extents(x.shape);
  if (c % groups !== 0)
    throw new ShapeError(`${op}: ${groups} groups do not divide the ${c} channels of x ${showShape(x.shape)}`);
  expectShape(op, "gamma", gamma, [c]);
  expectShape(op, "beta", beta, [c]);
  const statistics = { shape: [n, groups], dtype: computeType(dtype) };
  return [{ shape: x.shape, dtype: result ?? dtype }, statistics, statistics];
}

/** What each operand of the kernels is: the samples, a vector of channels, or statistics of groups. */
type Role = "samples" | "channels" | "statistics";

function normCall(schema: KernelCall["schema"], inputs: readonly Role[], outputs: readonly Role[]) {
  return (node: Node, { groups, eps, activation, slope }: GroupNormAttrs): KernelCall => {
    const { n, spatial, c } = extents((node.inputs[0] as Aval).shape);
    const dims = { samples: [n, spatial, c], channels: [c], statistics: [n, groups] };
    return {
      schema,
      params: { n, spatial, c, groups, activation: channelActivations.indexOf(activation), slope, eps },
      inputs: inputs.map((role, index) => ({ index, dims: dims[role] })),
      outputs: outputs.map((role, index) => ({ index, dims: dims[role] })),
    };
  };
}

const primalRoles: readonly Role[] = ["samples", "channels", "channels"];
const resultRoles: readonly Role[] = ["samples", "statistics", "statistics"];
const gradientRoles: readonly Role[] = [...primalRoles, "statistics", "statistics", "samples"];

function decomposeNorm([x, gamma, beta]: readonly Tensor[], attrs: GroupNormAttrs): Tensor[] {
  const { groups, eps } = attrs;
  const { shape } = x as Tensor;
  const { n, spatial, c } = extents(shape);
  const grouped = reshape(x as Tensor, [n, spatial, groups, c / groups]);
  const within = [1, 3];
  const centre = mean(grouped, within, { keepDims: true });
  const centred = sub(grouped, centre);
  const rstd = rsqrt(add(mean(square(centred), within, { keepDims: true }), eps));
  const normal = reshape(mul(centred, rstd), shape);
  const affine = add(mul(normal, gamma as Tensor), beta as Tensor);
  return [activateChannels(affine, attrs), reshape(centre, [n, groups]), reshape(rstd, [n, groups])];
}

const cases: readonly (readonly [Shape, GroupNormAttrs])[] = [
  [[1, 4], { groups: 1, eps: 1e-5, ...followedBy("linear") }],
  [[2, 3, 4], { groups: 2, eps: 1e-5, ...followedBy("silu") }],
  [[2, 3, 5, 6], { groups: 3, eps: 1e-3, ...followedBy("linear") }],
  [[1, 5, 7], { groups: 1, eps: 1e-5, ...followedBy("silu") }],
  [[2, 7, 5], { groups: 5, eps: 1e-5, ...followedBy("linear") }],
  [[2, 14, 14, 32], { groups: 8, eps: 1e-5, ...followedBy("silu") }],
  [[1, 13, 11, 33], { groups: 11, eps: 1e-5, ...followedBy("silu") }],
  [[1, 61, 67, 32], { groups: 4, eps: 1e-5, ...followedBy("silu") }],
  [[3, 9, 320], { groups: 32, eps: 1e-6, ...followedBy("linear") }],
  [[2, 5, 6], { groups: 2, eps: 1e-5, ...followedBy("relu") }],
  [[2, 15, 13, 32], { groups: 8, eps: 1e-5, ...sampleLeaky }],
];

const primalSamples = (shape: Shape): SampleInput[] => {
  const c = shape.at(-1) as number;
  return [{ shape }, { shape: [c] }, { shape: [c] }];
};

export const groupNormDef: OpDef<GroupNormAttrs> = defineOp({
  name: "groupNorm",
  effect: "pure",
  residuals: [1, 2],
  infer: (inputs, attrs) => {
    expectCount("groupNorm", inputs, 3);
    const [x, gamma, beta] = inputs as readonly [Aval, Aval, Aval];
    return inferNorm("groupNorm", x, gamma, beta, attrs);
  },
  vjp: ({ inputs, outputs, attrs, cotangent }) => {
    const [, centre, rstd] = outputs as readonly [Tensor, Tensor, Tensor];
    return apply(groupNormGradDef, [...inputs, centre, rstd, cotangent()], attrs);
  },
  decompose: decomposeNorm,
  lower: { kind: "kernel", halves: true, call: normCall(groupNormSchema, primalRoles, resultRoles) },
  stores: true,
  asStored: [1, 2],
  inPlace: firstInPlace,
  samples: () => cases.map(([shape, attrs]) => ({ inputs: primalSamples(shape), attrs })),
});

export const groupNormGradDef: OpDef<GroupNormAttrs> = defineOp({
  name: "groupNormGrad",
  effect: "pure",
  hints: [3, 4],
  infer: (inputs, attrs) => {
    const op = "groupNormGrad";
    expectCount(op, inputs, 6);
    const [x, gamma, beta, centre, rstd, dy] = inputs as readonly [Aval, Aval, Aval, Aval, Aval, Aval];
    const [y, statistics] = inferNorm(op, x, gamma, beta, attrs) as [Aval, Aval];
    expectCompute(op, { x, dy });
    expectStatistics(op, { mean: centre, rstd }, statistics);
    expectShape(op, "dy", dy, y.shape);
    return [{ ...x, dtype: attrs.result ?? x.dtype }, gamma, beta].map(({ shape, dtype }) => ({ shape, dtype }));
  },
  stores: true,
  decompose: ([x, gamma, beta, , , dy], attrs) =>
    gradientThrough((primals) => decomposeNorm(primals, attrs), [x, gamma, beta] as Tensor[], [dy]),
  lower: { kind: "kernel", halves: true, call: normCall(groupNormGradSchema, gradientRoles, primalRoles) },
  inPlace: () => [[0, 5]],
  samples: (): Sample<GroupNormAttrs>[] =>
    cases.map(([shape, attrs]) => {
      const statistics = [shape[0] as number, attrs.groups];
      const residual = (output: number): SampleInput => ({
        shape: statistics,
        derive: (inputs) => apply(groupNormDef, inputs.slice(0, 3), attrs)[output] as Tensor,
      });
      return { inputs: [...primalSamples(shape), residual(1), residual(2), { shape }], attrs };
    }),
});

/**
 * Group normalisation: (x − mean) / √(variance + eps) · gamma + beta, with mean and biased variance over the
 * positions and channels of each group.
 *
 * @param x [N, ..., C], of a float type.
 * @param gamma [C].
 * @param beta [C].
 * @returns x's shape.
 * @throws ShapeError when groups do not divide C or gamma and beta are not [C].
 * @example
 * groupNorm(ones([2, 4, 4, 16]), ones([16]), zeros([16]), { groups: 8, silu: true }); // [2, 4, 4, 16]
 */
export function groupNorm(x: Tensor, gamma: Tensor, beta: Tensor, options: GroupNormOptions): Tensor {
  const op = "groupNorm";
  checkTensor(op, "x", x);
  checkTensor(op, "gamma", gamma);
  checkTensor(op, "beta", beta);
  checkOptions(op, options, ["groups", "eps", "silu"]);
  const { groups, eps = defaultEps, silu: withSilu = false } = options;
  checkInteger(op, "groups", groups, 1);
  checkFinite(op, "eps", eps);
  checkBoolean(op, "silu", withSilu);
  return composed(
    () =>
      apply(groupNormDef, [x, gamma, beta], { groups, eps, ...followedBy(withSilu ? "silu" : "linear") })[0] as Tensor,
  );
}
