// What the output of a decoder means: a distribution over images. Its log-probability is the reconstruction term of
// every bound. One file per family beside this one.

import { Module } from "@figment/nn";
import { type Rng, ShapeError, showShape, type Tensor } from "@figment/tensor";

/**
 * A distribution p(x | z) whose parameters a decoder gives, [N,H,W, outputs·C] for images [N,H,W,C].
 *
 * Likelihoods are modules, so that one with parameters of its own trains with its model.
 *
 * @example
 * class LaplaceLikelihood extends Likelihood {
 *   readonly outputs = 1;
 *   readonly range = [-1, 1] as const;
 *   logDensity(output: Tensor, x: Tensor): Tensor {
 *     return perImage(x.sub(output).abs().neg().sub(Math.LN2));
 *   }
 *   mean(output: Tensor): Tensor {
 *     return output;
 *   }
 *   draw(output: Tensor, random: Rng): Tensor {
 *     const u = random.uniform(output.shape).sub(0.5);
 *     return output.sub(u.sign().mul(u.abs().mul(-2).log1p()));
 *   }
 * }
 * new LaplaceLikelihood().logDensity(zeros([1, 2, 2, 1]), zeros([1, 2, 2, 1])).at(0); // -2.772589
 */
export abstract class Likelihood extends Module {
  /** Numbers that the decoder gives for each of an image. */
  abstract readonly outputs: 1 | 2;
  /** Values of the bytes 0 and 255 in the images that it takes; the loader's `range`. */
  abstract readonly range: readonly [number, number];

  /**
   * ln p(x | z), in nats per image.
   *
   * @param output of the decoder, [N,H,W, outputs·C].
   * @param x images [N,H,W,C] in the likelihood's range.
   * @returns [N].
   */
  abstract logDensity(output: Tensor, x: Tensor): Tensor;

  /** The expected image, [N,H,W,C] in the likelihood's range. */
  abstract mean(output: Tensor): Tensor;

  /** An image drawn from p(x | z), [N,H,W,C]. */
  abstract draw(output: Tensor, random: Rng): Tensor;

  /** @throws ShapeError unless the output fits the images. */
  protected expectFit(output: Tensor, x: Tensor): void {
    const expected = [...x.shape.slice(0, -1), this.outputs * (x.shape.at(-1) ?? 0)];
    if (x.rank < 2 || String(output.shape) !== String(expected))
      throw new ShapeError(
        `${this.constructor.name}: for images ${showShape(x.shape)} expected an output ${showShape(expected)}, got ${showShape(output.shape)}`,
      );
  }
}
