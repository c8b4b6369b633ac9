// Small models for tests: one whose likelihood is known, and statistics.

import { Linear, Module } from "@figment/nn";
import { rng, type Tensor, tensor } from "@figment/tensor";
import { DenseDecoder, DenseEncoder, GaussianLikelihood, VAE } from "@figment/vae";
import { expect } from "vitest";

/** A VAE on 4×4 images, small enough for any test. */
export function tinyVae(latents = 3, seed = 0, classes?: number): VAE {
  const image = [4, 4, 1] as const;
  const stream = rng(seed);
  const encoder = new DenseEncoder({ image, hidden: [12], features: 2 * latents, classes });
  const decoder = new DenseDecoder({ latents, hidden: [12], image, classes });
  const model = new VAE({ encoder, decoder }).init(stream);
  stream.dispose();
  return model;
}

/** A linear layer from images [N,1,D,1] to features. */
class LinearEncoder extends Module {
  readonly linear: Linear;

  constructor(
    size: number,
    readonly features: number,
  ) {
    super();
    this.linear = new Linear(size, features);
  }

  forward(x: Tensor): Tensor {
    return this.linear.forward(x.reshape([x.dim(0), x.dim(2)]));
  }
}

/** A linear layer from latents to images [N,1,D,1]. */
class LinearDecoder extends Module {
  readonly linear: Linear;

  constructor(
    readonly latents: number,
    readonly size: number,
  ) {
    super();
    this.linear = new Linear(latents, size);
  }

  forward(z: Tensor): Tensor {
    return this.linear.forward(z).reshape([z.dim(0), 1, this.size, 1]);
  }
}

type Matrix = readonly (readonly number[])[];

const transposed = (a: Matrix): number[][] =>
  (a[0] as readonly number[]).map((_, j) => a.map((row) => row[j] as number));
const product = (a: Matrix, b: Matrix): number[][] =>
  a.map((row) => transposed(b).map((column) => row.reduce((sum, x, k) => sum + x * (column[k] as number), 0)));

/** ln N(x; 0, C) by Cholesky's factor L of C: −(D ln 2π + ‖L⁻¹x‖²)/2 − Σ ln Lᵢᵢ. */
function logNormal(x: readonly number[], c: Matrix): number {
  const l: number[][] = c.map(() => []);
  const y: number[] = [];
  let result = (-x.length / 2) * Math.log(2 * Math.PI);
  for (let i = 0; i < x.length; i++) {
    for (let j = 0; j <= i; j++) {
      const rest = (c[i] as number[])[j]! - l[i]!.slice(0, j).reduce((sum, v, k) => sum + v * l[j]![k]!, 0);
      l[i]![j] = i === j ? Math.sqrt(rest) : rest / l[j]![j]!;
    }
    y[i] = ((x[i] as number) - l[i]!.slice(0, i).reduce((sum, v, k) => sum + v * y[k]!, 0)) / l[i]![i]!;
    result -= Math.log(l[i]![i]!) + y[i]! ** 2 / 2;
  }
  return result;
}

/**
 * Probabilistic PCA, x = Wz + noise of deviation σ: its evidence is N(x; 0, WWᵀ + σ²I). Its posterior has covariance
 * S = (I + WᵀW/σ²)⁻¹ and mean SWᵀx/σ², which a linear encoder gives exactly where W's columns are orthogonal; `shift` moves
 * the encoder's ln σ² away from that.
 */
export function linearGaussian(
  w: Matrix,
  sigma: number,
  shift = 0,
): { model: VAE; evidence(x: readonly number[]): number } {
  const [size, latents] = [w.length, (w[0] as readonly number[]).length];
  const encoder = new LinearEncoder(size, 2 * latents);
  const decoder = new LinearDecoder(latents, size);
  const model = new VAE({ encoder, decoder, likelihood: new GaussianLikelihood({ variance: sigma ** 2 }) });
  const columns = transposed(w);
  const gram = product(columns, w);
  const variances = columns.map((_, i) => 1 / (1 + gram[i]![i]! / sigma ** 2));
  const set = (path: string, values: Matrix | readonly number[]): void => {
    const cell = model.stateDict()[path];
    if (!cell) throw new Error(`no cell ${path}`);
    cell.setData(values.flat());
  };
  set("encoder.linear.weight", [
    ...columns.map((column, i) => column.map((x) => (x * variances[i]!) / sigma ** 2)),
    ...columns.map((column) => column.map(() => 0)),
  ]);
  set("encoder.linear.bias", [...variances.map(() => 0), ...variances.map((v) => Math.log(v) + shift)]);
  set("decoder.linear.weight", w);
  set("decoder.linear.bias", new Array<number>(size).fill(0));
  const covariance = product(w, columns).map((row, i) => row.map((x, j) => x + (i === j ? sigma ** 2 : 0)));
  return { model, evidence: (x) => logNormal(x, covariance) };
}

/** Images [N,1,D,1] of rows. */
export const rowsOf = (rows: Matrix): Tensor =>
  tensor(rows.flat(), { shape: [rows.length, 1, (rows[0] as readonly number[]).length, 1] });

/** Expects numbers to be others to so many decimals. */
export function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, digits: number): void {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < actual.length; i++) expect(actual[i], `number ${i}`).toBeCloseTo(expected[i] as number, digits);
}

/** Mean of numbers and its standard error. */
export function meanOf(data: ArrayLike<number>): { mean: number; error: number } {
  const list = Array.from(data);
  const mean = list.reduce((sum, x) => sum + x, 0) / list.length;
  const variance = list.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (list.length - 1);
  return { mean, error: Math.sqrt(variance / list.length) };
}
