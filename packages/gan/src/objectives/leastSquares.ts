// The least-squares game (Mao et al. 2017): regression on targets in place of classification, so that samples far on the
// right side of the boundary are drawn back to the data too.
//
//   critic:     ½·E[(s(x) − b)²] + ½·E[(s(G(z)) − a)²]               (eq. 2)
//   generator:  ½·E[(s(G(z)) − c)²]
//
// With b − c = 1 and b − a = 2, as in eq. 8 (a = −1, b = 1, c = 0), the generator minimises Pearson's χ² divergence.

import { checkObject, UsageError } from "@figment/tensor";
import { type Objective, objectiveOf } from "./objective.js";

/** The targets of {@link leastSquares}. */
export interface LeastSquaresOptions {
  /** a, the critic's target for generated samples. Default 0. */
  readonly fake?: number;
  /** b, the critic's target for real samples. Default 1. */
  readonly real?: number;
  /** c, what the generator wants its samples to score. Default 1. */
  readonly wanted?: number;
}

/**
 * The least-squares game (Mao et al. 2017, eq. 2; with the defaults eq. 9).
 *
 * @throws UsageError when a target is no finite number.
 * @example
 * leastSquares().critic(tensor([3]), tensor([1])); // 2.5
 * leastSquares({ fake: -1, real: 1, wanted: 0 }).generator(tensor([2])); // 2
 */
export function leastSquares(options: LeastSquaresOptions = {}): Objective {
  const { fake: a = 0, real: b = 1, wanted: c = 1 } = checkObject("leastSquares", "options", options);
  for (const [name, target] of Object.entries({ fake: a, real: b, wanted: c }))
    if (!Number.isFinite(target))
      throw new UsageError(`leastSquares: the target ${name} must be finite, got ${target}`);
  return objectiveOf("leastSquares", {
    critic: (real, fake) => real.sub(b).square().mean().add(fake.sub(a).square().mean()).mul(0.5),
    generator: (fake) => fake.sub(c).square().mean().mul(0.5),
  });
}
