// A VAE with discrete latents, trained through a relaxation: Gumbel-softmax (Jang et al. 2017), or the concrete
// distribution (Maddison et al. 2017). Latents are `variables` categories of `classes` each; the prior is uniform.

import { BufferCell, checkCounts, checkPositive, constantInit, Module } from "@figment/nn";
import {
  arange,
  argmax,
  checkObject,
  checkTensor,
  logSoftmax,
  type Rng,
  ShapeError,
  scope,
  showShape,
  softmax,
  stopGradient,
  type Tensor,
  zeros,
} from "@figment/tensor";
import { BernoulliLikelihood } from "../likelihoods/bernoulli.js";
import type { Likelihood } from "../likelihoods/likelihood.js";
import type { Decoder, Encoder } from "../networks/network.js";
import { perImage } from "../units.js";
import type { Draw, LatentModel } from "./latentModel.js";

/** Options of {@link CategoricalVAE}. */
export interface CategoricalVAEOptions {
  /** Gives logits: variables × classes features. */
  readonly encoder: Encoder;
  /** From variables × classes latents. */
  readonly decoder: Decoder;
  readonly variables: number;
  readonly classes: number;
  /** Whether training decodes one-hot vectors and differentiates the relaxed ones (straight-through). Default false. */
  readonly hard?: boolean;
  /** What the decoder's output means. Default Bernoulli. */
  readonly likelihood?: Likelihood;
}

/**
 * Uniform numbers are multiples of 2⁻²⁴ below 1: half a step away from 0, whose logarithm is −∞, and no nearer to 1, where that
 * of the logarithm is, than they are.
 */
const [least, most] = [2 ** -25, 1 - 2 ** -24];

/** One-hot vectors of the largest element along the last axis. */
const oneHotMax = (x: Tensor): Tensor =>
  argmax(x, -1, { keepDims: true })
    .eq(arange(x.shape.at(-1) as number))
    .cast(x.dtype);

/**
 * Draws from the Gumbel-softmax distribution, softmax((logits + g)/τ) with g = −ln(−ln u) (Jang et al. 2017, eq. 1–2); for
 * τ → 0 one-hot vectors with probabilities softmax(logits).
 *
 * @param logits [..., classes].
 * @param temperature τ > 0: a number or a 0-d tensor.
 * @param hard gives the one-hot vector of the largest, with the derivative of the relaxed one.
 * @returns of the logits' shape; rows sum to 1.
 * @throws UsageError unless a number τ is above 0.
 * @example
 * gumbelSoftmax(zeros([2, 3]), rng(0), 0.5).sum(); // 2
 */
export function gumbelSoftmax(logits: Tensor, random: Rng, temperature: number | Tensor, hard = false): Tensor {
  checkTensor("gumbelSoftmax", "logits", logits);
  checkObject("gumbelSoftmax", "random", random, "uniform");
  if (typeof temperature === "object") checkTensor("gumbelSoftmax", "temperature", temperature);
  else checkPositive("gumbelSoftmax", { temperature });
  return scope(() => {
    const gumbel = random.uniform(logits.shape).clamp(least, most).log().neg().log().neg();
    const relaxed = softmax(logits.add(gumbel).div(temperature));
    return hard ? relaxed.add(stopGradient(oneHotMax(relaxed).sub(relaxed))) : relaxed;
  });
}

/**
 * A VAE of categorical latents. In training its draws are relaxed with the cell `temperature`; in evaluation they are
 * one-hot, so that bounds are those of the discrete model.
 *
 * @example
 * const encoder = new DenseEncoder({ image: [8, 8, 1], hidden: [32], features: 12 });
 * const decoder = new DenseDecoder({ latents: 12, hidden: [32], image: [8, 8, 1] });
 * const model = new CategoricalVAE({ encoder, decoder, variables: 4, classes: 3 }).init(rng(0));
 * model.infer(zeros([2, 8, 8, 1])); // [2, 4, 3]
 */
export class CategoricalVAE extends Module implements LatentModel<Tensor> {
  readonly encoder: Encoder;
  readonly decoder: Decoder;
  readonly likelihood: Likelihood;
  readonly variables: number;
  readonly classes: number;
  readonly hard: boolean;
  /** τ, 0-d; a training step may set it from an annealing. Starts at 1. */
  readonly temperature = new BufferCell({ shape: [], init: constantInit(1), name: "temperature" });

  /** @throws ShapeError unless the networks have variables × classes features and latents. */
  constructor(options: CategoricalVAEOptions) {
    super();
    const {
      encoder,
      decoder,
      variables,
      classes,
      hard = false,
      likelihood = new BernoulliLikelihood(),
    } = checkObject("CategoricalVAE", "options", options, "encoder", "decoder", "variables", "classes");
    checkCounts("CategoricalVAE", { variables, classes });
    const size = variables * classes;
    checkObject("CategoricalVAE", "encoder", encoder, "features", "forward");
    checkObject("CategoricalVAE", "decoder", decoder, "latents", "forward");
    checkObject("CategoricalVAE", "likelihood", likelihood, "logDensity");
    if (encoder.features !== size || decoder.latents !== size)
      throw new ShapeError(
        `CategoricalVAE: ${variables} variables of ${classes} classes need ${size} features and latents, the networks have ${encoder.features} and ${decoder.latents}`,
      );
    this.encoder = encoder;
    this.decoder = decoder;
    this.likelihood = likelihood;
    this.variables = variables;
    this.classes = classes;
    this.hard = hard;
  }

  /** ln q of every class of every variable, [N, variables, classes]. */
  infer(x: Tensor, label?: Tensor): Tensor {
    return scope(() => {
      const logits = this.encoder.forward(x, label);
      return logSoftmax(logits.reshape([x.dim(0), this.variables, this.classes]));
    });
  }

  draw(logQ: Tensor, x: Tensor, random: Rng, label?: Tensor): Draw {
    return scope(() => {
      const z = this.training
        ? gumbelSoftmax(logQ, random, this.temperature.value, this.hard)
        : gumbelSoftmax(logQ, random, 1, true);
      const logPrior = -Math.log(this.classes);
      return {
        latents: [z],
        logLikelihood: this.likelihood.logDensity(this.decoder.forward(this.flat(z), label), x),
        kl: [logQ.sub(logPrior).mul(logQ.exp()).sum(2)],
        // Exact for one-hot z; for relaxed ones its expectation over the classes.
        logRatio: perImage(z.mul(logQ.neg().add(logPrior))),
      };
    });
  }

  /**
   * The expected images at one-hot latents [N, variables, classes].
   *
   * @throws ShapeError for latents of another shape.
   */
  decode(z: Tensor, label?: Tensor): Tensor {
    if (String(z.shape.slice(1)) !== String([this.variables, this.classes]))
      throw new ShapeError(
        `CategoricalVAE.decode: expected z of shape [N, ${this.variables}, ${this.classes}], got ${showShape(z.shape)}`,
      );
    return scope(() => this.likelihood.mean(this.decoder.forward(this.flat(z), label)));
  }

  /** The expected images at the most probable classes: [N,H,W,C] → [N,H,W,C]. */
  reconstruct(x: Tensor, label?: Tensor): Tensor {
    return scope(() => this.decode(oneHotMax(this.infer(x, label)), label));
  }

  /** {@link CategoricalVAE.reconstruct}, so that summaries see the whole model. */
  forward(x: Tensor, label?: Tensor): Tensor {
    return this.reconstruct(x, label);
  }

  /** Expected images at classes drawn from the uniform prior, [n,H,W,C]. */
  sample(n: number, random: Rng, { label }: { readonly label?: Tensor } = {}): Tensor {
    checkCounts("CategoricalVAE.sample", { n });
    return scope(() => this.decode(gumbelSoftmax(zeros([n, this.variables, this.classes]), random, 1, true), label));
  }

  private flat(z: Tensor): Tensor {
    return z.reshape([z.dim(0), this.variables * this.classes]);
  }
}
