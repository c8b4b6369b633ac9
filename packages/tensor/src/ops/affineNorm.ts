// What the normalisations that scale and shift each channel have in common: what is added to the variance, the
// statistics that travel to the gradient, and the gradient through a decomposition.

import { apply } from "../core/apply.js";
import type { Tensor } from "../core/tensor.js";
import type { Attrs, Aval } from "../ir/graph.js";
import type { Shape } from "../shape.js";
import type { NormActivation, NormActivationAttrs } from "./activation.js";
import { checkFinite, checkOptions, expectDType, expectShape } from "./checks.js";
import type { OpDef, SampleInput } from "./definition.js";
import { gradientThrough } from "./fused.js";

/** What is added to variances and mean squares unless options say otherwise. */
export const defaultEps = 1e-5;

/** The eps of options that have nothing else. */
export function epsOf(op: string, options: { readonly eps?: number }): number {
  checkOptions(op, options, ["eps"]);
  const { eps = defaultEps } = options;
  checkFinite(op, "eps", eps);
  return eps;
}

/** Checks the statistics that a gradient is given. */
export function expectStatistics(op: string, given: Readonly<Record<string, Aval>>, expected: Aval): void {
  for (const [name, aval] of Object.entries(given)) {
    expectDType(op, name, aval, expected.dtype);
    expectShape(op, name, aval, expected.shape);
  }
}

/** The gradient of (x, gamma, beta) → y, given x, gamma, two statistics and dy, through the decomposition. */
export const shiftedGradient =
  <A extends Attrs>(decompose: (primals: readonly Tensor[], attrs: A) => readonly Tensor[]) =>
  ([x, gamma, , , dy]: readonly Tensor[], attrs: A): Tensor[] => {
    // Beta only shifts: its derivative is dy's sum whatever it is, so gamma stands in for it.
    const all = [x, gamma, gamma] as Tensor[];
    return gradientThrough((primals) => decompose(primals, attrs).slice(0, 1), all, [dy]);
  };

/** What follows a norm: "linear", which is nothing, or an activation; the slope is that of leakyRelu. */
export const followedBy = (activation: NormActivation, slope = 0): NormActivationAttrs => ({ activation, slope });

/** The leaky ReLU of samples, which is DCGAN's. */
export const sampleLeaky = followedBy("leakyRelu", 0.2);

/** Samples of the statistics of x, which do not depend on beta. */
export const statisticsOf =
  <A extends Attrs>(def: OpDef<A>, shape: Shape, attrs: A) =>
  (output: number): SampleInput => ({
    shape,
    derive: ([x, gamma]) => apply(def, [x as Tensor, gamma as Tensor, gamma as Tensor], attrs)[output] as Tensor,
  });
