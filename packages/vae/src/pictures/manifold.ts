// The manifold that a model of two latents has learned: decoded latents at the quantiles of the prior, so that each picture
// stands for the same probability (Kingma & Welling 2014, figure 4).

import { checkCounts } from "@figment/nn";
import { checkObject, ShapeError, scope, type Tensor, tensor, UsageError } from "@figment/tensor";

/** Ratios of polynomials, highest power first, for three ranges of p: algorithm AS 241, PPND7 (Wichura 1988). */
const centre = {
  above: [59.10937472, 159.29113202, 50.434271938, 3.3871327179],
  below: [67.1875636, 78.757757664, 17.895169469, 1],
};
const flank = {
  above: [0.17023821103, 1.3067284816, 2.75681539, 1.4234372777],
  below: [0.12021132975, 0.7370016425, 1],
};
const tail = {
  above: [0.017337203997, 0.42868294337, 3.081226386, 6.657905115],
  below: [0.012258202635, 0.24197894225, 1],
};

const polynomial = (terms: readonly number[], x: number): number => terms.reduce((sum, term) => sum * x + term, 0);
const ratio = ({ above, below }: typeof centre, x: number): number => polynomial(above, x) / polynomial(below, x);

/**
 * The quantile of the standard normal distribution: Φ⁻¹(p), within 1e-7 of itself.
 *
 * @throws UsageError unless 0 < p < 1.
 * @example
 * normalQuantile(0.975); // 1.959964
 */
export function normalQuantile(p: number): number {
  if (!(p > 0 && p < 1)) throw new UsageError(`normalQuantile: p must be in (0, 1), got ${p}`);
  const fromHalf = p - 0.5;
  if (Math.abs(fromHalf) <= 0.425) return fromHalf * ratio(centre, 0.425 ** 2 - fromHalf ** 2);
  const depth = Math.sqrt(-Math.log(Math.min(p, 1 - p)));
  return Math.sign(fromHalf) * (depth <= 5 ? ratio(flank, depth - 1.6) : ratio(tail, depth - 5));
}

/** A million pictures; more is a mistake that would fill the memory. */
const mostSide = 1000;

/**
 * A square of pictures over the two latents: to the right the first grows, upwards the second.
 *
 * @param side pictures a side; their latents are the quantiles (i + ½)/side of N(0, 1).
 * @returns [side²,H,W,C], row by row: `saveGrid(path, images, { columns: side, padding: 0 })`.
 * @throws ShapeError unless the model has two latents; UsageError for a side above 1000.
 * @example
 * const encoder = new DenseEncoder({ image: [8, 8, 1], hidden: [32], features: 4 });
 * const decoder = new DenseDecoder({ latents: 2, hidden: [32], image: [8, 8, 1] });
 * latentManifold(new VAE({ encoder, decoder }).init(rng(0)), { side: 4 }); // [16, 8, 8, 1]
 */
export function latentManifold(
  model: { readonly latents: number; decode(z: Tensor): Tensor },
  options: { readonly side?: number } = {},
): Tensor {
  const { side = 20 } = checkObject("latentManifold", "options", options);
  checkCounts("latentManifold", { side });
  if (side > mostSide) throw new UsageError(`latentManifold: side must be at most ${mostSide}, got ${side}`);
  checkObject("latentManifold", "model", model, "latents", "decode");
  if (model.latents !== 2) throw new ShapeError(`latentManifold: expected a model of 2 latents, got ${model.latents}`);
  const quantile = (i: number): number => normalQuantile((i + 0.5) / side);
  const places = Array.from({ length: side * side }, (_, i) => [
    quantile(i % side),
    quantile(side - 1 - Math.floor(i / side)),
  ]);
  return scope(() => model.decode(tensor(places)));
}
