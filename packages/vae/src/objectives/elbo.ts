// The evidence lower bound, ln p(x) ≥ E_q[ln p(x | z)] − KL(q(z | x) ‖ p(z)) (Kingma & Welling 2014, eq. 3), with a factor
// β before the divergence (Higgins et al. 2017, eq. 4; warm-up: Sønderby et al. 2016, eq. 16) and free bits (Kingma et al.
// 2016, eq. 15).

import { checkNotNegative } from "@figment/nn";
import { add, checkObject, checkTensor, maximum, type Rng, scope, type Tensor } from "@figment/tensor";
import type { Draw, LatentModel } from "../models/latentModel.js";
import { perImage } from "../units.js";

/** Options of {@link negativeElbo}. */
export interface ElboOptions {
  /** Factor of the divergence: 1 for the bound, more for a β-VAE, a 0-d tensor for a warm-up. Default 1. */
  readonly beta?: number | Tensor;
  /** Nats that each latent may hold before its divergence counts. Default 0. */
  readonly freeBits?: number;
  /** Labels i32 [N], for a conditional model. */
  readonly label?: Tensor;
}

/** A bound and its parts, 0-d: means over the batch, in nats per image. */
export type ElboTerms = {
  /** What to minimise: reconstruction + β·kl, with free bits. */
  readonly loss: Tensor;
  /** reconstruction + kl: an upper bound on −ln p(x), whatever β and the free bits. */
  readonly negativeElbo: Tensor;
  /** −ln p(x | z). */
  readonly reconstruction: Tensor;
  /** KL(q(z | x) ‖ p(z)), all layers. */
  readonly kl: Tensor;
};

/**
 * The divergence of one layer as free bits count it: Σⱼ max(λ, mean over the batch of KLⱼ) (Kingma et al. 2016, eq. 15).
 * Below λ nats a latent's divergence has no derivative, so that it is not given up early.
 *
 * @param kl [N, latents], in nats.
 * @param nats λ, for each latent.
 * @returns 0-d.
 * @example
 * freeBits(tensor([[0.1, 3]]), 0.5); // 3.5
 */
export const freeBits = (kl: Tensor, nats: number): Tensor => {
  checkTensor("freeBits", "kl", kl);
  return scope(() => maximum(kl.mean(0), nats).sum());
};

/**
 * ln p(x | z) − Σ kl for each image, [N]: one draw of the bound, the divergence in closed form.
 *
 * @example
 * const bound = elboOf(model.draw(model.infer(images), images, rng(0))); // [3]
 */
export const elboOf = (draw: Draw): Tensor => {
  const { logLikelihood, kl } = checkObject("elboOf", "draw", draw, "logLikelihood", "kl");
  return kl.reduce((bound, layer) => bound.sub(perImage(layer)), logLikelihood);
};

/**
 * The negative bound from one draw of the latents, and its parts. Means over the batch, in nats per image.
 *
 * @param x images in the range of the model's likelihood.
 * @throws UsageError when free bits are no number ≥ 0.
 * @example
 * const { loss, reconstruction, kl } = negativeElbo(model, images, rng(0), { beta: 0.5 });
 * loss.sub(reconstruction).div(kl); // 0.5
 */
export function negativeElbo<P>(model: LatentModel<P>, x: Tensor, random: Rng, options: ElboOptions = {}): ElboTerms {
  checkTensor("negativeElbo", "x", x);
  const { beta = 1, freeBits: free = 0, label } = checkObject("negativeElbo", "options", options);
  checkObject("negativeElbo", "model", model, "infer", "draw");
  checkNotNegative("negativeElbo", { freeBits: free, ...(typeof beta === "number" ? { beta } : {}) });
  return scope(() => {
    const { logLikelihood, kl: layers } = model.draw(model.infer(x, label), x, random, label);
    const reconstruction = logLikelihood.mean().neg();
    const kl = layers.map((layer) => perImage(layer).mean()).reduce((a, b) => add(a, b));
    const counted = free > 0 ? layers.map((layer) => freeBits(layer, free)).reduce((a, b) => add(a, b)) : kl;
    const weighted = typeof beta === "number" && beta === 1 ? counted : counted.mul(beta);
    return { loss: reconstruction.add(weighted), negativeElbo: reconstruction.add(kl), reconstruction, kl };
  });
}
