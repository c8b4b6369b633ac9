// The importance-weighted bound (Burda et al. 2016, eq. 8): ln p(x) ≥ E[ln 1/k Σᵢ wᵢ], wᵢ = p(x, zᵢ)/q(zᵢ | x). For k = 1 it
// is the ELBO; it grows with k and tends to ln p(x).

import { checkCounts } from "@figment/nn";
import { checkObject, checkTensor, logsumexp, type Rng, remat, scope, stack, type Tensor } from "@figment/tensor";
import type { Draw, LatentModel } from "../models/latentModel.js";

/** Options of {@link importanceWeightedBound}. */
export interface IwaeOptions {
  /** Draws of the latents for each image. */
  readonly k: number;
  /** Labels i32 [N], for a conditional model. */
  readonly label?: Tensor;
}

/**
 * ln w = ln p(x | z) + ln p(z) − ln q(z | x) of one draw, [N], in nats.
 *
 * @example
 * const weights = logWeight(model.draw(model.infer(images), images, rng(0))); // [3]
 */
export const logWeight = (draw: Draw): Tensor => {
  const { logLikelihood, logRatio } = checkObject("logWeight", "draw", draw, "logLikelihood", "logRatio");
  return logLikelihood.add(logRatio);
};

/**
 * ln 1/k Σᵢ wᵢ for each image, [N], in nats: a loss is the negative of its mean. Its derivative weighs each draw by its
 * share of the sum (Burda et al. 2016, eq. 14).
 *
 * Decoders are run for one draw after another, and again on the way back (`remat`), so that memory does not grow with k
 * but for k numbers an image. To measure with large k, {@link evaluateBounds} loops inside the program.
 *
 * @throws UsageError unless k is an integer of at least 1.
 * @example
 * const bound = importanceWeightedBound(model, images, rng(0), { k: 5 });
 * const loss = bound.mean().neg();
 */
export function importanceWeightedBound<P>(
  model: LatentModel<P>,
  x: Tensor,
  random: Rng,
  options: IwaeOptions,
): Tensor {
  checkTensor("importanceWeightedBound", "x", x);
  const { k, label } = checkObject("importanceWeightedBound", "options", options, "k");
  checkObject("importanceWeightedBound", "model", model, "infer", "draw");
  checkCounts("importanceWeightedBound", { k });
  return scope(() => {
    const posterior = model.infer(x, label);
    const weigh = remat(() => logWeight(model.draw(posterior, x, random, label)));
    const weights = Array.from({ length: k }, () => weigh());
    return logsumexp(stack(weights), 0).sub(Math.log(k));
  });
}
