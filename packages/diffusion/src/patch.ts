// Trading resolution for channels without loss, so that a network can work at a lower resolution.

import { checkTensor, ShapeError, scope, type Tensor } from "@figment/tensor";

/**
 * Folds each patch of p×p pixels into channels: [N,H,W,C] → [N,H/p,W/p,p·p·C].
 *
 * @throws ShapeError when p does not divide height and width.
 * @example
 * patchify(rng(0).normal([1, 4, 4, 3]), 2); // [1, 2, 2, 12]
 */
export function patchify(x: Tensor, p: number): Tensor {
  checkTensor("patchify", "x", x);
  const [n, h, w, c] = x.dims(4);
  if (h % p !== 0 || w % p !== 0)
    throw new ShapeError(`patchify: ${h}×${w} pixels do not divide into patches of ${p}×${p}`);
  return scope(() =>
    x
      .reshape([n, h / p, p, w / p, p, c])
      .transpose([0, 1, 3, 2, 4, 5])
      .reshape([n, h / p, w / p, p * p * c]),
  );
}

/**
 * The inverse of {@link patchify}: [N,H,W,p·p·C] → [N,p·H,p·W,C].
 *
 * @throws ShapeError when p·p does not divide the channels.
 * @example
 * unpatchify(rng(0).normal([1, 2, 2, 12]), 2); // [1, 4, 4, 3]
 */
export function unpatchify(x: Tensor, p: number): Tensor {
  checkTensor("unpatchify", "x", x);
  const [n, h, w, c] = x.dims(4);
  if (c % (p * p) !== 0) throw new ShapeError(`unpatchify: ${c} channels do not divide into patches of ${p}×${p}`);
  const channels = c / (p * p);
  return scope(() =>
    x
      .reshape([n, h, w, p, p, channels])
      .transpose([0, 1, 3, 2, 4, 5])
      .reshape([n, h * p, w * p, channels]),
  );
}
