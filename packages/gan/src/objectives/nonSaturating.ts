// The generator's loss that is used in place of the minimax game's (Goodfellow et al. 2014, §3): it maximises ln D(G(z))
// instead of minimising ln(1 − D(G(z))). The same fixed point, and a slope where the critic rejects.

import { neg, scope, softplus } from "@figment/tensor";
import { discriminatorLoss, type SmoothingOptions, smoothingOf } from "./minimax.js";
import { checkScores, type Objective } from "./objective.js";

/**
 * The non-saturating game (Goodfellow et al. 2014, §3): the critic as in {@link minimax}, the generator minimises
 * −E[ln D(G(z))].
 *
 * @throws UsageError unless the smoothing is in [0, 1).
 * @example
 * const game = nonSaturating({ smoothing: 0.1 });
 * game.critic(tensor([2]), tensor([-2])); // 0.453856
 * game.generator(tensor([-2])); // 2.126928
 */
export function nonSaturating(options: SmoothingOptions = {}): Objective {
  const name = "nonSaturating";
  const smoothing = smoothingOf(name, options);
  return {
    name,
    critic: (real, fake) => discriminatorLoss(name, real, fake, smoothing),
    generator: (fake) => {
      checkScores(name, { fake });
      return scope(() => softplus(neg(fake)).mean());
    },
  };
}
