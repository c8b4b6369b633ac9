// Trading channels for resolution (Shi et al. 2016, "Real-time single image and video super-resolution using an
// efficient sub-pixel convolutional neural network", eq. 4). One strided copy each.

import { composed } from "../core/scope.js";
import type { Tensor } from "../core/tensor.js";
import { ShapeError } from "../errors.js";
import { showShape } from "../shape.js";
import { checkInteger, checkTensor, expectRank } from "./checks.js";
import { reshape, transpose } from "./movement.js";

/**
 * Each pixel's channels become an r×r block of pixels: channel c·r² + i·r + j of pixel (h, w) becomes channel c of
 * pixel (h·r + i, w·r + j). That is the channel order of PyTorch's `PixelShuffle`, so that weights trained there fit
 * after the usual permutation to channels-last; TensorFlow's `depth_to_space` counts channels as (i·r + j)·C + c.
 *
 * @param x [N, H, W, C·r²].
 * @returns [N, H·r, W·r, C].
 * @throws ShapeError when r² does not divide the channels.
 * @example
 * pixelShuffle(ones([1, 4, 4, 12]), 2); // [1, 8, 8, 3]
 */
export function pixelShuffle(x: Tensor, factor: number): Tensor {
  checkTensor("pixelShuffle", "x", x);
  checkInteger("pixelShuffle", "factor", factor, 1);
  expectRank("pixelShuffle", "x", x, 4, "[N, H, W, C·r²]");
  const [n, h, w, channels] = x.dims(4);
  if (channels % factor ** 2 !== 0)
    throw new ShapeError(
      `pixelShuffle: ${factor ** 2} does not divide the ${channels} channels of ${showShape(x.shape)}`,
    );
  const c = channels / factor ** 2;
  return composed(() => {
    const blocks = transpose(reshape(x, [n, h, w, c, factor, factor]), [0, 1, 4, 2, 5, 3]);
    return reshape(blocks, [n, h * factor, w * factor, c]);
  });
}

/**
 * The inverse of {@link pixelShuffle}: each r×r block of pixels becomes the channels of one.
 *
 * @param x [N, H·r, W·r, C].
 * @returns [N, H, W, C·r²], channel c·r² + i·r + j from row i and column j of the block, as PyTorch's `PixelUnshuffle`.
 * @throws ShapeError when r does not divide height and width.
 * @example
 * pixelUnshuffle(ones([1, 8, 8, 3]), 2); // [1, 4, 4, 12]
 */
export function pixelUnshuffle(x: Tensor, factor: number): Tensor {
  checkTensor("pixelUnshuffle", "x", x);
  checkInteger("pixelUnshuffle", "factor", factor, 1);
  expectRank("pixelUnshuffle", "x", x, 4, "[N, H·r, W·r, C]");
  const [n, height, width, c] = x.dims(4);
  if (height % factor !== 0 || width % factor !== 0)
    throw new ShapeError(`pixelUnshuffle: ${factor} does not divide height and width of ${showShape(x.shape)}`);
  const [h, w] = [height / factor, width / factor];
  return composed(() => {
    const blocks = transpose(reshape(x, [n, h, factor, w, factor, c]), [0, 1, 3, 5, 2, 4]);
    return reshape(blocks, [n, h, w, c * factor ** 2]);
  });
}
