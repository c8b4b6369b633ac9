// The game that began it (Goodfellow et al. 2014): D tells real samples from generated ones, G minimises what D maximises.
//
//   min_G max_D V(D, G) = E_x[ln D(x)] + E_z[ln(1 − D(G(z)))]        (eq. 1)
//
// The critic gives logits s, D = σ(s); ln σ(s) = −softplus(−s) and ln(1 − σ(s)) = −softplus(s) overflow nowhere. For a fixed
// generator the best D is p/(p + q), where V is 2·JSD(p ‖ q) − ln 4 (proposition 1, theorem 1).

import { checkObject, neg, softplus, UsageError } from "@figment/tensor";
import { type Objective, objectiveOf } from "./objective.js";

/** Options of {@link minimax} and {@link nonSaturating}. */
export interface SmoothingOptions {
  /**
   * One-sided label smoothing (Salimans et al. 2016, §3.4): real samples have the target 1 − smoothing, in [0, 1); generated
   * ones keep 0, since smoothing those too would reward the generator where it already is. Default 0.
   */
  readonly smoothing?: number;
}

/** A game whose critic minimises −V: the cross entropy of telling real from generated, real ones with the target 1 − smoothing. */
export function classificationGame(
  name: string,
  options: SmoothingOptions,
  generator: Objective["generator"],
): Objective {
  const { smoothing = 0 } = checkObject(name, "options", options);
  if (!(smoothing >= 0 && smoothing < 1))
    throw new UsageError(`${name}: the smoothing must be in [0, 1), got ${smoothing}`);
  return objectiveOf(name, {
    critic: (real, fake) => {
      const onReal = softplus(neg(real)).mean();
      // −t·ln σ(s) − (1 − t)·ln(1 − σ(s)) = softplus(−s) + (1 − t)·s
      const smoothed = smoothing === 0 ? onReal : onReal.add(real.mean().mul(smoothing));
      return smoothed.add(softplus(fake).mean());
    },
    generator,
  });
}

/**
 * The minimax game as it is written (Goodfellow et al. 2014, eq. 1): the critic minimises −V, the generator E[ln(1 − D(G(z)))].
 * The generator's slope vanishes where the critic is sure that its samples are not real, which is how training begins;
 * {@link nonSaturating} keeps the game's fixed point and mends that.
 *
 * @throws UsageError unless the smoothing is in [0, 1).
 * @example
 * const game = minimax();
 * game.critic(tensor([0]), tensor([0])); // 1.386294
 * game.generator(tensor([0])); // -0.693147
 */
export function minimax(options: SmoothingOptions = {}): Objective {
  return classificationGame("minimax", options, (fake) => neg(softplus(fake).mean()));
}
