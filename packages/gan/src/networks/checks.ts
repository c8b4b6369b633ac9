// What generators and critics ask of their arguments.

import { ShapeError, type Tensor, UsageError } from "@figment/tensor";

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
    throw new ShapeError(`${owner}: expected latents [N, ${latents}], got [${z.shape.join(", ")}]`);
}

/** The number of classes: an integer of at least 0. */
export function checkClasses(owner: string, classes: number): void {
  if (!Number.isInteger(classes) || classes < 0 || classes >= 2 ** 31)
    throw new UsageError(`${owner}: classes must be an integer ≥ 0, got ${classes}`);
}

/** Side of the smallest feature map: the image's, halved once for each of the channels. */
export function smallestSide(owner: string, imageSize: number, channels: readonly number[]): number {
  const side = imageSize / 2 ** channels.length;
  if (channels.length === 0 || !Number.isInteger(side) || side < 1)
    throw new UsageError(
      `${owner}: images of ${imageSize}×${imageSize} cannot be halved ${channels.length} times, once for each of the channels [${channels.join(", ")}]`,
    );
  return side;
}
