// Dropout (Srivastava et al. 2014), in the inverted form that leaves evaluation unchanged.

import { checkTensor, Rng, select, type Tensor } from "@figment/tensor";
import { checkFractions } from "../checks.js";
import { Module } from "../module.js";

/**
 * In training, sets each element to zero with probability p and multiplies the others by 1/(1 − p); in
 * evaluation, gives x itself. Draws from a stream of its own, which `init` seeds from the module's path.
 *
 * @example
 * const layer = new Dropout(0.5).init(rng(0));
 * layer.forward(tensor([1, 1, 1, 1])); // zeros and twos
 */
export class Dropout extends Module {
  /** Where the masks come from; unseeded until `init` or a restored checkpoint. */
  readonly random = new Rng(null, "Dropout.random");

  /** @throws UsageError unless 0 ≤ p < 1. */
  constructor(readonly p: number) {
    super();
    checkFractions("Dropout", { "the probability": p });
  }

  forward(x: Tensor): Tensor {
    checkTensor("Dropout", "x", x);
    if (this.p === 0 || !this.training) return x;
    const kept = this.random.uniform(x.shape).ge(this.p);
    return select(kept, x.mul(1 / (1 - this.p)), 0);
  }
}
