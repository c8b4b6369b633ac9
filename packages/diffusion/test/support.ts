// Networks whose answer is known, for tests of the process around them.

import type { Denoiser, Diffusion } from "@figment/diffusion";
import { addNoise, type Cell, type Tensor, tensor } from "@figment/tensor";

/** A network without parameters, given as a function. */
export const functionNet = (forward: (x: Tensor, t: Tensor) => Tensor, name = forward.toString()): Denoiser => ({
  structure: `function:${name}`,
  cells: (): readonly Cell[] => [],
  forward,
});

/**
 * The best prediction of the noise when the data are N(mean, deviation²) in every pixel: xₜ and ε are jointly normal, so
 * E[ε | xₜ] = √(1 − ᾱ)·(xₜ − √ᾱ·mean)/(ᾱ·deviation² + 1 − ᾱ).
 */
export function gaussianNet({ alphasCumprod }: Diffusion, mean: number, deviation: number): Denoiser {
  const slope = alphasCumprod.map((a) => Math.sqrt(1 - a) / (a * deviation ** 2 + 1 - a));
  const offset = slope.map((k, t) => -k * Math.sqrt(alphasCumprod[t] as number) * mean);
  return functionNet((x, t) => {
    const [a, b] = [tensor(Float32Array.from(slope)), tensor(Float32Array.from(offset))];
    return addNoise(x, x.mul(0).add(1), t, a, b);
  }, `gaussian ${mean} ${deviation} ${alphasCumprod.length}`);
}

/** Mean and standard deviation. */
export function moments(data: ArrayLike<number>): { mean: number; deviation: number } {
  const list = Array.from(data);
  const mean = list.reduce((sum, x) => sum + x, 0) / list.length;
  return { mean, deviation: Math.sqrt(list.reduce((sum, x) => sum + (x - mean) ** 2, 0) / list.length) };
}

/** i32 [n] filled with one timestep. */
export const times = (n: number, t: number): Tensor => tensor(new Int32Array(n).fill(t));
