// Activations: those that matmul and convolution kernels can apply to their result, and compositions.

import { composed } from "../core/scope.js";
import { recordEntry, untaped } from "../core/tape.js";
import type { Tensor } from "../core/tensor.js";
import { UsageError } from "../errors.js";
import { show } from "../shape.js";
import { add, mul, relu, sigmoid, silu, square, tanh } from "./arithmetic.js";
import { gt, select } from "./comparison.js";
import { erf, expm1 } from "./math.js";

/** An activation that a kernel applies to its result before storing it. */
export type Activation = "none" | "silu" | "relu";

/** The number of each activation in kernel parameters. */
export const activationCode: Readonly<Record<Activation, number>> = { none: 0, silu: 1, relu: 2 };

/** Whether kernels know an activation of this name. */
export const isActivation = (name: string): name is Activation => Object.hasOwn(activationCode, name);

/** The activations that kernels apply channel by channel, in the order of their numbers in kernel parameters. */
export const channelActivations = ["linear", "relu", "leakyRelu", "silu", "gelu", "tanh", "sigmoid"] as const;

/** An activation after a bias or a norm of channels. */
export type ChannelActivation = (typeof channelActivations)[number];

/** One of them, and the slope of leakyRelu where its argument is not positive. */
export type ChannelActivationAttrs = { readonly activation: ChannelActivation; readonly slope: number };

/** The activations that kernels of norms apply too. */
export type NormActivation = Extract<ChannelActivation, "linear" | "relu" | "leakyRelu" | "silu">;

/** One of those. */
export type NormActivationAttrs = ChannelActivationAttrs & { readonly activation: NormActivation };

/** Applies one of them. */
export function activateChannels(u: Tensor, { activation, slope }: ChannelActivationAttrs): Tensor {
  switch (activation) {
    case "relu":
      return relu(u);
    case "leakyRelu":
      return leakyRelu(u, slope);
    case "silu":
      return silu(u);
    case "gelu":
      return gelu(u);
    case "tanh":
      return tanh(u);
    case "sigmoid":
      return sigmoid(u);
    default:
      return u;
  }
}

/** Applies an activation by name. */
export const activate = (x: Tensor, activation: Activation): Tensor =>
  activation === "silu" ? silu(x) : activation === "relu" ? relu(x) : x;

/** How {@link gelu} is computed. */
export interface GeluOptions {
  /** "none" (default): by the error function; "tanh": its approximation. */
  readonly approximate?: "none" | "tanh";
}

/**
 * x·Φ(x), the Gaussian error linear unit (Hendrycks and Gimpel 2016).
 *
 * @throws UsageError for an unknown approximation.
 * @example
 * gelu(tensor([-1, 0, 1])).at(2); // 0.841345
 */
export function gelu(x: Tensor, { approximate = "none" }: GeluOptions = {}): Tensor {
  if (approximate !== "none" && approximate !== "tanh")
    throw new UsageError(`gelu: approximate must be "none" or "tanh", got ${show(approximate)}`);
  return composed(() => {
    if (approximate === "none") return mul(mul(x, 0.5), add(erf(mul(x, Math.SQRT1_2)), 1));
    const cubic = 0.044715; // the paper's fit
    const inner = mul(mul(x, add(mul(square(x), cubic), 1)), Math.sqrt(2 / Math.PI));
    return mul(mul(x, 0.5), add(tanh(inner), 1));
  });
}

/**
 * x where positive, slope·x elsewhere (Maas et al. 2013). Its derivative at 0 is the slope.
 *
 * @example
 * leakyRelu(tensor([-2]), 0.1).at(0); // -0.2
 */
export function leakyRelu(x: Tensor, slope = 0.01): Tensor {
  const choose = (by: Tensor, value: Tensor): Tensor => composed(() => select(gt(by, 0), value, mul(value, slope)));
  const output = untaped(() => choose(x, x));
  // By the result, which is positive where x is, so that nothing needs x any more: what makes it can store the result alone.
  const sign = slope >= 0 ? output : x;
  recordEntry({ inputs: [x], outputs: [output], backward: ([c]) => [choose(sign, c as Tensor)] });
  return output;
}

/**
 * x where positive, α(eˣ − 1) elsewhere (Clevert et al. 2015).
 *
 * @example
 * elu(tensor([-1])).at(0); // -0.632121
 */
export const elu = (x: Tensor, alpha = 1): Tensor =>
  composed(() => {
    const positive = gt(x, 0);
    // The branch not taken must not overflow: its derivative would be 0·∞.
    return select(positive, x, mul(expm1(select(positive, 0, x)), alpha));
  });
