// Gaussian likelihood with a fixed variance, one learned variance, or one that the decoder gives for each pixel.

import { Parameter, zeroInit } from "@figment/nn";
import { checkObject, checkRange, full, type Rng, scope, split, type Tensor, UsageError } from "@figment/tensor";
import { drawGaussian, type Gaussian, gaussianLogDensity } from "../gaussian.js";
import { perImage } from "../units.js";
import { Likelihood } from "./likelihood.js";

/** Where the variance of a {@link GaussianLikelihood} comes from. */
export interface GaussianLikelihoodOptions {
  /**
   * A number: fixed. "shared": one learned number for all pixels (Rybkin et al. 2021, section 3.1). "pixel": the second
   * half of the decoder's channels is ln σ² of each pixel. Default "shared".
   */
  readonly variance?: number | "shared" | "pixel";
  /** Values of the bytes 0 and 255. Default [-1, 1]. */
  readonly range?: readonly [number, number];
}

/**
 * ln σ² of pixels is kept above this by a softplus: pixels that never change would take it to −∞ and the density to +∞
 * (one grey level of [−1, 1] is 2/255, whose square is e^−9.7).
 */
const leastLogVariance = -9.7;

/**
 * ln p(x | z) = Σ ln N(x; μ, σ²), a density: its numbers depend on the images' range and may be of either sign.
 *
 * @example
 * const p = new GaussianLikelihood({ variance: 1 });
 * p.logDensity(zeros([1, 2, 2, 1]), zeros([1, 2, 2, 1])).at(0); // -3.675754
 */
export class GaussianLikelihood extends Likelihood {
  readonly outputs: 1 | 2;
  readonly range: readonly [number, number];
  readonly variance: number | "shared" | "pixel";
  /** ln σ² where it is shared, [1]; starts at 0. */
  readonly logVariance: Parameter | null;

  /** @throws UsageError unless the variance is a positive number, "shared" or "pixel". */
  constructor(options: GaussianLikelihoodOptions = {}) {
    super();
    const { variance = "shared", range = [-1, 1] } = checkObject("GaussianLikelihood", "options", options);
    const valid = typeof variance === "number" ? variance > 0 && Number.isFinite(variance) : undefined;
    if (valid === false || (valid === undefined && variance !== "shared" && variance !== "pixel"))
      throw new UsageError(
        `GaussianLikelihood: variance must be a positive number, "shared" or "pixel", got ${JSON.stringify(variance)}`,
      );
    checkRange("GaussianLikelihood", range);
    this.outputs = variance === "pixel" ? 2 : 1;
    this.range = range;
    this.variance = variance;
    this.logVariance =
      variance === "shared" ? new Parameter({ shape: [1], init: zeroInit, name: "logVariance" }) : null;
  }

  logDensity(output: Tensor, x: Tensor): Tensor {
    this.expectFit(output, x);
    return scope(() => perImage(gaussianLogDensity(this.gaussian(output), x)));
  }

  mean(output: Tensor): Tensor {
    return this.outputs === 2 ? scope(() => this.gaussian(output).mean) : output;
  }

  draw(output: Tensor, random: Rng): Tensor {
    return scope(() => drawGaussian(this.gaussian(output), random));
  }

  /** Mean and ln σ² of each pixel. */
  private gaussian(output: Tensor): Gaussian {
    if (this.variance === "pixel") {
      const [mean, raw] = split(output, 2, -1) as [Tensor, Tensor];
      return { mean, logVariance: raw.sub(leastLogVariance).softplus().add(leastLogVariance) };
    }
    const { shape, dtype } = output;
    const logVariance = this.logVariance
      ? this.logVariance.as(dtype).broadcastTo(shape)
      : full(shape, Math.log(this.variance as number), dtype);
    return { mean: output, logVariance };
  }
}
