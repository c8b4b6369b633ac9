// The ladder VAE (Sønderby et al. 2016): several stochastic layers. A deterministic pass upwards says what the image tells
// of each layer; on the way down it is merged, weighted by precisions, with what the layers above predict (eq. 12–14).

import { checkCounts, checkCountsOf, Linear, Module } from "@figment/nn";
import {
  add,
  checkObject,
  type Rng,
  ShapeError,
  scope,
  showShape,
  silu,
  split,
  type Tensor,
  UsageError,
  zeros,
} from "@figment/tensor";
import { checkGaussian, drawGaussian, type Gaussian, gaussianKl, gaussianLogDensity } from "../gaussian.js";
import { BernoulliLikelihood } from "../likelihoods/bernoulli.js";
import type { Likelihood } from "../likelihoods/likelihood.js";
import { DenseDecoder } from "../networks/dense.js";
import { checkImage, type Decoder, type ImageShape } from "../networks/network.js";
import { perImage } from "../units.js";
import type { Draw, LatentModel } from "./latentModel.js";

/** Options of {@link LadderVAE}. */
export interface LadderVAEOptions {
  /** [H, W, C] of the images. */
  readonly image: ImageShape;
  /** Latents of each stochastic layer, the one nearest to the image first; two at least. */
  readonly latents: readonly number[];
  /** Width of the deterministic layers of each rung, the one nearest to the image first. */
  readonly hidden: readonly number[];
  /** What the decoder's output means. Default Bernoulli. */
  readonly likelihood?: Likelihood;
}

/** Bounds of ln σ² of every distribution of the ladder: precisions are compared, so none may run away. */
const logVarianceBounds = [-12, 6] as const;

const gaussianOf = (statistics: Tensor): Gaussian => {
  const [mean, raw] = split(statistics, 2, 1) as [Tensor, Tensor];
  return { mean, logVariance: raw.clamp(...logVarianceBounds) };
};

/** Two hidden layers and a linear one. */
class Perceptron extends Module {
  readonly layers: readonly [Linear, Linear];
  readonly head: Linear;

  constructor(inputs: number, hidden: number, outputs: number, inputImage?: ImageShape) {
    super();
    this.layers = [new Linear(inputs, hidden, { inputImage }), new Linear(hidden, hidden)];
    this.head = new Linear(hidden, outputs);
  }

  /** The hidden state and the head's result. */
  forward(x: Tensor): { readonly hidden: Tensor; readonly result: Tensor } {
    const hidden = this.layers.reduce((h, layer) => silu(layer.forward(h)), x);
    return { hidden, result: this.head.forward(hidden) };
  }
}

/**
 * The product of two Gaussians' densities, normalised: precisions add up, means are weighted by them (Sønderby et al.
 * 2016, eq. 13–14).
 *
 * @example
 * const unit = { mean: tensor([0]), logVariance: tensor([0]) };
 * mergeGaussians(unit, { mean: tensor([2]), logVariance: tensor([0]) }).mean.at(0); // 1
 */
export function mergeGaussians(a: Gaussian, b: Gaussian): Gaussian {
  for (const gaussian of [a, b]) checkGaussian("mergeGaussians", gaussian);
  return scope(() => {
    // σ² = 1/(1/σₐ² + 1/σ_b²); its logarithm is −softplus of a difference, which overflows nowhere.
    const difference = a.logVariance.sub(b.logVariance);
    const shareOfB = difference.sigmoid();
    return {
      mean: a.mean.add(b.mean.sub(a.mean).mul(shareOfB)),
      logVariance: a.logVariance.sub(difference.softplus()),
    };
  });
}

/**
 * A ladder of dense layers. p(z) = N(z_L; 0, I)·Πᵢ p(zᵢ | zᵢ₊₁), each conditional a Gaussian whose parameters a network gives;
 * q(z | x) = Πᵢ q(zᵢ | zᵢ₊₁, x).
 *
 * @example
 * const model = new LadderVAE({ image: [8, 8, 1], latents: [8, 4], hidden: [32, 16] }).init(rng(0));
 * const { kl } = model.draw(model.infer(zeros([2, 8, 8, 1])), zeros([2, 8, 8, 1]), rng(1));
 * kl[1]; // [2, 4]
 */
export class LadderVAE extends Module implements LatentModel<readonly Gaussian[]> {
  readonly image: ImageShape;
  readonly latents: readonly number[];
  /** Upwards: what the image tells of each layer. */
  readonly up: readonly Perceptron[];
  /** Downwards: p(zᵢ | zᵢ₊₁) of every layer but the top. */
  readonly down: readonly Perceptron[];
  readonly decoder: Decoder;
  readonly likelihood: Likelihood;

  /** @throws UsageError when a number is out of range, there are fewer than two layers, or widths are missing. */
  constructor(options: LadderVAEOptions) {
    super();
    const {
      image,
      latents,
      hidden,
      likelihood = new BernoulliLikelihood(),
    } = checkObject("LadderVAE", "options", options, "image", "latents", "hidden");
    checkCountsOf("LadderVAE", "latents", latents);
    checkCountsOf("LadderVAE", "hidden", hidden);
    checkImage("LadderVAE", image);
    if (latents.length < 2 || hidden.length !== latents.length)
      throw new UsageError(
        `LadderVAE: expected latents and hidden widths of two stochastic layers at least, got ${latents.length} and ${hidden.length}`,
      );
    const [h, w, c] = image;
    const width = (i: number): number => hidden[i] as number;
    const size = (i: number): number => latents[i] as number;
    this.image = image;
    this.latents = latents;
    this.up = latents.map((count, i) =>
      i === 0
        ? new Perceptron(h * w * c, width(i), 2 * count, image)
        : new Perceptron(width(i - 1), width(i), 2 * count),
    );
    this.down = latents.slice(1).map((count, i) => new Perceptron(count, width(i + 1), 2 * size(i)));
    this.decoder = new DenseDecoder({
      latents: size(0),
      hidden: [width(0), width(0)],
      image,
      outputs: likelihood.outputs,
    });
    this.likelihood = likelihood;
  }

  /**
   * What the image tells of each layer, the one nearest to it first.
   *
   * @throws ShapeError when x is not [N, ...image].
   */
  infer(x: Tensor): readonly Gaussian[] {
    if (String(x.shape.slice(1)) !== String(this.image))
      throw new ShapeError(`LadderVAE: expected x of shape [N, ${this.image.join(", ")}], got ${showShape(x.shape)}`);
    return scope(() => {
      let h = x.reshape([x.dim(0), x.size / x.dim(0)]);
      return this.up.map((rung) => {
        const { hidden, result } = rung.forward(h);
        h = hidden;
        return gaussianOf(result);
      });
    });
  }

  draw(evidence: readonly Gaussian[], x: Tensor, random: Rng): Draw {
    return scope(() => {
      const steps = this.descend(x.dim(0), (i, prior) => {
        const told = evidence[i] as Gaussian;
        const posterior = i === this.latents.length - 1 ? told : mergeGaussians(told, prior);
        const z = drawGaussian(posterior, random);
        const logRatio = perImage(gaussianLogDensity(prior, z).sub(gaussianLogDensity(posterior, z)));
        return { z, kl: gaussianKl(posterior, prior), logRatio };
      });
      const { z } = steps[0] as { z: Tensor };
      return {
        latents: steps.map((step) => step.z),
        logLikelihood: this.likelihood.logDensity(this.decoder.forward(z), x),
        kl: steps.map((step) => step.kl),
        logRatio: steps.map((step) => step.logRatio).reduce((a, b) => add(a, b)),
      };
    });
  }

  /** The expected images at the posterior's means, layer by layer: [N,H,W,C] → [N,H,W,C]. */
  reconstruct(x: Tensor): Tensor {
    return scope(() => {
      const evidence = this.infer(x);
      const top = this.latents.length - 1;
      const [nearest] = this.descend(x.dim(0), (i, prior) => {
        const told = evidence[i] as Gaussian;
        return { z: i === top ? told.mean : mergeGaussians(told, prior).mean };
      });
      return this.likelihood.mean(this.decoder.forward((nearest as { z: Tensor }).z));
    });
  }

  /** {@link LadderVAE.reconstruct}, so that summaries see the whole model. */
  forward(x: Tensor): Tensor {
    return this.reconstruct(x);
  }

  /** Expected images at latents drawn from the prior, from the top down: [n,H,W,C]. */
  sample(n: number, random: Rng, { temperature = 1 }: { readonly temperature?: number } = {}): Tensor {
    checkCounts("LadderVAE.sample", { n });
    return scope(() => {
      const [nearest] = this.descend(n, (_i, { mean, logVariance }) => {
        const noise = random.normal(mean.shape).mul(temperature);
        return { z: logVariance.mul(0.5).exp().mul(noise).add(mean) };
      });
      return this.likelihood.mean(this.decoder.forward((nearest as { z: Tensor }).z));
    });
  }

  /** Goes from the top layer to the one nearest to the image; `step` chooses z given the layer's prior. */
  private descend<S extends { readonly z: Tensor }>(n: number, step: (i: number, prior: Gaussian) => S): S[] {
    const top = this.latents.length - 1;
    const steps: S[] = [];
    const standard = zeros([n, this.latents[top] as number]);
    let prior: Gaussian = { mean: standard, logVariance: standard };
    for (let i = top; i >= 0; i--) {
      const made = step(i, prior);
      steps.unshift(made);
      if (i > 0) prior = gaussianOf((this.down[i - 1] as Perceptron).forward(made.z).result);
    }
    return steps;
  }
}
