// Denoising diffusion (Ho et al. 2020): the forward process, the training loss, the posterior, and sampling.

import { checkNotNegative } from "@figment/nn";
import {
  addNoise,
  Cell,
  checkObject,
  checkTensor,
  gather,
  type Precision,
  type Rng,
  scope,
  type Tensor,
  UsageError,
} from "@figment/tensor";
import {
  type BoundOptions,
  type BoundResult,
  type BoundTables,
  boundTables,
  evaluateBound,
  stepBound,
} from "./bound.js";
import { type LossWeighting, lossWeights } from "./lossWeights.js";
import { posterior } from "./samplers/ddpm.js";
import type { Prediction } from "./samplers/row.js";
import {
  type Frame,
  runSampler,
  type SampledProcess,
  type SampleOptions,
  type SampleStepsOptions,
} from "./sampling.js";
import { alphasCumprod } from "./schedule.js";
import { beside, compileDenoiseStep, type Denoiser, type DenoiseStep, type LearnedVariance } from "./step.js";

/** Options of {@link Diffusion}. */
export interface DiffusionOptions {
  /**
   * Variance of the noise that each step of the forward process adds; as long as there are steps. A Float32Array is
   * accumulated as PyTorch does: the products of float32 1 − β, in float64, rounded to float32.
   */
  readonly betas: ArrayLike<number>;
  /** What the network predicts. Default "epsilon". */
  readonly predict?: Prediction;
  /**
   * Whether the network says variances too, in a second half of its channels: their logarithm ("learned"), or where
   * between its bounds it lies, from -1 to 1 ("learned-range", Nichol & Dhariwal 2021, eq. 15). The loss is then L_hybrid
   * (eq. 16). Default "fixed".
   */
  readonly variance?: "fixed" | LearnedVariance;
  /** How much each timestep counts in the loss. Default "simple": all alike. */
  readonly weighting?: LossWeighting;
  /** The share of labels that the loss replaces by "no class", for guidance (Ho & Salimans 2022, algorithm 1). Default 0. */
  readonly labelDropout?: number;
  /** λ of L_hybrid (Nichol & Dhariwal 2021, eq. 16). Default 0.001. */
  readonly boundWeight?: number;
}

/**
 * A diffusion process: q(xₜ | xₜ₋₁) = N(√(1 − βₜ)·xₜ₋₁, βₜ·I) (Ho et al. 2020, eq. 2), t counted from 0.
 *
 * @example
 * const diffusion = new Diffusion({ betas: cosineBetas(1000) });
 * const loss = diffusion.loss(model, images, random);
 */
export class Diffusion implements SampledProcess {
  /** βₜ. */
  readonly betas: Float64Array;
  /** ᾱₜ, accumulated in float64. */
  readonly alphasCumprod: Float64Array;
  readonly predict: Prediction;
  readonly variance: "fixed" | LearnedVariance;
  readonly labelDropout: number;
  /** √ᾱₜ and √(1 − ᾱₜ), f32 [steps]; and the negative of the latter, for v. */
  private readonly signal: Cell;
  private readonly noise: Cell;
  private readonly negativeNoise: Cell;
  private readonly posteriorVariance: Cell;
  /** How much each timestep counts; null where all count alike. */
  private readonly weights: Cell | null;
  private readonly bound: BoundTables;
  private readonly boundWeight: number;
  /** The sampling step, compiled for each precision that has been asked for. */
  private readonly denoisers = new Map<Precision, DenoiseStep>();

  /** @throws UsageError when a β is not in (0, 1], or an option is none of those there are. */
  constructor(options: DiffusionOptions) {
    const { betas, predict = "epsilon", variance = "fixed", weighting = "simple" } = options ?? {};
    const { labelDropout = 0, boundWeight = 1e-3 } = options ?? {};
    if (!["epsilon", "x0", "v"].includes(predict)) {
      throw new UsageError(`Diffusion: predict must be "epsilon", "x0" or "v", got ${JSON.stringify(predict)}`);
    }
    if (!["fixed", "learned", "learned-range"].includes(variance)) {
      throw new UsageError(
        `Diffusion: variance must be "fixed", "learned" or "learned-range", got ${JSON.stringify(variance)}`,
      );
    }
    if (!(labelDropout >= 0 && labelDropout <= 1))
      throw new UsageError(`Diffusion: labelDropout must be in [0, 1], got ${labelDropout}`);
    checkNotNegative("Diffusion", { boundWeight });
    if (betas?.length === undefined)
      throw new UsageError("Diffusion: expected { betas }, for example cosineBetas(1000)");
    this.alphasCumprod = alphasCumprod(betas);
    this.betas = Float64Array.from(betas);
    this.predict = predict;
    this.variance = variance;
    this.labelDropout = labelDropout;
    this.boundWeight = boundWeight;
    const table = (name: string, value: (alphaBar: number, previous: number) => number): Cell =>
      new Cell({
        shape: [this.steps],
        name: `Diffusion.${name}`,
        initial: () => this.alphasCumprod.map((alphaBar, t) => value(alphaBar, this.alphasCumprod[t - 1] ?? 1)),
      });
    this.signal = table("signal", Math.sqrt);
    this.noise = table("noise", (alphaBar) => Math.sqrt(1 - alphaBar));
    this.negativeNoise = table("negativeNoise", (alphaBar) => -Math.sqrt(1 - alphaBar));
    this.posteriorVariance = table("variance", (alphaBar, previous) => posterior(alphaBar, previous).variance);
    const counts = lossWeights(weighting, predict, this.alphasCumprod);
    this.weights = counts && new Cell({ shape: [this.steps], name: "Diffusion.weights", initial: () => counts });
    this.bound = boundTables(this);
  }

  /** Number of steps of the forward process. */
  get steps(): number {
    return this.betas.length;
  }

  /**
   * Draws from q(xₜ | x₀) = N(√ᾱₜ·x₀, (1 − ᾱₜ)·I) given the noise (Ho et al. 2020, eq. 4).
   *
   * @param x0 [N, ...].
   * @param t i32 [N], each in [0, steps); others make reading the result fail with ERR_FIGMENT_INDEX.
   * @param noise standard normal, of x0's shape.
   */
  qSample(x0: Tensor, t: Tensor, noise: Tensor): Tensor {
    return scope(() => addNoise(x0, noise, t, this.signal.value, this.noise.value));
  }

  /**
   * Mean and variance of q(xₜ₋₁ | xₜ, x₀) (Ho et al. 2020, eq. 6–7).
   *
   * @returns mean of x0's shape; variance [N], 0 at t = 0.
   */
  posterior(x0: Tensor, xt: Tensor, t: Tensor): { mean: Tensor; variance: Tensor } {
    return scope(() => ({
      mean: addNoise(x0, xt, t, this.bound.onX0.value, this.bound.onXt.value),
      variance: gather(this.posteriorVariance.value, t),
    }));
  }

  /** What the network should give at (xₜ, t): ε, x₀, or v = √ᾱₜ·ε − √(1 − ᾱₜ)·x₀ (Salimans & Ho 2022, appendix D). */
  target(x0: Tensor, t: Tensor, noise: Tensor): Tensor {
    if (this.predict === "epsilon") return noise;
    if (this.predict === "x0") return x0;
    return scope(() => addNoise(noise, x0, t, this.signal.value, this.negativeNoise.value));
  }

  /** Timesteps i32 [n], uniform over 0 … steps − 1. */
  timesteps(n: number, random: Rng): Tensor {
    // The product may round up to `steps` when there are very many.
    return scope(() =>
      random
        .uniform([n])
        .mul(this.steps)
        .cast("i32")
        .minimum(this.steps - 1),
    );
  }

  /**
   * The training loss, at timesteps and noise drawn from `random`. 0-d.
   *
   * With fixed variances it is the mean squared error of the network's prediction (Ho et al. 2020, eq. 14), each timestep
   * with its weight. With learned ones a multiple of the variational bound is added that moves the variances alone: the
   * mean is held fixed in it (Nichol & Dhariwal 2021, §3.1).
   *
   * @param x0 clean images [N,H,W,C], in [-1, 1].
   * @param label i32 [N], for a network with classes.
   * @param condition channels [N,H,W,K] that the network sees beside the noisy image, as samplers give it too.
   * @throws UsageError when labels are to be left out and the network has none that stands for no class.
   */
  loss(net: Denoiser, x0: Tensor, random: Rng, label?: Tensor, condition?: Tensor): Tensor {
    checkObject("loss", "net", net, "forward");
    checkTensor("loss", "x0", x0);
    checkObject("loss", "random", random, "normal", "uniform");
    if (label !== undefined) checkTensor("loss", "label", label);
    if (condition !== undefined) checkTensor("loss", "condition", condition);
    return scope(() => {
      const t = this.timesteps(x0.dim(0), random);
      const noise = random.normal(x0.shape);
      const xt = this.qSample(x0, t, noise);
      const output = net.forward(beside(xt, condition), t, label && this.withoutSome(net, label, random));
      const { prediction, spread } = this.partsOf(output, x0);
      const squared = prediction.sub(this.target(x0, t, noise)).square();
      const simple = this.weights
        ? squared
            .mean(x0.shape.slice(1).map((_, i) => i + 1))
            .mul(gather(this.weights.value, t))
            .mean()
        : squared.mean();
      if (!spread) return simple;
      const bits = stepBound(this, this.bound, { x0, xt, t, prediction, spread, clip: false, holdMean: true });
      return simple.add(bits.mean().mul(this.boundWeight * this.steps));
    });
  }

  /**
   * The exact variational bound on the negative log-likelihood of images, in bits per dimension (Ho et al. 2020, eq. 5;
   * Nichol & Dhariwal 2021, §2.1): the prior's part, the KL divergence of every step, and the decoder's negative
   * log-likelihood of 8-bit values under a discretised Gaussian. Asks the network once for every step and batch.
   *
   * @param batches images [N,H,W,C] in [-1, 1] whose values come from 256 levels, and their labels.
   * @throws UsageError when there are no batches.
   * @example
   * const { bitsPerDim } = await diffusion.bitsPerDim(model, [{ image: images }], { rng: random });
   */
  bitsPerDim(
    net: Denoiser,
    batches: Iterable<BoundBatch> | AsyncIterable<BoundBatch>,
    options: BoundOptions,
  ): Promise<BoundResult> {
    return evaluateBound(this, this.bound, net, batches, options);
  }

  /**
   * Draws images. The network runs in evaluation mode, compiled once for all steps.
   *
   * @returns a tensor of the given shape, the caller's own.
   * @throws the signal's reason when it is aborted; the device is idle a few milliseconds later, whatever the network costs.
   * @example
   * const images = await diffusion.sample(model, { shape: [4, 28, 28, 1], sampler: ddim({ steps: 20 }), rng: rng(0) });
   */
  async sample(net: Denoiser, given: SampleOptions): Promise<Tensor> {
    const { onProgress, ...options } = checkObject("sample", "options { shape: [N, H, W, C], rng }", given);
    let last: Tensor | undefined;
    try {
      for await (const { x, step, total } of runSampler(this, this.denoiser, net, options)) {
        last?.dispose();
        last = x.clone();
        onProgress?.({ step, total });
      }
    } catch (error) {
      last?.dispose();
      throw error;
    }
    return last as Tensor;
  }

  /**
   * Draws images, yielding each step's. Leaving the loop stops the work and frees everything.
   *
   * @returns frames whose tensors are borrowed until the next one; `.clone()` keeps one.
   * @throws the signal's reason when it is aborted.
   * @example
   * for await (const { step, total, x } of diffusion.sampleSteps(model, options)) console.log(step, total, x.shape);
   */
  sampleSteps(net: Denoiser, options: SampleStepsOptions): AsyncGenerator<Frame, void, void> {
    return runSampler(this, this.denoiser, net, options);
  }

  /** The program of the latest sampling step at a precision, or nothing when there was none; see {@link Compiled}. */
  explainSampling(precision: Precision = "highest"): string | undefined {
    return this.denoisers.get(precision)?.explain();
  }

  private readonly denoiser = (precision: Precision = "highest"): DenoiseStep => {
    const known = this.denoisers.get(precision);
    if (known) return known;
    const made = compileDenoiseStep(precision);
    this.denoisers.set(precision, made);
    return made;
  };

  /** A network's output in its parts. */
  partsOf(output: Tensor, like: Tensor): { prediction: Tensor; spread?: Tensor } {
    if (this.variance === "fixed") return { prediction: output };
    const channels = like.shape.at(-1) as number;
    const half = (from: number): Tensor =>
      output.slice(
        output.shape.map((_, axis) => (axis === output.rank - 1 ? from : 0)),
        like.shape,
      );
    return { prediction: half(0), spread: half(channels) };
  }

  /** Labels, some of them replaced by the one that stands for no class. */
  private withoutSome(net: Denoiser, label: Tensor, random: Rng): Tensor {
    if (this.labelDropout === 0) return label;
    const { nullLabel = null } = net;
    if (nullLabel === null)
      throw new UsageError(
        "Diffusion: labelDropout needs a network with a label for no class (UNet's option nullClass)",
      );
    const dropped = random.uniform(label.shape).lt(this.labelDropout);
    return dropped.select(label.mul(0).add(nullLabel), label);
  }

  /** Frees the tables and the compiled sampling step. */
  dispose(): void {
    for (const step of this.denoisers.values()) step.dispose();
    const { signal, noise, negativeNoise, posteriorVariance, weights, bound } = this;
    for (const cell of [signal, noise, negativeNoise, posteriorVariance]) cell.dispose();
    weights?.dispose();
    for (const cell of Object.values(bound)) cell.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Images and their labels, as the bound is taken on. */
export interface BoundBatch {
  readonly image: Tensor;
  readonly label?: Tensor;
}
