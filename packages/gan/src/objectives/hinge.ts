// The hinge game (Lim & Ye 2017, eq. 9–10; used by Miyato et al. 2018): the critic stops pushing where the margin is kept.

import { neg, relu } from "@figment/tensor";
import { type Objective, objectiveOf } from "./objective.js";

/**
 * The hinge game: the critic minimises E[max(0, 1 − s(x))] + E[max(0, 1 + s(G(z)))], the generator −E[s(G(z))] (Lim & Ye 2017,
 * eq. 9–10).
 *
 * @example
 * hinge().critic(tensor([0.5, 3]), tensor([-0.5, -3])); // 0.5
 * hinge().generator(tensor([-0.5, -3])); // 1.75
 */
export function hinge(): Objective {
  return objectiveOf("hinge", {
    critic: (real, fake) =>
      relu(neg(real).add(1))
        .mean()
        .add(relu(fake.add(1)).mean()),
    generator: (fake) => neg(fake.mean()),
  });
}
