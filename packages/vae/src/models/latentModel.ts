// What a model must offer to be trained and measured by the bounds of objectives/: posteriors that are computed once for a
// batch, and draws of its latents with the log-densities that a bound is made of.

import type { CellTree, Rng, Tensor } from "@figment/tensor";

/** One draw of a model's latents for each image of a batch. All densities are in nats. */
export interface Draw {
  /** The latents of each stochastic layer, the one nearest to the image first: [N, latents] or [N, variables, classes]. */
  readonly latents: readonly Tensor[];
  /** ln p(x | z), [N]. */
  readonly logLikelihood: Tensor;
  /** KL(q ‖ p) of each layer given the layers above, in closed form, one for each latent: [N, latents], each ≥ 0. */
  readonly kl: readonly Tensor[];
  /** ln p(z) − ln q(z | x) at the drawn latents, [N]; its expectation is −Σ kl. */
  readonly logRatio: Tensor;
}

/**
 * A model with latent variables. `P` is what it infers from images: tensors in any tree.
 *
 * Draws are reparameterised: derivatives flow through them.
 */
export interface LatentModel<P> extends CellTree {
  /** What the images say about the latents: the part of q(z | x) that every draw shares. */
  infer(x: Tensor, label?: Tensor): P;
  /** Draws latents from q(z | x) and weighs them. */
  draw(posterior: P, x: Tensor, random: Rng, label?: Tensor): Draw;
}
