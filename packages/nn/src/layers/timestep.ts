// How a network is told the time: sinusoids (Vaswani et al. 2017, §3.5, as used by Ho et al. 2020), and a small
// network on top of them.

import { checkObject, checkTensor, concat, silu, type Tensor, tensor, UsageError } from "@figment/tensor";
import { checkCounts, checkFlags, checkPositive } from "../checks.js";
import { Module } from "../module.js";
import { Linear } from "./linear.js";

function checkEmbedding(owner: string, dim: number, maxPeriod: number, frequencyShift: number): void {
  checkCounts(owner, { dim });
  checkPositive(owner, { maxPeriod });
  if (dim % 2 !== 0 || dim < 4) throw new UsageError(`${owner}: dim must be even and at least 4, got ${dim}`);
  if (!(frequencyShift >= 0 && frequencyShift < dim / 2))
    throw new UsageError(`${owner}: frequencyShift must be in [0, ${dim / 2}), got ${frequencyShift}`);
}

/** Longest period of the sinusoids over 2π, in steps, unless given: that of Vaswani et al. 2017. */
const defaultPeriod = 10_000;

/** How the sinusoids of a timestep are arranged. */
export interface SinusoidOptions {
  /** Longest period over 2π, in steps. Default 10,000. */
  readonly maxPeriod?: number;
  /** What is taken from k in the exponent: 1 makes the last period 2π·maxPeriod, 0 that by maxPeriod^(2/dim) shorter. Default 1. */
  readonly frequencyShift?: number;
  /** Whether the cosines come first. Default false. */
  readonly cosinesFirst?: boolean;
}

/**
 * [sin(t·ω₀) … sin(t·ωₖ₋₁), cos(t·ω₀) … cos(t·ωₖ₋₁)] with k = dim/2 and
 * ωᵢ = maxPeriod^(−i/(k − frequencyShift)): t [N] (any type) → [N, dim]. By default as in the code of Ho et al. 2020.
 *
 * @throws UsageError unless `dim` is even and at least 4, and the shift is below k.
 * @example
 * timestepEmbedding(tensor([0, 10, 999], { dtype: "i32" }), 32); // [3, 32]
 */
export function timestepEmbedding(t: Tensor, dim: number, options: SinusoidOptions = {}): Tensor {
  const { maxPeriod = defaultPeriod, frequencyShift = 1, cosinesFirst = false } = options;
  checkEmbedding("timestepEmbedding", dim, maxPeriod, frequencyShift);
  checkFlags("timestepEmbedding", { cosinesFirst });
  const half = dim / 2;
  const step = half - frequencyShift;
  const frequencies = tensor(Float32Array.from({ length: half }, (_, i) => maxPeriod ** (-i / step)));
  const angles = t.cast("f32").reshape([t.size, 1]).mul(frequencies);
  const [sines, cosines] = [angles.sin(), angles.cos()];
  return concat(cosinesFirst ? [cosines, sines] : [sines, cosines], 1);
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
    readonly sinusoids: SinusoidOptions = {},
  ) {
    super();
    const {
      maxPeriod = defaultPeriod,
      frequencyShift = 1,
      cosinesFirst = false,
    } = checkObject("TimestepEmbedding", "sinusoids", sinusoids);
    checkEmbedding("TimestepEmbedding", frequencyDim, maxPeriod, frequencyShift);
    checkFlags("TimestepEmbedding", { cosinesFirst });
    this.first = new Linear(frequencyDim, dim);
    this.second = new Linear(dim, dim);
  }

  forward(t: Tensor): Tensor {
    checkTensor("TimestepEmbedding", "t", t);
    return this.second.forward(silu(this.first.forward(timestepEmbedding(t, this.frequencyDim, this.sinusoids))));
  }
}
