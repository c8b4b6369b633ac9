// The inputs of golden/metrics.py, made here by the same hash.

import { readFileSync } from "node:fs";
import { FeatureSet } from "@figment/metrics";
import { type Tensor, tensor } from "@figment/tensor";

/** What PyTorch found. */
export const golden: {
  readonly psnr: readonly [number, number];
  readonly ssim: readonly [number, number];
  readonly msSsim: number;
  readonly frechet: number;
  readonly frechetFew: number;
  readonly frechetDead: number;
  readonly frechetWide: number;
  readonly mmd2: number;
  readonly manifold3: Readonly<Record<"precision" | "recall" | "density" | "coverage", number>>;
  readonly manifold5: Readonly<Record<"precision" | "recall" | "density" | "coverage", number>>;
  readonly inceptionScore: { readonly mean: number; readonly std: number };
} = JSON.parse(readFileSync(new URL("golden/metrics.json", import.meta.url), "utf8"));

/** Numbers in [0, 1) that look random. */
export function uniform(seed: number, count: number): Float64Array {
  return Float64Array.from({ length: count }, (_, i) => {
    let x = Math.imul(i + seed * 7919, 2654435761) >>> 0;
    x = (x ^ (x >>> 15)) >>> 0;
    x = Math.imul(x, 2246822519) >>> 0;
    x = (x ^ (x >>> 13)) >>> 0;
    return x / 2 ** 32;
  });
}

/** Draws from the standard normal distribution, by Box and Muller. */
export function normal(seed: number, count: number): Float64Array {
  const u = uniform(seed, 2 * count);
  return Float64Array.from(
    { length: count },
    (_, i) => Math.sqrt(-2 * Math.log(1 - (u[2 * i] as number))) * Math.cos(2 * Math.PI * (u[2 * i + 1] as number)),
  );
}

/** A set whose neighbouring features are correlated. */
export function features(seed: number, count: number, dims: number, scale = 1, shift = 0): FeatureSet {
  const u = uniform(seed, count * dims);
  const at = (i: number, j: number): number => u[i * dims + (j % dims)] as number;
  const row = (i: number) => Array.from({ length: dims }, (_, j) => scale * (at(i, j) + 0.5 * at(i, j + 1)) + shift);
  return new FeatureSet(Array.from({ length: count }, (_, i) => row(i)).flat(), dims);
}

/** A slope with noise on it, f32 [1,H,W,C] in [0, 255]. */
export function picture(seed: number, height: number, width: number, channels: number): Tensor {
  const noise = uniform(seed, height * width * channels);
  const data = noise.map((u, i) => {
    const pixel = Math.floor(i / channels);
    return Math.min(255, Math.floor(u * 64) + ((2 * (pixel % width) + Math.floor(pixel / width)) % 192));
  });
  return tensor(Float32Array.from(data), { shape: [1, height, width, channels] });
}
