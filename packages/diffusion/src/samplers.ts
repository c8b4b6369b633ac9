// Samplers as lists of steps. Each step predicts x₀ from x and the network's output, clamps it if asked, and
// combines it with x and fresh noise; everything is linear, so a step is a row of coefficients, computed here
// in float64. Formulas: DDPM, Ho et al. 2020; DDIM, Song et al. 2021.

import { UsageError } from "@figment/tensor";

/** What the network predicts from xₜ: the noise ε, the clean x₀, or v = √ᾱ·ε − √(1 − ᾱ)·x₀ (Salimans & Ho 2022). */
export type Prediction = "epsilon" | "x0" | "v";

/** A step of a sampler: x ← onX0·x₀ + onX·x + onNoise·z, with x₀ = x0FromX·x + x0FromModel·output. */
export interface SamplerRow {
  /** The time that the network is told. */
  readonly timestep: number;
  readonly x0FromX: number;
  readonly x0FromModel: number;
  readonly onX0: number;
  readonly onX: number;
  readonly onNoise: number;
}

/** What samplers need to know of a diffusion. */
export interface Process {
  /** ᾱₜ at each training step. */
  readonly alphasCumprod: Float64Array;
  readonly predict: Prediction;
}

/** A way to walk from noise to an image. */
export interface Sampler {
  readonly name: string;
  /** The steps, from noise to image. */
  rows(process: Process): readonly SamplerRow[];
}

/** How x₀ follows from x and the network's output at a signal level ᾱ. */
function x0Coefficients(predict: Prediction, alphaBar: number): Pick<SamplerRow, "x0FromX" | "x0FromModel"> {
  const signal = Math.sqrt(alphaBar);
  const noise = Math.sqrt(1 - alphaBar);
  if (predict === "epsilon") return { x0FromX: 1 / signal, x0FromModel: -noise / signal };
  if (predict === "v") return { x0FromX: signal, x0FromModel: -noise };
  return { x0FromX: 0, x0FromModel: 1 };
}

/** ᾱ at a step, 1 before the first. */
const alphaBarAt = (alphasCumprod: Float64Array, t: number): number => (t < 0 ? 1 : (alphasCumprod[t] as number));

/**
 * `count` timesteps of `total`, evenly spaced from the last one down: round(total·(1 − i/count)) − 1. The last
 * step of training is always among them ("trailing" spacing, Lin et al. 2024, table 2).
 *
 * @throws UsageError unless 1 ≤ count ≤ total.
 * @example
 * trailingTimesteps(4, 1000).at(-1); // 249
 */
export function trailingTimesteps(count: number, total: number): number[] {
  if (!Number.isInteger(count) || count < 1 || count > total) {
    throw new UsageError(`sampler: expected 1 to ${total} steps, got ${count}`);
  }
  return Array.from({ length: count }, (_, i) => Math.round(total - (i * total) / count) - 1);
}

/** Options of {@link ddpm}. */
export interface DdpmOptions {
  /** Default: as many as in training. Fewer are spaced evenly. */
  readonly steps?: number;
  /**
   * Variance of the noise: "small" is the posterior's β̃ₜ (Ho et al. 2020, eq. 7), right for a fixed x₀; "large" is βₜ,
   * right for x₀ ~ N(0, I). Default "small".
   */
  readonly variance?: "small" | "large";
}

/**
 * Ancestral sampling (Ho et al. 2020, algorithm 2): x ← μ̃(x, x₀) + σₜ·z with the posterior mean of eq. 7, no noise in
 * the last step.
 *
 * @example
 * const images = await diffusion.sample(model, { shape: [4, 28, 28, 1], sampler: ddpm(), rng: rng(0) });
 */
export function ddpm({ steps, variance = "small" }: DdpmOptions = {}): Sampler {
  return {
    name: "ddpm",
    rows: ({ alphasCumprod, predict }) => {
      const times = trailingTimesteps(steps ?? alphasCumprod.length, alphasCumprod.length);
      return times.map((t, i) => {
        const alphaBar = alphaBarAt(alphasCumprod, t);
        const previous = alphaBarAt(alphasCumprod, times[i + 1] ?? -1);
        const { onX0, onX, variance: small } = posterior(alphaBar, previous);
        const last = i === times.length - 1;
        const chosen = variance === "small" ? small : 1 - alphaBar / previous;
        return { timestep: t, ...x0Coefficients(predict, alphaBar), onX0, onX, onNoise: last ? 0 : Math.sqrt(chosen) };
      });
    },
  };
}

/**
 * Mean and variance of q(xₛ | xₜ, x₀) = N(onX0·x₀ + onX·xₜ, variance·I) from the signal levels at t and at the
 * earlier s (Ho et al. 2020, eq. 6–7, with α = ᾱₜ/ᾱₛ and β = 1 − α).
 *
 * @example
 * posterior(0.5, 0.8).variance; // 0.15
 */
export function posterior(alphaBar: number, previous: number): { onX0: number; onX: number; variance: number } {
  const alpha = alphaBar / previous;
  const beta = 1 - alpha;
  return {
    onX0: (Math.sqrt(previous) * beta) / (1 - alphaBar),
    onX: (Math.sqrt(alpha) * (1 - previous)) / (1 - alphaBar),
    variance: ((1 - previous) / (1 - alphaBar)) * beta,
  };
}

/** Options of {@link ddim}. */
export interface DdimOptions {
  /** Evaluations of the network. Default 50. */
  readonly steps?: number;
  /** Noise in each step: 0 makes the walk deterministic, 1 gives as much as DDPM. Default 0. */
  readonly eta?: number;
}

/**
 * DDIM (Song et al. 2021, eq. 12 and 16): x ← √ᾱₛ·x₀ + √(1 − ᾱₛ − σ²)·ε + σ·z, where ε is derived again from x and the
 * (possibly clamped) x₀, so that both describe the same x.
 *
 * @throws UsageError unless 0 ≤ eta ≤ 1.
 * @example
 * const images = await diffusion.sample(model, { shape: [4, 28, 28, 1], sampler: ddim({ steps: 20 }), rng: rng(0) });
 */
export function ddim({ steps = 50, eta = 0 }: DdimOptions = {}): Sampler {
  if (!(eta >= 0 && eta <= 1)) throw new UsageError(`ddim: eta must be in [0, 1], got ${eta}`);
  return {
    name: "ddim",
    rows: ({ alphasCumprod, predict }) => {
      const times = trailingTimesteps(steps, alphasCumprod.length);
      return times.map((t, i) => {
        const alphaBar = alphaBarAt(alphasCumprod, t);
        const previous = alphaBarAt(alphasCumprod, times[i + 1] ?? -1);
        const sigma = eta * Math.sqrt(posterior(alphaBar, previous).variance);
        // ε = (x − √ᾱ·x₀)/√(1 − ᾱ), times the length of the direction that points back to xₜ.
        const direction = Math.sqrt(Math.max(0, 1 - previous - sigma ** 2)) / Math.sqrt(1 - alphaBar);
        return {
          timestep: t,
          ...x0Coefficients(predict, alphaBar),
          onX0: Math.sqrt(previous) - direction * Math.sqrt(alphaBar),
          onX: direction,
          onNoise: sigma,
        };
      });
    },
  };
}
