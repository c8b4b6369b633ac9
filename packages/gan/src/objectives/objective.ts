// What an adversarial objective is: two losses of the critic's scores, one for each player. Imports tensor only.

import { DTypeError, isFloat, ShapeError, scope, show, showShape, Tensor } from "@figment/tensor";

/** The game's two losses; both are minimised. Scores are what the critic gives, before any sigmoid, one a sample. */
export interface Objective {
  readonly name: string;
  /**
   * The critic's loss, 0-d.
   *
   * @param real scores of real samples, [N] or [N, 1].
   * @param fake scores of generated samples, [M] or [M, 1].
   */
  critic(real: Tensor, fake: Tensor): Tensor;
  /**
   * The generator's loss, 0-d.
   *
   * @param fake scores of generated samples, [M] or [M, 1].
   */
  generator(fake: Tensor): Tensor;
}

/** An objective of two formulas: scores are checked, and what lies between is freed. */
export const objectiveOf = (name: string, { critic, generator }: Omit<Objective, "name">): Objective => ({
  name,
  critic: (real, fake) => {
    checkScores(name, { real, fake });
    return scope(() => critic(real, fake));
  },
  generator: (fake) => {
    checkScores(name, { fake });
    return scope(() => generator(fake));
  },
});

/** Checks that scores are one number a sample: feature maps would be averaged without a word. */
function checkScores(objective: string, scores: Readonly<Record<string, Tensor>>): void {
  for (const [name, x] of Object.entries(scores)) {
    if (!(x instanceof Tensor))
      throw new DTypeError(`${objective}: expected a tensor of ${name} scores, got ${show(x)}`);
    if (!isFloat(x.dtype))
      throw new DTypeError(`${objective}: the ${name} scores are ${x.dtype}; expected a float type`);
    if (x.size === 0 || x.rank === 0 || x.size !== x.dim(0))
      throw new ShapeError(
        `${objective}: expected ${name} scores [N] or [N, 1], one a sample, got ${showShape(x.shape)}`,
      );
  }
}
