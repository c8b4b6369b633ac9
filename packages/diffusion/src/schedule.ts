// Noise schedules: how much noise each step of the forward process adds. Numbers only, in float64; imports
// nothing but error types.

import { UsageError } from "@figment/tensor";

/** βₜ is kept at or below this, so that no step erases everything (Nichol & Dhariwal 2021, §3.2). */
const largestBeta = 0.999;

/** Offset that keeps the first βs of the cosine schedule from vanishing (Nichol & Dhariwal 2021, eq. 17). */
const cosineOffset = 0.008;

function checkSteps(name: string, steps: number): void {
  if (!Number.isInteger(steps) || steps < 1)
    throw new UsageError(`${name}: expected a number of steps ≥ 1, got ${steps}`);
}

/**
 * βₜ rising linearly from `start` to `end` (Ho et al. 2020, §4; their values are the defaults, for 1000 steps).
 *
 * @throws UsageError unless steps ≥ 1 and 0 < start, end < 1.
 * @example
 * linearBetas(1000)[0]; // 0.0001
 */
export function linearBetas(steps: number, start = 1e-4, end = 0.02): Float64Array {
  checkSteps("linearBetas", steps);
  const slope = steps > 1 ? (end - start) / (steps - 1) : 0;
  return checkedBetas(Float64Array.from({ length: steps }, (_, t) => start + slope * t));
}

/**
 * βₜ = min(1 − f(t+1)/f(t), 0.999) with f(t) = cos²(π/2 · (t/T + s)/(1 + s)), s = 0.008
 * (Nichol & Dhariwal 2021, eq. 17).
 *
 * @throws UsageError unless steps ≥ 1.
 * @example
 * cosineBetas(1000).at(-1); // 0.999
 */
export function cosineBetas(steps: number): Float64Array {
  checkSteps("cosineBetas", steps);
  const signal = (t: number): number =>
    Math.cos(((t / steps + cosineOffset) / (1 + cosineOffset)) * (Math.PI / 2)) ** 2;
  return Float64Array.from({ length: steps }, (_, t) => Math.min(1 - signal(t + 1) / signal(t), largestBeta));
}

/**
 * ᾱₜ = ∏ₛ≤ₜ (1 − βₛ), accumulated in float64 (Ho et al. 2020, below eq. 3).
 *
 * @throws UsageError when a β is not in (0, 1).
 * @example
 * alphasCumprod(linearBetas(1000)).at(-1); // 4.04e-5
 */
export function alphasCumprod(betas: ArrayLike<number>): Float64Array {
  let product = 1;
  return Float64Array.from(checkedBetas(Float64Array.from(betas)), (beta) => {
    product *= 1 - beta;
    return product;
  });
}

function checkedBetas(betas: Float64Array): Float64Array {
  const wrong = betas.findIndex((beta) => !(beta > 0 && beta < 1));
  if (wrong >= 0 || betas.length === 0) {
    throw new UsageError(
      `betas: expected numbers in (0, 1), got ${betas.length === 0 ? "none" : `${betas[wrong]} at step ${wrong}`}`,
    );
  }
  return betas;
}
