// What generators and critics ask of their arguments.

import { checkCounts } from "@figment/nn";
import { ShapeError, showShape, type Tensor, UsageError } from "@figment/tensor";

/** Labels are given exactly when a network has classes. */
export function checkLabel(owner: string, classes: number, label: Tensor | undefined): void {
  if ((label === undefined) === (classes === 0)) return;
  throw new UsageError(
    `${owner}: labels are given exactly when the network has classes; it has ${classes === 0 ? "none" : classes}`,
  );
}

/** Checks latents [N, latents]. */
export function checkLatents(owner: string, latents: number, z: Tensor): void {
  if (z.rank !== 2 || z.dim(1) !== latents)
    throw new ShapeError(`${owner}: expected latents [N, ${latents}], got ${showShape(z.shape)}`);
}

/** The number of classes: an integer of at least 0. */
export const checkClasses = (owner: string, classes: number): void => checkCounts(owner, { classes }, 0);

/** How images are halved by convolutions of 4×4 with a stride of 2, or doubled by transposed ones. */
export interface Halving {
  /** Side of the smallest feature map. */
  readonly side: number;
  /** Padding of the convolution at the image; all others have 1. */
  readonly imagePadding: number;
}

/** The widest border that images are extended by on each side: less than a kernel covers. */
const widestMargin = 2;

/**
 * Halves images once for each of the channels. Where their side is no multiple of the power of 2, they are taken to have a border
 * of nothing, which the convolution at the image brings or cuts: 28 is halved to 16, 8 and 4, as 32 is.
 *
 * @param widest how wide that border may be; 0 where nothing brings it.
 */
export function halve(
  owner: string,
  imageSize: number,
  channels: readonly number[],
  widest: number = widestMargin,
): Halving {
  const side = Math.ceil(imageSize / 2 ** channels.length);
  const margin = (side * 2 ** channels.length - imageSize) / 2;
  if (channels.length === 0 || !Number.isInteger(margin) || margin > widest)
    throw new UsageError(
      `${owner}: images of ${imageSize}×${imageSize} cannot be halved ${channels.length} times, once for each of the channels [${channels.join(", ")}]`,
    );
  return { side, imagePadding: 1 + margin };
}
