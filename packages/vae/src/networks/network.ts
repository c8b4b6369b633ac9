// What encoders and decoders are to a VAE, and how both are told a label.

import { checkCounts, Embedding, type Module } from "@figment/nn";
import { checkArray, type Tensor, UsageError } from "@figment/tensor";

/** From images [N,H,W,C] (and labels i32 [N]) to `features` numbers each: [N, features]. */
export interface Encoder extends Module {
  readonly features: number;
  forward(x: Tensor, label?: Tensor): Tensor;
}

/** From latents [N, latents] (and labels i32 [N]) to the parameters of a likelihood: [N,H,W, outputs·C]. */
export interface Decoder extends Module {
  readonly latents: number;
  forward(z: Tensor, label?: Tensor): Tensor;
}

/** Height, width and channels of an image. */
export type ImageShape = readonly [height: number, width: number, channels: number];

/** Checks an {@link ImageShape}. */
export function checkImage(owner: string, image: ImageShape): void {
  checkArray(owner, "image", image);
  const [height, width, channels] = image;
  checkCounts(owner, { height, width, channels });
}

/** What dense layers and convolutions are followed by. */
export type Activation = (x: Tensor) => Tensor;

/**
 * A learned vector for each class, added to the first layer's sums: of a dense layer the same as a one-hot label beside its
 * inputs (Sohn et al. 2015), of a convolution but for the borders, where its padding has no label.
 */
export const labelTable = (classes: number | undefined, width: number): Embedding | null =>
  classes === undefined ? null : new Embedding(classes, width);

/**
 * The label's vector, [N, width].
 *
 * @throws UsageError when there is a table and no label, or the other way round.
 */
export function labelVector(owner: string, table: Embedding | null, label: Tensor | undefined): Tensor | null {
  if ((table === null) !== (label === undefined))
    throw new UsageError(
      table ? `${owner}: it has classes; give labels, i32 [N]` : `${owner}: it has no classes and takes no labels`,
    );
  return table && label ? table.forward(label) : null;
}
