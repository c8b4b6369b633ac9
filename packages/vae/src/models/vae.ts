// The variational autoencoder (Kingma & Welling 2014), and with classes the conditional one (Sohn et al. 2015):
// z ~ N(0, I), x ~ p(x | z), q(z | x) = N(μ(x), diag σ²(x)); with labels, all but the prior are told them.

import { checkCounts, checkNotNegative, Module } from "@figment/nn";
import { checkObject, type Rng, ShapeError, scope, showShape, split, type Tensor } from "@figment/tensor";
import { drawGaussian, type Gaussian, gaussianKl, gaussianLogDensity, standardLogDensity } from "../gaussian.js";
import { BernoulliLikelihood } from "../likelihoods/bernoulli.js";
import type { Likelihood } from "../likelihoods/likelihood.js";
import type { Decoder, Encoder } from "../networks/network.js";
import { perImage } from "../units.js";
import type { Draw, LatentModel } from "./latentModel.js";

/** Parts of a {@link VAE}. */
export interface VAEOptions {
  /** Gives means, then ln σ², of the posterior: its features are twice the decoder's latents. */
  readonly encoder: Encoder;
  readonly decoder: Decoder;
  /** What the decoder's output means. Default Bernoulli. */
  readonly likelihood?: Likelihood;
}

/** Options of {@link VAE.sample}. */
export interface SampleVaeOptions {
  /** Labels i32 [n], for a conditional model. */
  readonly label?: Tensor;
  /** Standard deviation of the latents. Default 1. */
  readonly temperature?: number;
}

/**
 * A VAE of two networks and a likelihood.
 *
 * @example
 * const encoder = new DenseEncoder({ image: [8, 8, 1], hidden: [32], features: 8 });
 * const decoder = new DenseDecoder({ latents: 4, hidden: [32], image: [8, 8, 1] });
 * const model = new VAE({ encoder, decoder }).init(rng(0));
 * model.reconstruct(zeros([2, 8, 8, 1])); // [2, 8, 8, 1]
 * model.sample(3, rng(1)); // [3, 8, 8, 1]
 */
export class VAE extends Module implements LatentModel<Gaussian> {
  readonly encoder: Encoder;
  readonly decoder: Decoder;
  readonly likelihood: Likelihood;

  /** @throws ShapeError unless the encoder gives two numbers for each of the decoder's latents. */
  constructor(options: VAEOptions) {
    super();
    const {
      encoder,
      decoder,
      likelihood = new BernoulliLikelihood(),
    } = checkObject("VAE", "options", options, "encoder", "decoder");
    checkObject("VAE", "encoder", encoder, "features", "forward");
    checkObject("VAE", "decoder", decoder, "latents", "forward");
    checkObject("VAE", "likelihood", likelihood, "logDensity");
    if (encoder.features !== 2 * decoder.latents)
      throw new ShapeError(
        `VAE: a decoder of ${decoder.latents} latents needs ${2 * decoder.latents} features, the encoder gives ${encoder.features}`,
      );
    this.encoder = encoder;
    this.decoder = decoder;
    this.likelihood = likelihood;
  }

  get latents(): number {
    return this.decoder.latents;
  }

  /** The posterior q(z | x): mean and ln σ², each [N, latents]. */
  infer(x: Tensor, label?: Tensor): Gaussian {
    return scope(() => {
      const [mean, logVariance] = split(this.encoder.forward(x, label), 2, 1) as [Tensor, Tensor];
      return { mean, logVariance };
    });
  }

  draw(posterior: Gaussian, x: Tensor, random: Rng, label?: Tensor): Draw {
    return scope(() => {
      const z = drawGaussian(posterior, random);
      return {
        latents: [z],
        logLikelihood: this.likelihood.logDensity(this.decoder.forward(z, label), x),
        kl: [gaussianKl(posterior)],
        logRatio: perImage(standardLogDensity(z).sub(gaussianLogDensity(posterior, z))),
      };
    });
  }

  /**
   * The expected images at latents z [N, latents], in the likelihood's range.
   *
   * @throws ShapeError when z is not [N, latents].
   */
  decode(z: Tensor, label?: Tensor): Tensor {
    if (z.rank !== 2 || z.dim(1) !== this.latents)
      throw new ShapeError(`VAE.decode: expected z of shape [N, ${this.latents}], got ${showShape(z.shape)}`);
    return scope(() => this.likelihood.mean(this.decoder.forward(z, label)));
  }

  /** The expected images at the posterior's means: [N,H,W,C] → [N,H,W,C]. */
  reconstruct(x: Tensor, label?: Tensor): Tensor {
    return scope(() => this.decode(this.infer(x, label).mean, label));
  }

  /** {@link VAE.reconstruct}, so that summaries see the whole model. */
  forward(x: Tensor, label?: Tensor): Tensor {
    return this.reconstruct(x, label);
  }

  /** Expected images at latents drawn from the prior, [n,H,W,C] in the likelihood's range. */
  sample(n: number, random: Rng, { label, temperature = 1 }: SampleVaeOptions = {}): Tensor {
    checkCounts("VAE.sample", { n });
    checkNotNegative("VAE.sample", { temperature });
    return scope(() => this.decode(random.normal([n, this.latents]).mul(temperature), label));
  }
}
