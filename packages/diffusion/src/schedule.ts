// Noise schedules: how much noise each step of the forward process adds. Numbers only; imports nothing but error types.

import { checkObject, show, UsageError } from "@figment/tensor";

/** βₜ is kept at or below this, so that no step erases everything (Nichol & Dhariwal 2021, §3.2). */
const largestBeta = 0.999;

/** Offset that keeps the first βs of the cosine schedule from vanishing (Nichol & Dhariwal 2021, eq. 17). */
const cosineOffset = 0.008;

/** Where the sigmoid schedule begins and ends on the curve (Xu et al. 2022). */
const sigmoidSpan = 6;

/** A thousand times the usual number of steps; more is a mistake that would fill the memory. */
export const mostSteps = 1_000_000;

function checkSteps(name: string, steps: number): void {
  if (!Number.isInteger(steps) || steps < 1 || steps > mostSteps)
    throw new UsageError(`${name}: expected a number of steps from 1 to ${mostSteps}, got ${String(steps)}`);
}

/** `value` of numbers from 0 to 1. */
const along = (steps: number, value: (share: number) => number): Float64Array =>
  Float64Array.from({ length: steps }, (_, t) => value(steps > 1 ? t / (steps - 1) : 0));

/**
 * βₜ rising linearly from `start` to `end` (Ho et al. 2020, §4; their values are the defaults, for 1000 steps).
 *
 * @throws UsageError unless steps ≥ 1 and 0 < start, end < 1.
 * @example
 * linearBetas(1000)[0]; // 0.0001
 */
export function linearBetas(steps: number, start = 1e-4, end = 0.02): Float64Array {
  checkSteps("linearBetas", steps);
  return checkedBetas(along(steps, (share) => start + (end - start) * share));
}

/**
 * √βₜ rising linearly (as in the code of Rombach et al. 2022; Stable Diffusion's values are the defaults, for 1000 steps).
 *
 * @throws UsageError unless steps ≥ 1 and 0 < start, end < 1.
 * @example
 * scaledLinearBetas(1000).at(-1); // 0.012
 */
export function scaledLinearBetas(steps: number, start = 0.00085, end = 0.012): Float64Array {
  checkSteps("scaledLinearBetas", steps);
  const [a, b] = [Math.sqrt(start), Math.sqrt(end)];
  return checkedBetas(along(steps, (share) => (a + (b - a) * share) ** 2));
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
 * βₜ on a logistic curve from `start` to `end`, between -6 and 6 (Xu et al. 2022, GeoDiff).
 *
 * @throws UsageError unless steps ≥ 1 and 0 < start, end < 1.
 * @example
 * sigmoidBetas(1000).at(-1); // 0.01995
 */
export function sigmoidBetas(steps: number, start = 1e-4, end = 0.02): Float64Array {
  checkSteps("sigmoidBetas", steps);
  const curve = (share: number): number => 1 / (1 + Math.exp(sigmoidSpan * (1 - 2 * share)));
  return checkedBetas(along(steps, (share) => start + (end - start) * curve(share)));
}

/**
 * The same schedule with √ᾱ shifted and scaled so that nothing of the image is left at the end, and the first step is as it
 * was (Lin et al. 2024, algorithm 1). Networks for it predict v or x₀: no noise can be told there.
 *
 * @throws UsageError when a β is not in (0, 1], or the first step is the last.
 * @example
 * alphasCumprod(zeroTerminalSnr(linearBetas(1000))).at(-1); // 0
 */
export function zeroTerminalSnr(betas: ArrayLike<number>): Float64Array {
  const roots = alphasCumprod(checkedBetas(betas)).map(Math.sqrt);
  const [first, last] = [roots[0] as number, roots.at(-1) as number];
  if (!(first > last))
    throw new UsageError("zeroTerminalSnr: expected steps of which the last leaves less of the image than the first");
  const signal = roots.map((root) => (((root - last) * first) / (first - last)) ** 2);
  return signal.map((alphaBar, t) => 1 - (t === 0 ? alphaBar : alphaBar / (signal[t - 1] as number)));
}

/**
 * ᾱₜ = ∏ₛ≤ₜ (1 − βₛ), accumulated in float64 (Ho et al. 2020, below eq. 3). A Float32Array is taken as PyTorch takes it:
 * float32 factors, and results rounded to float32.
 *
 * @throws UsageError when a β is not in (0, 1], or so small that 1 − β is 1, or there are more than a million.
 * @example
 * alphasCumprod(linearBetas(1000)).at(-1); // 4.04e-5
 */
export function alphasCumprod(betas: ArrayLike<number>): Float64Array {
  const single = betas instanceof Float32Array;
  const round = single ? Math.fround : (x: number): number => x;
  let product = 1;
  return checkedBetas(betas).map((beta, t) => {
    const factor = round(1 - beta);
    if (factor === 1) throw new UsageError(`betas: ${beta} at step ${t} is too small: 1 − β rounds to 1`);
    product *= factor;
    return round(product);
  });
}

function checkedBetas(given: ArrayLike<number>): Float64Array {
  checkObject("betas", "numbers", given, "length");
  if (!Array.isArray(given) && !ArrayBuffer.isView(given))
    throw new UsageError(`betas: expected an array or a Float32Array or Float64Array, got ${show(given)}`);
  checkSteps("betas", given.length);
  if (Array.isArray(given)) {
    const text = given.findIndex((beta) => typeof beta !== "number");
    if (text >= 0) throw new UsageError(`betas: expected numbers in (0, 1], got ${show(given[text])} at step ${text}`);
  }
  const betas = Float64Array.from(given);
  const wrong = betas.findIndex((beta) => !(beta > 0 && beta <= 1));
  if (wrong >= 0) throw new UsageError(`betas: expected numbers in (0, 1], got ${betas[wrong]} at step ${wrong}`);
  return betas;
}
