// Bias, activation, gain and clamp in one sweep (Karras et al., StyleGAN2, 2020, appendix B):
// y = clamp(gain · f(x + bias), ±limit), with the bias over the last axis.

import { apply, applyOne } from "../core/apply.js";
import { composed } from "../core/scope.js";
import type { Tensor } from "../core/tensor.js";
import { ShapeError, UsageError } from "../errors.js";
import type { Aval, Node } from "../ir/graph.js";
import { type Shape, show, showShape, sizeOf } from "../shape.js";
import {
  activateChannels,
  type ChannelActivation,
  type ChannelActivationAttrs,
  channelActivations,
} from "./activation.js";
import { add, mul } from "./arithmetic.js";
import { checkFinite, checkOptions, checkTensor, expectCompute, expectCount, expectShape } from "./checks.js";
import { defineOp, type KernelCall, nativeSchema, type OpDef } from "./definition.js";
import { gradientThrough } from "./fused.js";
import { clamp } from "./math.js";

const biasActFields = {
  rows: "i64",
  c: "i64",
  activation: "i32",
  clamped: "i32",
  slope: "f64",
  gain: "f64",
  limit: "f64",
} as const;
const biasActSchema = nativeSchema("biasAct", biasActFields);
const biasActGradSchema = nativeSchema("biasActGrad", biasActFields);

/** An activation of {@link biasAct}. */
export type BiasActivation = ChannelActivation;

/** Attributes of biasAct; a negative limit clamps nothing. */
export type BiasActAttrs = ChannelActivationAttrs & {
  readonly gain: number;
  readonly limit: number;
};

/** Options of {@link biasAct}. */
export interface BiasActOptions {
  /** Default "linear": none. */
  readonly activation?: BiasActivation;
  /** Slope of leakyRelu where its argument is not positive. Default 0.2. */
  readonly slope?: number;
  /** Factor of the activation. Default 1. */
  readonly gain?: number;
  /** Results are kept within ± this; at least 0. Default: no clamp. */
  readonly clamp?: number;
}

const unlimited = -1;

function decompose([x, bias]: readonly Tensor[], attrs: BiasActAttrs): Tensor[] {
  const { gain, limit } = attrs;
  const scaled = mul(activateChannels(add(x as Tensor, bias as Tensor), attrs), gain);
  return [limit < 0 ? scaled : clamp(scaled, -limit, limit)];
}

/** Checks x and bias; gives y's aval. */
function inferBias(op: string, x: Aval, bias: Aval): Aval {
  const dtype = expectCompute(op, { x, bias });
  if (x.shape.length < 1) throw new ShapeError(`${op}: x must be [..., C], got shape ${showShape(x.shape)}`);
  expectShape(op, "bias", bias, [x.shape.at(-1) as number]);
  return { shape: x.shape, dtype };
}

/** The bias is operand 1 of both kernels, its cotangent output 1; all others have x's shape. */
const biasCall =
  (schema: KernelCall["schema"]) =>
  (node: Node, { activation, slope, gain, limit }: BiasActAttrs): KernelCall => {
    const { shape } = node.inputs[0] as Aval;
    const [rows, c] = [sizeOf(shape.slice(0, -1)), shape.at(-1) as number];
    const fold = (avals: readonly Aval[]) => avals.map((_, index) => ({ index, dims: index === 1 ? [c] : [rows, c] }));
    const clamped = Number(limit >= 0);
    return {
      schema,
      params: { rows, c, activation: channelActivations.indexOf(activation), clamped, slope, gain, limit },
      inputs: fold(node.inputs),
      outputs: fold(node.outputs),
    };
  };

const shapes: readonly Shape[] = [[5], [3, 1], [2, 3, 7], [4, 5, 6, 3], [17, 33], [9, 64], [1021, 10], [2, 31, 33, 40]];

const cases: readonly (readonly [Shape, BiasActAttrs])[] = channelActivations.flatMap((activation, a) =>
  shapes
    .filter((_, i) => i % channelActivations.length === a || i >= channelActivations.length - 1 || i === 2)
    .map((shape, i): readonly [Shape, BiasActAttrs] => [
      shape,
      { activation, slope: 0.2, gain: i % 2 === 0 ? 1 : Math.SQRT2, limit: i % 3 === 1 ? 0.75 : unlimited },
    ]),
);

export const biasActDef: OpDef<BiasActAttrs> = defineOp({
  name: "biasAct",
  effect: "pure",
  infer: (inputs) => {
    expectCount("biasAct", inputs, 2);
    const [x, bias] = inputs as readonly [Aval, Aval];
    return [inferBias("biasAct", x, bias)];
  },
  vjp: ({ inputs, attrs, cotangent }) => apply(biasActGradDef, [...inputs, cotangent()], attrs),
  decompose,
  lower: { kind: "kernel", call: biasCall(biasActSchema) },
  inPlace: () => [[0, 0]],
  samples: () => cases.map(([shape, attrs]) => ({ inputs: [{ shape }, { shape: [shape.at(-1) as number] }], attrs })),
});

export const biasActGradDef: OpDef<BiasActAttrs> = defineOp({
  name: "biasActGrad",
  effect: "pure",
  infer: (inputs) => {
    const op = "biasActGrad";
    expectCount(op, inputs, 3);
    const [x, bias, dy] = inputs as readonly [Aval, Aval, Aval];
    const y = inferBias(op, x, bias);
    expectCompute(op, { x, dy });
    expectShape(op, "dy", dy, x.shape);
    return [y, { shape: bias.shape, dtype: y.dtype }];
  },
  decompose: ([x, bias, dy], attrs) =>
    gradientThrough((primals) => decompose(primals, attrs), [x, bias] as Tensor[], [dy]),
  lower: { kind: "kernel", call: biasCall(biasActGradSchema) },
  inPlace: () => [
    [0, 2],
    [0, 0],
  ],
  samples: () =>
    cases.map(([shape, attrs]) => ({ inputs: [{ shape }, { shape: [shape.at(-1) as number] }, { shape }], attrs })),
});

/**
 * clamp(gain · f(x + bias), ±clamp) in one sweep, for one of a few activations f. Where the clamp acts, no derivative
 * flows.
 *
 * @param x [..., C], of a float type.
 * @param bias [C].
 * @returns x's shape.
 * @throws ShapeError when bias is not [C]; UsageError for an unknown activation or a negative clamp; DTypeError for
 * other types.
 * @example
 * const options = { activation: "leakyRelu", slope: 0.2, gain: 2, clamp: 3 } as const;
 * biasAct(tensor([[-1, 1]]), tensor([0, 1]), options).sum(); // 2.6
 */
export function biasAct(x: Tensor, bias: Tensor, options: BiasActOptions = {}): Tensor {
  const op = "biasAct";
  checkTensor(op, "x", x);
  checkTensor(op, "bias", bias);
  checkOptions(op, options, ["activation", "slope", "gain", "clamp"]);
  const { activation = "linear", slope = 0.2, gain = 1, clamp: limit } = options;
  if (!channelActivations.includes(activation))
    throw new UsageError(`${op}: activation must be one of ${channelActivations.join(", ")}, got ${show(activation)}`);
  checkFinite(op, "slope", slope);
  checkFinite(op, "gain", gain);
  if (limit !== undefined) {
    checkFinite(op, "clamp", limit);
    if (limit < 0) throw new UsageError(`${op}: clamp must not be negative, got ${limit}`);
  }
  const attrs = { activation, slope, gain, limit: limit ?? unlimited };
  return composed(() => applyOne(biasActDef, [x, bias], attrs));
}
