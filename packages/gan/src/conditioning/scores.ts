// What critics say of samples: a score, and, where they also classify, logits of the classes.

import { checkObject, Tensor } from "@figment/tensor";

/** A score and a classification of each sample, as an auxiliary classifier GAN's critic gives them. */
export interface ClassifiedScores {
  /** [N] or [N, 1]. */
  readonly score: Tensor;
  /** [N, classes]. */
  readonly classes: Tensor;
}

/** What a critic gives: scores [N] or [N, 1], or those with class logits. */
export type CriticOutput = Tensor | ClassifiedScores;

/**
 * The scores alone.
 *
 * @example
 * scoresOf({ score: tensor([1, 2]), classes: zeros([2, 10]) }).sum(); // 3
 */
export const scoresOf = (output: CriticOutput): Tensor =>
  output instanceof Tensor ? output : checkObject("scoresOf", "output", output, "score").score;
