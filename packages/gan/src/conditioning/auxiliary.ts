// The auxiliary classifier GAN (Odena, Olah & Shlens 2017): the critic also says which class a sample is of, and both players
// want it to be right, on real and on generated samples:
//
//   L_S = E[ln P(real | x)] + E[ln P(fake | G)]                       (eq. 2)
//   L_C = E[ln P(y | x)] + E[ln P(y | G)]                             (eq. 3)
//
// The critic maximises L_S + L_C, the generator L_C − L_S. L_S is any objective of this package.

import { checkCounts, crossEntropyLoss, type Linear, Module, type SpectralNorm } from "@figment/nn";
import { checkTensor, scope, type Tensor } from "@figment/tensor";
import { type HeadOptions, linearHead } from "./projection.js";
import type { ClassifiedScores } from "./scores.js";

/**
 * Scores features and classifies them, by one linear layer each: [N, features] → scores [N, 1] and class logits [N, classes].
 *
 * @example
 * const head = new AuxiliaryHead(8, 10).init(rng(0));
 * head.forward(random.normal([2, 8])).classes; // [2, 10]
 */
export class AuxiliaryHead extends Module {
  readonly linear: Linear | SpectralNorm<Linear>;
  readonly classifier: Linear | SpectralNorm<Linear>;

  /** @throws UsageError unless the numbers are integers of at least 1. */
  constructor(features: number, classes: number, options: HeadOptions = {}) {
    super();
    checkCounts("AuxiliaryHead", { features, classes });
    this.linear = linearHead(features, 1, options);
    this.classifier = linearHead(features, classes, options);
  }

  forward(features: Tensor): ClassifiedScores {
    return { score: this.linear.forward(features), classes: this.classifier.forward(features) };
  }
}

/**
 * −L_C: how far the classes that the critic sees are from the labels, over real and generated samples or, without the former,
 * over generated ones (Odena et al. 2017, eq. 3). 0-d.
 *
 * @param label i32 [N], of both.
 * @example
 * const label = tensor([0, 1], { dtype: "i32" });
 * auxiliaryLoss(label, zeros([2, 10])); // 2.302585
 */
export function auxiliaryLoss(label: Tensor, ...classLogits: readonly Tensor[]): Tensor {
  checkTensor("auxiliaryLoss", "label", label);
  checkTensor("auxiliaryLoss", "classLogits", classLogits[0]);
  return scope(() => classLogits.map((logits) => crossEntropyLoss(logits, label)).reduce((sum, loss) => sum.add(loss)));
}
