// Measuring a model on a data set: the ELBO and the importance-weighted bound of every image, with their means and
// standard errors. One native call a batch, whatever k.

import type { Dataset } from "@figment/io";
import { checkCounts } from "@figment/nn";
import {
  Cell,
  type Compiled,
  checkObject,
  compile,
  ones,
  type Rng,
  repeat,
  type Tensor,
  UsageError,
} from "@figment/tensor";
import { BernoulliLikelihood, binarise } from "./likelihoods/bernoulli.js";
import type { Likelihood } from "./likelihoods/likelihood.js";
import type { LatentModel } from "./models/latentModel.js";
import { elboOf } from "./objectives/elbo.js";
import { logWeight } from "./objectives/iwae.js";
import { taken } from "./taken.js";
import { bitsPerDim } from "./units.js";

/** Options of {@link evaluateBounds}. */
export interface EvaluateOptions {
  /** Draws latents and, where images are binarised, pixels: the same seed gives the same numbers. */
  readonly rng: Rng;
  /** Whether grey pixels become black or white at random, once for each image. Default false. */
  readonly binarise?: boolean;
  /** Draws for each image in the importance-weighted bound; 0 leaves it out. Default 0. */
  readonly k?: number;
  /** Whether the model is told the labels. Default false. */
  readonly conditional?: boolean;
  /** Default 250. */
  readonly batchSize?: number;
  /** Ends the work by rejecting with its reason. */
  readonly signal?: AbortSignal;
}

/** A mean over the images and its standard error, in nats per image. */
export interface Nats {
  readonly mean: number;
  readonly standardError: number;
}

/** What {@link evaluateBounds} measures. */
export interface Bounds {
  readonly images: number;
  /** −ELBO: one draw for each image, the divergence in closed form. */
  readonly negativeElbo: Nats;
  /** −ln p(x | z). */
  readonly reconstruction: Nats;
  /** KL(q(z | x) ‖ p(z)). */
  readonly kl: Nats;
  /** The negative importance-weighted bound with k draws; null without. */
  readonly negativeIwae: Nats | null;
  /** −ELBO as bits for each of an image's numbers. */
  readonly bitsPerDim: number;
}

/** A model that says what its outputs mean, and is put into evaluation mode for the measurement. */
type Measurable<P> = LatentModel<P> & { readonly likelihood: Likelihood };

/** A running log-mean-exp for each image of a batch: Σ e^w as e^highest · sum, so that nothing overflows. */
class RunningLogMeanExp {
  private readonly highest: Cell;
  private readonly sum: Cell;

  constructor(private readonly images: number) {
    this.highest = new Cell({ shape: [images], name: "evaluate.highest", initial: () => new Float32Array(images) });
    this.sum = new Cell({ shape: [images], name: "evaluate.sum", initial: () => new Float32Array(images) });
  }

  /** The log-mean-exp of k weights, [images]; `weigh` is asked for them one after another. */
  over(k: number, first: Tensor, weigh: () => Tensor): Tensor {
    this.highest.set(first);
    this.sum.set(ones([this.images]));
    repeat(k - 1, () => {
      const [weight, before] = [weigh(), this.highest.value];
      const highest = before.maximum(weight);
      const scaled = this.sum.value.mul(before.sub(highest).exp());
      this.sum.set(scaled.add(weight.sub(highest).exp()));
      this.highest.set(highest);
    });
    return this.sum.value.log().add(this.highest.value).sub(Math.log(k));
  }

  dispose(): void {
    this.highest.dispose();
    this.sum.dispose();
  }
}

type Measured = { readonly bound: Tensor; readonly reconstruction: Tensor; readonly iwae?: Tensor };
type Program<P> = Compiled<[Measurable<P>, Tensor, Tensor, Rng], Measured>;

/** The program that measures a batch of a size. */
function programFor<P>(images: number, { binarise: binary = false, k = 0, conditional = false }: EvaluateOptions) {
  const running = new RunningLogMeanExp(images);
  const program: Program<P> = compile(
    (model, image, label, random): Measured => {
      const told = conditional ? label : undefined;
      const x = binary ? binarise(image, random) : image;
      const posterior = model.infer(x, told);
      const draw = model.draw(posterior, x, random, told);
      const measured = { bound: elboOf(draw), reconstruction: draw.logLikelihood.neg() };
      if (k === 0) return measured;
      const weigh = (): Tensor => logWeight(model.draw(posterior, x, random, told));
      return { ...measured, iwae: running.over(k, logWeight(draw), weigh) };
    },
    { mode: "eval", name: "evaluation" },
  );
  const dispose = (): void => {
    program.dispose();
    running.dispose();
  };
  return { program, dispose };
}

/** Mean and standard error of numbers seen one batch after another, in float64. */
class Mean {
  private count = 0;
  private sum = 0;
  private squares = 0;

  add(values: ArrayLike<number>): void {
    for (const value of Array.from(values)) {
      this.count++;
      this.sum += value;
      this.squares += value * value;
    }
  }

  get images(): number {
    return this.count;
  }

  get nats(): Nats {
    const mean = this.sum / this.count;
    const variance = Math.max(0, this.squares / this.count - mean * mean);
    return { mean, standardError: Math.sqrt(variance / Math.max(1, this.count - 1)) };
  }
}

/**
 * Measures a model on every image of a data set, in its order. Dropout and relaxations are off.
 *
 * @returns means over the images, in nats per image.
 * @throws UsageError when k is no integer ≥ 0, or images are to be binarised for a likelihood other than Bernoulli's.
 * @throws the signal's reason when it is aborted.
 * @example
 * const encoder = new DenseEncoder({ image: [28, 28, 1], hidden: [32], features: 8 });
 * const decoder = new DenseDecoder({ latents: 4, hidden: [32], image: [28, 28, 1] });
 * const model = new VAE({ encoder, decoder }).init(rng(0));
 * const bounds = await evaluateBounds(model, digits({ count: 20 }), { rng: rng(1), binarise: true, k: 5, batchSize: 10 });
 * bounds.images; // 20
 */
export async function evaluateBounds<P>(
  model: Measurable<P>,
  data: Dataset,
  options: EvaluateOptions,
): Promise<Bounds> {
  const {
    rng,
    binarise: binary = false,
    k = 0,
    batchSize = 250,
    signal,
  } = checkObject("evaluateBounds", "options", options, "rng");
  checkCounts("evaluateBounds", { batchSize });
  checkCounts("evaluateBounds", { k }, 0);
  if (binary && !(model.likelihood instanceof BernoulliLikelihood))
    throw new UsageError("evaluateBounds: only a Bernoulli likelihood takes binarised images");
  const programs = new Map<number, ReturnType<typeof programFor<P>>>();
  const [negativeElbo, reconstruction, kl, iwae] = [new Mean(), new Mean(), new Mean(), new Mean()];
  const { range } = model.likelihood;
  try {
    const batches = data.loader({ batchSize, epochs: 1, shuffle: false, dropLast: false, range, signal });
    for await (const { image, label } of batches) {
      const size = image.dim(0);
      const { program } = programs.get(size) ?? programs.set(size, programFor<P>(size, options)).get(size)!;
      const measured = program.run({ signal }, model, image, label, rng);
      const [bounds, errors, weighted] = await Promise.all(
        [measured.bound, measured.reconstruction, measured.iwae].map((tensor) => taken(tensor)),
      );
      negativeElbo.add(bounds!.map((value) => -value));
      reconstruction.add(errors!);
      kl.add(errors!.map((error, i) => -(bounds![i] as number) - error));
      iwae.add(weighted!.map((value) => -value));
    }
  } finally {
    for (const { dispose } of programs.values()) dispose();
  }
  return {
    images: negativeElbo.images,
    negativeElbo: negativeElbo.nats,
    reconstruction: reconstruction.nats,
    kl: kl.nats,
    negativeIwae: k > 0 ? iwae.nats : null,
    bitsPerDim: bitsPerDim(negativeElbo.nats.mean, data.shape),
  };
}
