// The Wasserstein game (Arjovsky, Chintala & Bottou 2017): where the critic is 1-Lipschitz, the difference of its mean scores
// is a lower bound of the earth mover's distance, tight for the best critic (eq. 2):
//
//   W(p, q) = sup_{‖f‖_L ≤ 1} E_x[f(x)] − E_z[f(G(z))]
//
// What keeps the critic Lipschitz comes from elsewhere: clipWeights, gradientPenalty, or nn's SpectralNorm.

import { neg } from "@figment/tensor";
import { type Objective, objectiveOf } from "./objective.js";

/**
 * The Wasserstein game: the critic minimises E[f(G(z))] − E[f(x)], the generator −E[f(G(z))] (Arjovsky et al. 2017, algorithm
 * 1). The negative of the critic's loss estimates the earth mover's distance, up to the critic's Lipschitz constant.
 *
 * @example
 * wasserstein().critic(tensor([1, 3]), tensor([-1, 0])); // -2.5
 * wasserstein().generator(tensor([-1, 0])); // 0.5
 */
export function wasserstein(): Objective {
  return objectiveOf("wasserstein", {
    critic: (real, fake) => fake.mean().sub(real.mean()),
    generator: (fake) => neg(fake.mean()),
  });
}
