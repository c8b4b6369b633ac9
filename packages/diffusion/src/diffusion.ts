// Denoising diffusion (Ho et al. 2020): the forward process, the training loss, the posterior, and sampling.

import { mse } from "@figment/nn";
import {
  addNoise,
  Cell,
  type CellTree,
  type Compiled,
  compile,
  gather,
  type Precision,
  type Rng,
  samplerStep,
  scope,
  type Tensor,
  UsageError,
} from "@figment/tensor";
import { type Prediction, type Process, posterior } from "./samplers.js";
import { type Frame, runSampler, type SampleOptions, type SampleStepsOptions } from "./sampling.js";
import { alphasCumprod } from "./schedule.js";

/**
 * A network that is told a noisy image [N,H,W,C], its timesteps i32 [N] and, if it has classes, its labels i32 [N], and
 * gives a prediction of x's shape.
 */
export interface Denoiser extends CellTree {
  forward(x: Tensor, t: Tensor, label?: Tensor): Tensor;
}

/** Options of {@link Diffusion}. */
export interface DiffusionOptions {
  /** Variance of the noise that each step of the forward process adds; as long as there are steps. */
  readonly betas: ArrayLike<number>;
  /** What the network predicts. Default "epsilon". */
  readonly predict?: Prediction;
}

/** The networks' side of one sampling step, compiled once for all steps. */
export type DenoiseStep = Compiled<
  [net: Denoiser, x: Tensor, timestep: Tensor, coef: Tensor, random: Rng, options: StepStatics, label?: Tensor],
  { x: Tensor; x0?: Tensor }
>;

/** What is frozen into the program of a sampling step. */
export type StepStatics = {
  readonly noise: boolean;
  /** Bounds of x₀; equal to each other for none. */
  readonly lo: number;
  readonly hi: number;
  readonly predictions: boolean;
};

/**
 * A diffusion process: q(xₜ | xₜ₋₁) = N(√(1 − βₜ)·xₜ₋₁, βₜ·I) (Ho et al. 2020, eq. 2), t counted from 0.
 *
 * @example
 * const diffusion = new Diffusion({ betas: cosineBetas(1000) });
 * const loss = diffusion.loss(model, images, random);
 */
export class Diffusion implements Process {
  /** βₜ. */
  readonly betas: Float64Array;
  /** ᾱₜ, accumulated in float64. */
  readonly alphasCumprod: Float64Array;
  readonly predict: Prediction;
  /** √ᾱₜ and √(1 − ᾱₜ), f32 [steps]; and the negative of the latter, for v. */
  private readonly signal: Cell;
  private readonly noise: Cell;
  private readonly negativeNoise: Cell;
  private readonly onX0: Cell;
  private readonly onXt: Cell;
  private readonly variance: Cell;
  /** The sampling step, compiled for each precision that has been asked for. */
  private readonly denoisers = new Map<Precision, DenoiseStep>();

  /** @throws UsageError when a β is not in (0, 1), or `predict` is none of the three. */
  constructor({ betas, predict = "epsilon" }: DiffusionOptions) {
    if (!["epsilon", "x0", "v"].includes(predict)) {
      throw new UsageError(`Diffusion: predict must be "epsilon", "x0" or "v", got ${JSON.stringify(predict)}`);
    }
    if (betas?.length === undefined)
      throw new UsageError("Diffusion: expected { betas }, for example cosineBetas(1000)");
    this.betas = Float64Array.from(betas);
    this.alphasCumprod = alphasCumprod(this.betas);
    this.predict = predict;
    const table = (name: string, value: (alphaBar: number, previous: number) => number): Cell =>
      new Cell({
        shape: [this.steps],
        name: `Diffusion.${name}`,
        initial: () => this.alphasCumprod.map((alphaBar, t) => value(alphaBar, this.alphasCumprod[t - 1] ?? 1)),
      });
    this.signal = table("signal", Math.sqrt);
    this.noise = table("noise", (alphaBar) => Math.sqrt(1 - alphaBar));
    this.negativeNoise = table("negativeNoise", (alphaBar) => -Math.sqrt(1 - alphaBar));
    this.onX0 = table("onX0", (alphaBar, previous) => posterior(alphaBar, previous).onX0);
    this.onXt = table("onXt", (alphaBar, previous) => posterior(alphaBar, previous).onX);
    this.variance = table("variance", (alphaBar, previous) => posterior(alphaBar, previous).variance);
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
      mean: addNoise(x0, xt, t, this.onX0.value, this.onXt.value),
      variance: gather(this.variance.value, t),
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
   * The simple loss (Ho et al. 2020, eq. 14): the mean squared error of the network's prediction, at timesteps and
   * noise drawn from `random`. 0-d.
   *
   * @param x0 clean images [N,H,W,C], in [-1, 1].
   * @param label i32 [N], for a network with classes.
   */
  loss(net: Denoiser, x0: Tensor, random: Rng, label?: Tensor): Tensor {
    return scope(() => {
      const t = this.timesteps(x0.dim(0), random);
      const noise = random.normal(x0.shape);
      const prediction = net.forward(this.qSample(x0, t, noise), t, label);
      return mse(prediction, this.target(x0, t, noise));
    });
  }

  /**
   * Draws images. The network runs in evaluation mode, compiled once for all steps.
   *
   * @returns a tensor of the given shape, the caller's own.
   * @throws the signal's reason when it is aborted; the device is idle a few milliseconds later, whatever the network costs.
   * @example
   * const images = await diffusion.sample(model, { shape: [4, 28, 28, 1], sampler: ddim({ steps: 20 }), rng: rng(0) });
   */
  async sample(net: Denoiser, { onProgress, ...options }: SampleOptions): Promise<Tensor> {
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
    const made = compile(denoise, { mode: "eval", name: "sampling step", precision });
    this.denoisers.set(precision, made);
    return made;
  };

  /** Frees the tables and the compiled sampling step. */
  dispose(): void {
    for (const step of this.denoisers.values()) step.dispose();
    for (const cell of [this.signal, this.noise, this.negativeNoise, this.onX0, this.onXt, this.variance])
      cell.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** One step of any sampler: the network at one timestep (i32, 0-d), then the fused update with its coefficients. */
function denoise(
  net: Denoiser,
  x: Tensor,
  timestep: Tensor,
  coef: Tensor,
  random: Rng,
  { noise, lo, hi, predictions }: StepStatics,
  label?: Tensor,
): { x: Tensor; x0?: Tensor } {
  const output = net.forward(x, timestep.broadcastTo([x.dim(0)]), label);
  const clamp = lo < hi ? ([lo, hi] as const) : undefined;
  const next = samplerStep({ coef, random, tensors: [x, output], clamp, noise });
  if (!predictions) return { x: next };
  const x0 = x.mul(coef.at(0)).add(output.mul(coef.at(1)));
  return { x: next, x0: clamp ? x0.maximum(lo).minimum(hi) : x0 };
}
