// Samplers of models that are no denoisers of timesteps in the first place: flow matching (Lipman et al. 2023; Esser et al.
// 2024), whose network gives the velocity from image to noise, and latent consistency models (Luo et al. 2023), whose
// network jumps to the image at once.

import { checkFlags, checkPositive } from "@figment/nn";
import { checkObject, UsageError } from "@figment/tensor";
import { alphaBarAt, clean, combine, now, output, type Sampler, x0Coefficients } from "./row.js";
import { checkCount, linspace } from "./timesteps.js";

/** Beyond such shifts (or one over them) noise levels are 0 or 1 to f32. */
const largestShift = 1e6;

/** Options of {@link flowEuler}. */
export interface FlowEulerOptions {
  /** Default 50. */
  readonly steps?: number;
  /** How far noise levels are moved towards noise, 1e-6 … 1e6: σ ← shift·σ/(1 + (shift − 1)·σ) (Esser et al. 2024, eq. 23). Default 1. */
  readonly shift?: number;
  /** Training steps that noise levels 0 … 1 are told the network as. Default 1000. */
  readonly trainSteps?: number;
  /** Whether each step goes to x₀ and noises it afresh. Default false. */
  readonly stochastic?: boolean;
}

/**
 * Euler's method for flow matching, x = (1 − σ)·x₀ + σ·ε with the network's output ε − x₀: x ← x + (σ′ − σ)·output.
 *
 * @throws UsageError when a number is out of range.
 * @example
 * const images = await diffusion.sample(model, { shape: [4, 28, 28, 1], sampler: flowEuler({ steps: 5 }), rng: rng(0) });
 */
export function flowEuler(options: FlowEulerOptions = {}): Sampler {
  const { steps = 50, shift = 1, trainSteps = 1000, stochastic = false } = checkObject("flowEuler", "options", options);
  checkCount(steps, trainSteps);
  checkPositive("flowEuler", { shift });
  checkFlags("flowEuler", { stochastic });
  if (shift < 1 / largestShift || shift > largestShift)
    throw new UsageError(`flowEuler: shift must be from ${1 / largestShift} to ${largestShift}, got ${shift}`);
  const shifted = (sigma: number): number => (shift * sigma) / (1 + (shift - 1) * sigma);
  return {
    name: "flow euler",
    continuous: true,
    rows: () => {
      const smallest = Math.fround(shifted(1 / trainSteps));
      const spread = linspace(trainSteps, smallest * trainSteps, steps).map((t) => shifted(t / trainSteps));
      const sigmas = [...spread, 0].map(Math.fround);
      return spread.map((_, i) => {
        const [sigma, next] = [sigmas[i] as number, sigmas[i + 1] as number];
        const mix = stochastic ? combine([1 - next, clean]) : combine([1, now], [next - sigma, output]);
        return {
          timestep: Math.fround(sigma * trainSteps),
          level: [1 - sigma, sigma] as const,
          x0FromX: 1,
          x0FromModel: -sigma,
          ...mix,
          onNoise: stochastic ? next : 0,
        };
      });
    },
  };
}

/** Options of {@link lcm}. */
export interface LcmOptions {
  /** Default 4. */
  readonly steps?: number;
  /** Steps of the sampler that the model was distilled from. Default 50. */
  readonly originalSteps?: number;
  /** Multiplies timesteps in the boundary condition. Default 10. */
  readonly timestepScaling?: number;
}

/** Standard deviation of the data in the boundary condition (Song et al. 2023, appendix C). */
const sigmaData = 0.5;

/**
 * Multistep consistency sampling (Song et al. 2023, algorithm 1; Luo et al. 2023): to the image, then noised again to the
 * next level.
 *
 * @throws UsageError when there are more steps than the model was distilled from.
 * @example
 * const images = await diffusion.sample(model, {
 *   shape: [4, 28, 28, 1], sampler: lcm({ steps: 2, originalSteps: 10 }), rng: rng(0),
 * });
 */
export function lcm(options: LcmOptions = {}): Sampler {
  const { steps = 4, originalSteps = 50, timestepScaling = 10 } = checkObject("lcm", "options", options);
  checkCount(steps, originalSteps);
  checkPositive("lcm", { timestepScaling });
  return {
    name: "lcm",
    rows: ({ alphasCumprod, predict }) => {
      checkCount(originalSteps, alphasCumprod.length);
      const apart = Math.floor(alphasCumprod.length / originalSteps);
      const times = Array.from({ length: steps }, (_, i) => {
        return (originalSteps - Math.floor((i * originalSteps) / steps)) * apart - 1;
      });
      return times.map((t, i) => {
        const scaled = t * timestepScaling;
        const skip = sigmaData ** 2 / (scaled ** 2 + sigmaData ** 2);
        const denoised = combine([scaled / Math.sqrt(scaled ** 2 + sigmaData ** 2), clean], [skip, now]);
        const next = times[i + 1];
        const alphaBar = next === undefined ? 1 : alphaBarAt(alphasCumprod, next);
        return {
          timestep: t,
          ...x0Coefficients(predict, alphaBarAt(alphasCumprod, t)),
          ...combine([Math.sqrt(alphaBar), denoised]),
          onNoise: Math.sqrt(1 - alphaBar),
        };
      });
    },
  };
}
