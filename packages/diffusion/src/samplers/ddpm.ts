// The samplers of the papers that introduced diffusion models: ancestral sampling (Ho et al. 2020) and DDIM (Song et
// al. 2021), with its inversion.

import { checkChoice, checkFlags } from "@figment/nn";
import { checkObject, UsageError } from "@figment/tensor";
import { alphaBarAt, clean, combine, epsilonFromModel, epsilonFromX0, type Sampler, x0Coefficients } from "./row.js";
import { spacedTimesteps, type TimestepOptions } from "./timesteps.js";

/** Options of {@link ddpm}. */
export interface DdpmOptions extends TimestepOptions {
  /** Default: as many as in training. Fewer are spaced evenly. */
  readonly steps?: number;
  /**
   * Variance of the noise: "small" is the posterior's β̃ₜ (Ho et al. 2020, eq. 7), right for a fixed x₀; "large" is βₜ,
   * right for x₀ ~ N(0, I); "learned" is what a network says that was trained to (Nichol & Dhariwal 2021,
   * §3.1). Default "small".
   */
  readonly variance?: "small" | "large" | "learned";
  /** Whether the last step adds noise too, unless it is that of the first training step: as diffusers does. Default false. */
  readonly noiseAtEnd?: boolean;
}

/**
 * Ancestral sampling (Ho et al. 2020, algorithm 2): x ← μ̃(x, x₀) + σₜ·z with the posterior mean of eq. 7, no noise in
 * the last step.
 *
 * @example
 * const images = await diffusion.sample(model, { shape: [4, 28, 28, 1], sampler: ddpm(), rng: rng(0) });
 */
export function ddpm(options: DdpmOptions = {}): Sampler {
  const { steps, variance = "small", noiseAtEnd = false, ...spacing } = checkObject("ddpm", "options", options);
  checkChoice("ddpm", "variance", variance, ["small", "large", "learned"]);
  checkFlags("ddpm", { noiseAtEnd });
  return {
    name: "ddpm",
    rows: ({ alphasCumprod, predict }) => {
      const times = spacedTimesteps(steps ?? alphasCumprod.length, alphasCumprod.length, spacing);
      return times.map((t, i) => {
        const alphaBar = alphaBarAt(alphasCumprod, t);
        const previous = alphaBarAt(alphasCumprod, times[i + 1] ?? -1);
        const { onX0, onX, variance: small } = posterior(alphaBar, previous);
        const last = i === times.length - 1 && !(noiseAtEnd && t > 0);
        const large = 1 - alphaBar / previous;
        const onNoise = last ? 0 : Math.sqrt(Math.max(variance === "large" ? large : small, smallestVariance));
        const row = { timestep: t, ...x0Coefficients(predict, alphaBar), onX0, onX, onNoise };
        if (variance !== "learned" || last) return row;
        return { ...row, logVariance: [Math.log(Math.max(small, smallestVariance)), Math.log(large)] as const };
      });
    },
  };
}

/** Keeps the logarithm of the posterior's variance finite. */
const smallestVariance = 1e-20;

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

/** Options of {@link ddim} and {@link ddimInversion}. */
export interface DdimOptions extends TimestepOptions {
  /** Evaluations of the network. Default 50. */
  readonly steps?: number;
  /** Noise in each step: 0 makes the walk deterministic, 1 gives as much as DDPM. Default 0. */
  readonly eta?: number;
  /** Whether ε is derived again from the clamped x₀, so that both describe the same x. Default true. */
  readonly clippedNoise?: boolean;
  /**
   * Whether every step goes ⌊T/steps⌋ down instead of to the next timestep. They differ where T/steps is no integer and
   * with the spacing "linspace". Default false.
   */
  readonly evenSteps?: boolean;
  /** ᾱ at the end: 1, or that of the first training step. Default "one". */
  readonly finalAlpha?: "one" | "first";
}

/**
 * DDIM (Song et al. 2021, eq. 12 and 16): x ← √ᾱₛ·x₀ + √(1 − ᾱₛ − σ²)·ε + σ·z.
 *
 * @throws UsageError unless 0 ≤ eta ≤ 1.
 * @example
 * const images = await diffusion.sample(model, { shape: [4, 28, 28, 1], sampler: ddim({ steps: 20 }), rng: rng(0) });
 */
export function ddim(options: DdimOptions = {}): Sampler {
  const {
    steps = 50,
    eta = 0,
    clippedNoise = true,
    evenSteps = false,
    finalAlpha = "one",
    ...spacing
  } = checkObject("ddim", "options", options);
  if (!(eta >= 0 && eta <= 1)) throw new UsageError(`ddim: eta must be in [0, 1], got ${eta}`);
  checkFlags("ddim", { clippedNoise, evenSteps });
  checkChoice("ddim", "finalAlpha", finalAlpha, ["one", "first"]);
  return {
    name: "ddim",
    rows: ({ alphasCumprod, predict }) => {
      const total = alphasCumprod.length;
      const times = spacedTimesteps(steps, total, spacing);
      const end = finalAlpha === "one" ? 1 : alphaBarAt(alphasCumprod, 0);
      return times.map((t, i) => {
        const alphaBar = alphaBarAt(alphasCumprod, t);
        const next = evenSteps ? t - Math.floor(total / steps) : (times[i + 1] ?? -1);
        const previous = alphaBarAt(alphasCumprod, next, end);
        const sigma = eta * Math.sqrt(posterior(alphaBar, previous).variance);
        const epsilon = clippedNoise ? epsilonFromX0(alphaBar) : epsilonFromModel(predict, alphaBar);
        const direction = Math.sqrt(Math.max(0, 1 - previous - sigma ** 2));
        return {
          timestep: t,
          ...x0Coefficients(predict, alphaBar),
          ...combine([Math.sqrt(previous), clean], [direction, epsilon]),
          onNoise: sigma,
        };
      });
    },
  };
}

/**
 * The walk of deterministic DDIM backwards, from images to the noise that gives them (Song et al. 2021, §4.3): give the images
 * as `start`. Its steps are those of `ddim` with as many, the other way round; the more there are, the closer the two
 * are to being inverse to each other.
 *
 * @example
 * const noise = await diffusion.sample(model, {
 *   shape: images.shape, start: images, sampler: ddimInversion({ steps: 5 }), rng: rng(0), clip: false,
 * });
 */
export function ddimInversion(options: Omit<DdimOptions, "eta"> = {}): Sampler {
  const {
    steps = 50,
    evenSteps = false,
    finalAlpha = "one",
    ...spacing
  } = checkObject("ddimInversion", "options", options);
  checkFlags("ddimInversion", { evenSteps });
  checkChoice("ddimInversion", "finalAlpha", finalAlpha, ["one", "first"]);
  return {
    name: "ddim inversion",
    rows: ({ alphasCumprod, predict }) => {
      const total = alphasCumprod.length;
      const ratio = Math.floor(total / steps);
      const start = finalAlpha === "one" ? 1 : alphaBarAt(alphasCumprod, 0);
      const times = spacedTimesteps(steps, total, spacing).reverse();
      return times.map((t, i) => {
        const before = evenSteps ? Math.min(t - ratio, total - 1) : (times[i - 1] ?? -1);
        const alphaBar = alphaBarAt(alphasCumprod, before, start);
        const next = alphaBarAt(alphasCumprod, t);
        const noise = alphaBar < 1 ? epsilonFromModel(predict, alphaBar) : epsilonAtTheEnd(predict);
        return {
          timestep: t,
          ...x0Coefficients(predict, alphaBar),
          ...combine([Math.sqrt(next), clean], [Math.sqrt(1 - next), noise]),
          onNoise: 0,
        };
      });
    },
  };
}

/** ε where x is the image itself, which says nothing of it: what the network predicts, or none. */
const epsilonAtTheEnd = (predict: "epsilon" | "x0" | "v") => (predict === "x0" ? {} : epsilonFromModel(predict, 1));
