// Weight clipping (Arjovsky, Chintala & Bottou 2017, algorithm 1): a critic whose weights lie in a box is Lipschitz with some
// constant that the box and the architecture set. Crude, as its authors say: WGAN-GP came to replace it.

import type { Module } from "@figment/nn";
import { checkObject, clamp, scope, UsageError } from "@figment/tensor";

/**
 * Clips every parameter of a module to [−bound, bound], after each of the critic's updates (Arjovsky et al. 2017, algorithm 1,
 * line 7; bound 0.01 there). Buffers stay as they are.
 *
 * @throws UsageError unless the bound is a positive number.
 * @example
 * const critic = new Linear(2, 1, { weightInit: constantInit(3) }).init(rng(0));
 * clipWeights(critic, 0.01);
 * critic.weight.value.sum(); // 0.02
 */
export function clipWeights(module: Module, bound: number): void {
  if (!(bound > 0 && Number.isFinite(bound)))
    throw new UsageError(`clipWeights: the bound must be a positive number, got ${bound}`);
  checkObject("clipWeights", "module", module, "parameters");
  scope(() => {
    for (const parameter of module.parameters()) parameter.set(clamp(parameter.value, -bound, bound));
  });
}
