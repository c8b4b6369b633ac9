// How a network is told the time: sinusoids (Vaswani et al. 2017, §3.5, as used by Ho et al. 2020), and a small
// network on top of them.

import { checkTensor, concat, silu, type Tensor, tensor, UsageError } from "@figment/tensor";
import { checkCounts, checkPositive } from "../checks.js";
import { Module } from "../module.js";
import { Linear } from "./linear.js";

function checkEmbedding(owner: string, dim: number, maxPeriod: number): void {
  checkCounts(owner, { dim });
  checkPositive(owner, { maxPeriod });
  if (dim % 2 !== 0 || dim < 4) throw new UsageError(`${owner}: dim must be even and at least 4, got ${dim}`);
}

/** Longest period of the sinusoids, in steps, unless given: that of Vaswani et al. 2017. */
const defaultPeriod = 10_000;

/**
 * [sin(t·ω₀) … sin(t·ωₖ₋₁), cos(t·ω₀) … cos(t·ωₖ₋₁)] with k = dim/2 and ωᵢ = maxPeriod^(−i/(k−1)), as in
 * the code of Ho et al. 2020: t [N] (any type) → [N, dim].
 *
 * @throws UsageError unless `dim` is even and at least 4.
 * @example
 * timestepEmbedding(tensor([0, 10, 999], { dtype: "i32" }), 32); // [3, 32]
 */
export function timestepEmbedding(t: Tensor, dim: number, maxPeriod = defaultPeriod): Tensor {
  checkEmbedding("timestepEmbedding", dim, maxPeriod);
  const half = dim / 2;
  const frequencies = tensor(Float32Array.from({ length: half }, (_, i) => maxPeriod ** (-i / (half - 1))));
  const angles = t.cast("f32").reshape([t.size, 1]).mul(frequencies);
  return concat([angles.sin(), angles.cos()], 1);
}

/**
 * Sinusoids of the timestep, Linear, SiLU, Linear: t i32 [N] → [N, dim].
 *
 * @example
 * const layer = new TimestepEmbedding(32, 128).init(rng(0));
 * layer.forward(tensor([5, 900], { dtype: "i32" })); // [2, 128]
 */
export class TimestepEmbedding extends Module {
  readonly first: Linear;
  readonly second: Linear;

  /** @throws UsageError when a number is out of range. */
  constructor(
    readonly frequencyDim: number,
    readonly dim: number,
  ) {
    super();
    checkEmbedding("TimestepEmbedding", frequencyDim, defaultPeriod);
    this.first = new Linear(frequencyDim, dim);
    this.second = new Linear(dim, dim);
  }

  forward(t: Tensor): Tensor {
    checkTensor("TimestepEmbedding", "t", t);
    return this.second.forward(silu(this.first.forward(timestepEmbedding(t, this.frequencyDim))));
  }
}
