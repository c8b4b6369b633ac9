// The generator's loss that is used in place of the minimax game's (Goodfellow et al. 2014, §3): it maximises ln D(G(z))
// instead of minimising ln(1 − D(G(z))). The same fixed point, and a slope where the critic rejects.

import { neg, softplus } from "@figment/tensor";
import { classificationGame, type SmoothingOptions } from "./minimax.js";
import type { Objective } from "./objective.js";

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
  return classificationGame("nonSaturating", options, (fake) => softplus(neg(fake)).mean());
}
