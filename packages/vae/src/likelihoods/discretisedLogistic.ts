// Discretised logistic likelihood (Kingma et al. 2016, appendix; Salimans et al. 2017, section 2.1): the probability of
// one of 256 byte values is what a logistic distribution puts into its bin.

import { type Rng, scope, select, split, type Tensor } from "@figment/tensor";
import { perImage } from "../units.js";
import { Likelihood } from "./likelihood.js";

/** Byte values 0 … 255 lie at −1 … 1, this far apart. */
const spacing = 2 / 255;
/** Scales are kept above e^−7 by a softplus, a ninth of a bin, so that no bin's logarithm overflows. */
const leastLogScale = -7;

/**
 * ln p(x | z) = Σ ln(σ((x + ½Δ − μ)/s) − σ((x − ½Δ − μ)/s)) with Δ = 2/255, the outermost bins open to ±∞, so that the
 * probabilities of the 256 values sum to 1. The decoder gives μ and ln s, first all means. Images lie in [−1, 1], on
 * multiples of Δ from −1.
 *
 * With a = (x + ½Δ − μ)/s and b = (x − ½Δ − μ)/s the difference is σ(a)·σ(−b)·(1 − e^(b − a)), whose logarithm loses
 * nothing where the difference itself would be 0.
 *
 * @example
 * const p = new DiscretisedLogisticLikelihood();
 * p.logDensity(zeros([1, 4, 4, 2]), rng(0).uniform([1, 4, 4, 1]).mul(255).round().mul(2 / 255).sub(1)); // [1]
 */
export class DiscretisedLogisticLikelihood extends Likelihood {
  readonly outputs = 2;
  readonly range = [-1, 1] as const;

  logDensity(output: Tensor, x: Tensor): Tensor {
    this.expectFit(output, x);
    return scope(() => {
      const { mean, inverseScale } = this.logistic(output);
      const centred = x.sub(mean);
      const upper = centred.add(spacing / 2).mul(inverseScale);
      const lower = centred.sub(spacing / 2).mul(inverseScale);
      const width = inverseScale.mul(spacing);
      const logUpper = upper.neg().softplus().neg();
      const logAboveLower = lower.softplus().neg();
      const logInterior = logUpper.add(logAboveLower).add(width.neg().expm1().neg().log());
      const edge = 1 - spacing / 2;
      const log = select(x.lt(-edge), logUpper, select(x.gt(edge), logAboveLower, logInterior));
      return perImage(log);
    });
  }

  /** The location μ, limited to [−1, 1]. */
  mean(output: Tensor): Tensor {
    return scope(() => this.logistic(output).mean.clamp(-1, 1));
  }

  draw(output: Tensor, random: Rng): Tensor {
    return scope(() => {
      const { mean, inverseScale } = this.logistic(output);
      // Away from 0 and 1, where the quantile is infinite, by half a step of the uniform numbers.
      const u = random
        .uniform(mean.shape)
        .add(2 ** -25)
        .clamp(2 ** -25, 1 - 2 ** -24);
      const level = mean.add(u.log().sub(u.neg().log1p()).div(inverseScale));
      return level.add(1).div(spacing).round().clamp(0, 255).mul(spacing).sub(1);
    });
  }

  private logistic(output: Tensor): { mean: Tensor; inverseScale: Tensor } {
    const [mean, raw] = split(output, 2, -1) as [Tensor, Tensor];
    const logScale = raw.sub(leastLogScale).softplus().add(leastLogScale);
    return { mean, inverseScale: logScale.neg().exp() };
  }
}
