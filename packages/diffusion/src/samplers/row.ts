// What a sampler is: a list of steps, each linear in what the loop has: the images, the network's output, the
// prediction of x₀ (possibly clamped), fresh noise, and what earlier steps kept. So a step is a row of coefficients,
// computed in float64, and every sampler runs in the same compiled step.

import { UsageError } from "@figment/tensor";

/**
 * What the network predicts from xₜ: the noise ε, the clean x₀, or v = √ᾱ·ε − √(1 − ᾱ)·x₀ (Salimans & Ho 2022).
 */
export type Prediction = "epsilon" | "x0" | "v";

/** What samplers need to know of a diffusion. */
export interface Process {
  /** ᾱₜ at each training step. */
  readonly alphasCumprod: Float64Array;
  readonly predict: Prediction;
}

/** A linear combination of what a step has; what is left out counts 0. */
export interface Mix {
  readonly onX?: number;
  /** On the prediction of x₀, after clamping. */
  readonly onX0?: number;
  /** On the network's output. */
  readonly onModel?: number;
  /** On what earlier steps kept, by its name. */
  readonly onKept?: Readonly<Record<string, number>>;
}

/** A step of a sampler: x ← the mix of it, plus onNoise·z, where x₀ = x0FromX·x + x0FromModel·output is clamped if asked. */
export interface SamplerRow extends Mix {
  /** The time that the network is told; it may be between training steps. */
  readonly timestep: number;
  /** What x = signal·x₀ + noise·ε is made of before the step. Default √ᾱ and √(1 − ᾱ) of the timestep. */
  readonly level?: readonly [signal: number, noise: number];
  /** The network sees x times this. Default 1. */
  readonly inputScale?: number;
  readonly x0FromX: number;
  readonly x0FromModel: number;
  readonly onX0: number;
  readonly onX: number;
  readonly onNoise: number;
  /**
   * Bounds of the noise's logarithmic variance, where the network itself says what it is: then that counts in place of
   * `onNoise`, unless this is 0.
   */
  readonly logVariance?: readonly [small: number, large: number];
  /** What later steps will ask for, by name. */
  readonly keep?: Readonly<Record<string, Mix>>;
}

/** A way to walk from noise to an image. */
export interface Sampler {
  readonly name: string;
  /** The steps, from noise to image. */
  rows(process: Process): readonly SamplerRow[];
  /** Standard deviation of the noise that it starts from. Default 1. */
  startScale?(process: Process): number;
  /** How far from 0 predictions of x₀ may be, where the call does not say; false for no bound. Default: the call's, [-1, 1]. */
  readonly clip?: boolean | readonly [lo: number, hi: number];
  /**
   * Whether times are f32, as networks of continuous time are trained with, even where they happen to be whole. Default false:
   * whole training steps, i32.
   */
  readonly continuous?: boolean;
}

/** Σ weight·mix. */
export function combine(...terms: readonly (readonly [weight: number, mix: Mix])[]): Required<Mix> {
  const sum = { onX: 0, onX0: 0, onModel: 0, onKept: {} as Record<string, number> };
  for (const [weight, { onX = 0, onX0 = 0, onModel = 0, onKept = {} }] of terms) {
    sum.onX += weight * onX;
    sum.onX0 += weight * onX0;
    sum.onModel += weight * onModel;
    for (const [name, value] of Object.entries(onKept)) sum.onKept[name] = (sum.onKept[name] ?? 0) + weight * value;
  }
  return sum;
}

/** The mix that is one thing kept earlier. */
export const kept = (name: string): Mix => ({ onKept: { [name]: 1 } });
/** The mix that is x. */
export const now: Mix = { onX: 1 };
/** The mix that is the prediction of x₀. */
export const clean: Mix = { onX0: 1 };
/** The mix that is the network's output. */
export const output: Mix = { onModel: 1 };

/** How x₀ follows from x and the network's output at a signal level ᾱ. */
export function x0Coefficients(predict: Prediction, alphaBar: number): Pick<SamplerRow, "x0FromX" | "x0FromModel"> {
  const signal = Math.sqrt(alphaBar);
  const noise = Math.sqrt(1 - alphaBar);
  if (predict === "v") return { x0FromX: signal, x0FromModel: -noise };
  if (predict === "x0") return { x0FromX: 0, x0FromModel: 1 };
  if (alphaBar === 0)
    throw new UsageError(
      "sampler: where no signal is left, x₀ cannot be told from a prediction of the noise; predict v or x0, or start later",
    );
  return { x0FromX: 1 / signal, x0FromModel: -noise / signal };
}

/** ε = (x − √ᾱ·x₀)/√(1 − ᾱ) as a mix, with the possibly clamped x₀. */
export const epsilonFromX0 = (alphaBar: number): Mix =>
  combine([1 / Math.sqrt(1 - alphaBar), now], [-Math.sqrt(alphaBar / (1 - alphaBar)), clean]);

/** ε as a mix of x and the network's output alone. */
export function epsilonFromModel(predict: Prediction, alphaBar: number): Mix {
  if (predict === "epsilon") return output;
  if (predict === "v") return combine([Math.sqrt(alphaBar), output], [Math.sqrt(1 - alphaBar), now]);
  return combine([1 / Math.sqrt(1 - alphaBar), now], [-Math.sqrt(alphaBar / (1 - alphaBar)), output]);
}

/** ᾱ at a step, 1 (or `before`) before the first. */
export const alphaBarAt = (alphasCumprod: Float64Array, t: number, before = 1): number =>
  t < 0 ? before : (alphasCumprod[t] as number);
