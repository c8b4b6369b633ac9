// The peak signal-to-noise ratio.

import type { Tensor } from "@figment/tensor";
import { type ImageScoreOptions, type ImageScores, readPair, withMean } from "./scores.js";

/**
 * 10·log₁₀(L²/MSE) in decibels, with L the width of the pixels' range and the mean over all pixels and channels of an image:
 * Infinity for equal images; 20 is visibly different, 40 hardly. The mean is that of the images' decibels.
 *
 * @param a, b floats [N,H,W,C] or [H,W,C].
 * @throws ShapeError when the shapes differ; UsageError for a range that is none; NonFiniteError for NaN or infinite pixels.
 * @example
 * const { mean } = await psnr(zeros([2, 8, 8, 1]), full([2, 8, 8, 1], 0.2), { range: [0, 2] });
 * mean; // 20
 */
export async function psnr(a: Tensor, b: Tensor, options: ImageScoreOptions = {}): Promise<ImageScores> {
  const { a: left, b: right, count, span } = await readPair("psnr", a, b, options);
  const size = left.length / count;
  return withMean(
    Float64Array.from({ length: count }, (_, image) => {
      let sum = 0;
      for (let i = image * size; i < (image + 1) * size; i++) sum += ((left[i] as number) - (right[i] as number)) ** 2;
      return 10 * Math.log10((span * span * size) / sum);
    }),
  );
}
