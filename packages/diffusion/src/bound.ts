// The variational bound on the likelihood (Ho et al. 2020, eq. 5; Nichol & Dhariwal 2021, §2.1), in bits per dimension.

import { checkFlags } from "@figment/nn";
import {
  addNoise,
  Cell,
  checkObject,
  checkTensor,
  compile,
  erf,
  gather,
  type Precision,
  type Rng,
  scalar,
  scope,
  stopGradient,
  type Tensor,
  throwIfAborted,
  UsageError,
} from "@figment/tensor";
import type { BoundBatch } from "./diffusion.js";
import { posterior } from "./samplers/ddpm.js";
import { type Process, x0Coefficients } from "./samplers/row.js";
import type { Denoiser, LearnedVariance } from "./step.js";

/** Half the distance of neighbouring 8-bit values in [-1, 1]. */
const halfLevel = 1 / 255;
/** Values beyond this stand for the ends of the range, whose bins are open. */
const edge = 0.999;
/** The least probability of a value, so that its logarithm is finite. */
const leastProbability = 1e-12;

/** Tables of the bound, f32 [steps]. */
export type BoundTables = Readonly<Record<"onX0" | "onXt" | "x0FromX" | "x0FromModel" | "small" | "large", Cell>>;

/** A process as the bound knows it. */
export interface BoundProcess extends Process {
  readonly variance: "fixed" | LearnedVariance;
  readonly steps: number;
  qSample(x0: Tensor, t: Tensor, noise: Tensor): Tensor;
  partsOf(output: Tensor, like: Tensor): { prediction: Tensor; spread?: Tensor };
}

/** The tables of a process; nothing is allocated before they are used. */
export function boundTables({ alphasCumprod, predict }: Process): BoundTables {
  const posteriors = Array.from(alphasCumprod, (alphaBar, t) => posterior(alphaBar, alphasCumprod[t - 1] ?? 1));
  const table = (name: string, value: (t: number) => number): Cell =>
    new Cell({
      shape: [alphasCumprod.length],
      name: `Diffusion.${name}`,
      initial: () => Float64Array.from(alphasCumprod, (_, t) => value(t)),
    });
  const at = (t: number): (typeof posteriors)[number] => posteriors[t] as (typeof posteriors)[number];
  const fromOutput = (t: number) => x0Coefficients(predict, Math.max(alphasCumprod[t] as number, leastProbability));
  return {
    onX0: table("boundOnX0", (t) => at(t).onX0),
    onXt: table("boundOnXt", (t) => at(t).onX),
    x0FromX: table("x0FromX", (t) => fromOutput(t).x0FromX),
    x0FromModel: table("x0FromModel", (t) => fromOutput(t).x0FromModel),
    // The first step's is 0; it takes the second's (Ho et al.'s code).
    small: table("logSmall", (t) =>
      Math.log(at(t === 0 && alphasCumprod.length > 1 ? 1 : t).variance || leastProbability),
    ),
    large: table("logLarge", (t) => Math.log(1 - (alphasCumprod[t] as number) / (alphasCumprod[t - 1] ?? 1))),
  };
}

/** What a step's part of the bound is taken of. */
export interface StepOfBound {
  readonly x0: Tensor;
  readonly xt: Tensor;
  readonly t: Tensor;
  readonly prediction: Tensor;
  readonly spread?: Tensor;
  /** Whether x₀ is kept in [-1, 1]. */
  readonly clip: boolean;
  /** Whether derivatives reach the variance alone. */
  readonly holdMean: boolean;
}

/**
 * KL(q(xₜ₋₁ | xₜ, x₀) ‖ p(xₜ₋₁ | xₜ)), and at t = 0, which is 1 in the papers, −log p(x₀ | x₁), of each image: [N], in bits
 * per dimension.
 */
export function stepBound(process: BoundProcess, tables: BoundTables, step: StepOfBound): Tensor {
  const { x0, xt, t, spread } = step;
  const axes = x0.shape.slice(1).map((_, i) => i + 1);
  const perImage = [x0.dim(0), ...axes.map(() => 1)];
  const pick = (cell: Cell): Tensor => gather(cell.value, t).reshape(perImage);
  const prediction = step.holdMean ? stopGradient(step.prediction) : step.prediction;
  const found = addNoise(prediction, xt, t, tables.x0FromModel.value, tables.x0FromX.value);
  const guess = step.clip ? found.maximum(-1).minimum(1) : found;
  const mean = addNoise(guess, xt, t, tables.onX0.value, tables.onXt.value);
  const truth = addNoise(x0, xt, t, tables.onX0.value, tables.onXt.value);
  const small = pick(tables.small);
  const logVariance = spread ? learned(process, spread, small, pick(tables.large)) : small.add(x0.mul(0));
  const error = truth.sub(mean).square();
  const kl = logVariance
    .sub(small)
    .sub(1)
    .add(small.sub(logVariance).exp())
    .add(error.mul(logVariance.neg().exp()))
    .mul(0.5);
  const first = t.eq(0).reshape(perImage);
  const nats = first.broadcastTo(x0.shape).select(decoderNats(x0, mean, logVariance), kl);
  return nats.mean(axes).div(Math.LN2);
}

const learned = ({ variance }: BoundProcess, spread: Tensor, small: Tensor, large: Tensor): Tensor =>
  variance === "learned" ? spread : small.add(spread.add(1).mul(0.5).mul(large.sub(small)));

/** −log of the Gaussian's mass in the bin of each 8-bit value; the bins of the ends are open (Ho et al. 2020, eq. 13). */
function decoderNats(x: Tensor, mean: Tensor, logVariance: Tensor): Tensor {
  const inverse = logVariance.mul(-0.5).exp();
  const cumulative = (edgeOfBin: number): Tensor =>
    erf(x.sub(mean).add(edgeOfBin).mul(inverse).mul(Math.SQRT1_2)).add(1).mul(0.5);
  const [above, below] = [cumulative(halfLevel), cumulative(-halfLevel)];
  const mass = x.lt(-edge).select(above, x.gt(edge).select(below.neg().add(1), above.sub(below)));
  return mass.maximum(leastProbability).log().neg();
}

/** Options of {@link Diffusion.bitsPerDim}. */
export interface BoundOptions {
  /** Where the noise comes from. */
  readonly rng: Rng;
  /** Whether predictions of x₀ are kept in [-1, 1]. Default true. */
  readonly clip?: boolean;
  /** Default "highest". */
  readonly precision?: Precision;
  readonly signal?: AbortSignal;
  /** Told after each batch, with the images so far. */
  readonly onProgress?: (progress: { readonly images: number; readonly bitsPerDim: number }) => void;
}

/** The bound and its parts, in bits per dimension, as means over the images. */
export interface BoundResult {
  /** prior + decoder + the sum of the others. */
  readonly bitsPerDim: number;
  /** KL(q(x_T | x₀) ‖ N(0, I)). */
  readonly prior: number;
  /** −log p(x₀ | x₁): that of step 0. */
  readonly decoder: number;
  /** Of each step: the decoder's first, then KL divergences. */
  readonly steps: Float64Array;
  readonly images: number;
}

/** See {@link Diffusion.bitsPerDim}. */
export async function evaluateBound(
  process: BoundProcess,
  tables: BoundTables,
  net: Denoiser,
  batches: Iterable<BoundBatch> | AsyncIterable<BoundBatch>,
  options: BoundOptions,
): Promise<BoundResult> {
  const { rng, clip = true, precision = "highest", signal, onProgress } = checkObject("bitsPerDim", "options", options);
  checkFlags("bitsPerDim", { clip });
  checkObject("bitsPerDim", "rng", rng, "normal");
  checkObject("bitsPerDim", "net", net, "forward");
  checkObject("bitsPerDim", "batches", batches);
  if (!(Symbol.iterator in batches) && !(Symbol.asyncIterator in batches))
    throw new UsageError("bitsPerDim: expected batches that can be iterated over, for example [{ image }]");
  const step = compile(
    (model: Denoiser, x0: Tensor, time: Tensor, random: Rng, label?: Tensor) => {
      const t = time.broadcastTo([x0.dim(0)]);
      const xt = process.qSample(x0, t, random.normal(x0.shape));
      const parts = process.partsOf(model.forward(xt, t, label), x0);
      return stepBound(process, tables, { x0, xt, t, ...parts, clip, holdMean: false }).mean();
    },
    { mode: "eval", name: "variational bound", precision },
  );
  const last = process.alphasCumprod.at(-1) as number;
  const sums = new Float64Array(process.steps);
  let [priorSum, images] = [0, 0];
  const result = (): BoundResult => {
    const steps = sums.map((sum) => sum / images);
    const prior = priorSum / images;
    return { bitsPerDim: prior + steps.reduce((a, b) => a + b, 0), prior, decoder: steps[0] as number, steps, images };
  };
  try {
    for await (const batch of batches) {
      const { image, label } = checkObject("bitsPerDim", "a batch", batch);
      checkTensor("bitsPerDim", "image", image);
      throwIfAborted(signal);
      const n = image.dim(0);
      const squares = scope(() => image.square().mean());
      const power = await squares.item();
      squares.dispose();
      priorSum += (n * (last * power - last - Math.log1p(-last))) / 2 / Math.LN2;
      for (let from = 0; from < process.steps; from += stepsAtOnce) {
        throwIfAborted(signal);
        const found: Promise<number>[] = [];
        for (let t = from; t < Math.min(from + stepsAtOnce, process.steps); t++) {
          const time = scalar(t, "i32");
          found.push(step.run({ signal }, net, image, time, rng, label).item());
          time.dispose();
        }
        const values = await Promise.all(found);
        values.forEach((value, i) => {
          sums[from + i] = (sums[from + i] as number) + n * value;
        });
      }
      images += n;
      onProgress?.({ images, bitsPerDim: result().bitsPerDim });
    }
  } finally {
    step.dispose();
  }
  if (images === 0) throw new UsageError("bitsPerDim: there are no batches");
  return result();
}

/** Steps queued before any is read. */
const stepsAtOnce = 16;
