// Noise levels σ = √((1 − ᾱ)/ᾱ): the same processes as in ᾱ, scaled so that the signal keeps its size (Karras et al.
// 2022). Numbers as float32 where other implementations keep them so.

import { checkChoice } from "@figment/nn";
import { linspace } from "./timesteps.js";

/** How noise levels are spread between the largest and the smallest. */
export type SigmaSpacing = "timesteps" | "karras" | "exponential";

/** Checks how noise levels are spread, and where they end. */
export function checkSpread(sigmas: unknown, finalSigma: unknown, spacings: readonly string[] = ["timesteps"]): void {
  checkChoice("sampler", "sigmas", sigmas, [...spacings, "karras", "exponential"]);
  checkChoice("sampler", "finalSigma", finalSigma, ["zero", "smallest"]);
}

/** σ at each training step. */
export const sigmasOf = (alphasCumprod: Float64Array): Float64Array =>
  alphasCumprod.map((alphaBar) => Math.fround(Math.sqrt((1 - alphaBar) / alphaBar)));

/** The value between neighbours at a fractional place. */
export function interpolate(values: ArrayLike<number>, place: number): number {
  const at = Math.min(Math.max(place, 0), values.length - 1);
  const low = Math.min(Math.floor(at), values.length - 2);
  if (low < 0) return values[0] as number;
  const [a, b] = [values[low] as number, values[low + 1] as number];
  return a + (at - low) * (b - a);
}

/** ρ of Karras et al. 2022, eq. 5. */
const rho = 7;

/** (σmax^(1/ρ) + i/(n − 1)·(σmin^(1/ρ) − σmax^(1/ρ)))^ρ (Karras et al. 2022, eq. 5). */
export function karrasSigmas(count: number, min: number, max: number, power = rho): number[] {
  const [low, high] = [min ** (1 / power), max ** (1 / power)];
  return linspace(0, 1, count).map((ramp) => (high + ramp * (low - high)) ** power);
}

/** Evenly spread in log σ. */
export const exponentialSigmas = (count: number, min: number, max: number): number[] =>
  linspace(Math.log(max), Math.log(min), count).map(Math.exp);

/** The training step, fractional, at which noise has a level: interpolated in log σ. */
export function timeOfSigma(sigma: number, sigmas: Float64Array): number {
  const logSigma = Math.log(Math.max(sigma, 1e-10));
  let low = 0;
  while (low < sigmas.length - 2 && Math.log(sigmas[low + 1] as number) <= logSigma) low++;
  const [a, b] = [Math.log(sigmas[low] as number), Math.log(sigmas[low + 1] as number)];
  const weight = Math.min(Math.max((a - logSigma) / (a - b), 0), 1);
  return (1 - weight) * low + weight * (low + 1);
}

/** Noise levels between the largest and the smallest of `sigmas`, by a spacing other than "timesteps". */
export function spreadSigmas(spacing: "karras" | "exponential", count: number, max: number, min: number): number[] {
  return (spacing === "karras" ? karrasSigmas : exponentialSigmas)(count, min, max);
}

/** α = 1/√(σ² + 1) and σ·α: the parts of signal and noise in x when their squares sum to 1. */
export const partsOf = (sigma: number): { alpha: number; noise: number } => {
  const alpha = 1 / Math.sqrt(sigma ** 2 + 1);
  return { alpha, noise: sigma * alpha };
};
