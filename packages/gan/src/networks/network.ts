// What the two players are to the training step and to sampling. Both are nn modules like any others.

import type { Module } from "@figment/nn";
import type { Tensor } from "@figment/tensor";
import type { CriticOutput } from "../conditioning/scores.js";

/** A network from latents to samples. */
export interface Generator extends Module {
  /** How many numbers a latent has. */
  readonly latents: number;
  /** How many classes it draws; 0 for a network without labels. */
  readonly classes: number;
  /**
   * @param z latents f32 [N, latents], standard normal.
   * @param label i32 [N], for a network with classes.
   * @returns samples [N, ...]; images in [-1, 1].
   */
  forward(z: Tensor, label?: Tensor): Tensor;
}

/** A network from samples to scores: a discriminator's logits, or a critic's values. */
export interface Critic extends Module {
  /** How many classes it is told; 0 for a network without labels. */
  readonly classes: number;
  /**
   * @param x samples [N, ...].
   * @param label i32 [N], for a network with classes.
   */
  forward(x: Tensor, label?: Tensor): CriticOutput;
}
