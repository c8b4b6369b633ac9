// How much each timestep counts in the loss. Numbers only, in float64.

import { show, UsageError } from "@figment/tensor";
import type { Prediction } from "./samplers/row.js";

/**
 * "simple": all errors of the network count alike. `minSnr`: the signal-to-noise ratio, but at most γ, is the weight of
 * errors in x₀ (Hang et al. 2023, §3.4; γ = 5 there). `p2`: steps at which images take shape count more (Choi et al. 2022,
 * eq. 8: γ, and k = 1 by default).
 */
export type LossWeighting = "simple" | { readonly minSnr: number } | { readonly p2: number; readonly k?: number };

/** The ratio of signal to noise, ᾱ/(1 − ᾱ). */
export const signalToNoise = (alphaBar: number): number => alphaBar / (1 - alphaBar);

/** The weight of the squared error of what is predicted at each timestep; null where all are 1. */
export function lossWeights(
  weighting: LossWeighting,
  predict: Prediction,
  alphasCumprod: Float64Array,
): Float64Array | null {
  if (weighting === "simple") return null;
  const parts: Readonly<Record<string, unknown>> = Object(weighting);
  const [names, numbers] = [Object.keys(parts), Object.values(parts)];
  const known = names.every((name) => name === "minSnr") || names.every((name) => name === "p2" || name === "k");
  if (!known || !("minSnr" in parts || "p2" in parts) || !numbers.every((x) => Number.isFinite(x) && Number(x) > 0))
    throw new UsageError(
      `Diffusion: weighting must be "simple", { minSnr: γ } or { p2: γ, k } with numbers above 0, got ${show(weighting)}`,
    );
  return alphasCumprod.map((alphaBar) => {
    const snr = signalToNoise(alphaBar);
    // What an error in x₀ of the weight 1 weighs as an error in ε and v.
    if ("minSnr" in weighting) {
      const onX0 = Math.min(snr, weighting.minSnr);
      if (predict === "x0") return onX0;
      // Without any signal x₀ follows from nothing, and an error in v is one in x₀.
      return predict === "v" ? onX0 / (snr + 1) : snr === 0 ? 1 : onX0 / snr;
    }
    const onEpsilon = 1 / ((weighting.k ?? 1) + snr) ** weighting.p2;
    if (predict === "epsilon") return onEpsilon;
    return predict === "x0" ? onEpsilon * snr : (onEpsilon * snr) / (snr + 1);
  });
}
