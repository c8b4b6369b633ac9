// Units of likelihoods. The package counts in nats per image: natural logarithms, summed over pixels and channels.

import { checkArray, checkTensor, type Shape, sizeOf, type Tensor } from "@figment/tensor";

/**
 * Sums each image's elements: [N, ...] → [N].
 *
 * @example
 * perImage(ones([2, 3, 4])).at(0); // 12
 */
export const perImage = (x: Tensor): Tensor => {
  checkTensor("perImage", "x", x);
  return x.rank === 1 ? x : x.reshape([x.dim(0), sizeOf(x.shape.slice(1))]).sum(1);
};

/**
 * Nats per image as bits per dimension: nats / (ln 2 · H·W·C). For a density over [−1, 1] this is no coding cost; for a
 * probability of byte values (the discretised logistic) it is the bits that an ideal coder needs for each byte.
 *
 * @param nats a negative log-likelihood in nats per image.
 * @param shape [H, W, C] of one image.
 * @example
 * bitsPerDim(28 * 28 * Math.log(256), [28, 28, 1]); // 8
 */
export const bitsPerDim = (nats: number, shape: Shape): number => {
  checkArray("bitsPerDim", "shape", shape);
  return nats / (Math.LN2 * sizeOf(shape));
};
