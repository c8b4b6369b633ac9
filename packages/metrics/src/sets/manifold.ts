// How much two sets overlap, by neighbourhoods in feature space: improved precision and recall (Kynkäänniemi et al. 2019),
// density and coverage (Naeem et al. 2020).

import { checkCounts } from "@figment/nn";
import { checkSets, type FeatureSet } from "../features/featureSet.js";
import { memberships, squaredRadii } from "./neighbours.js";
import { type Rows, rowsOf, viewOf } from "./products.js";

/** Options of {@link precisionRecall} and {@link densityCoverage}. */
export interface NeighbourOptions {
  /** A neighbourhood reaches to the k-th nearest of the same set. Default as in the paper: 3, or 5. */
  readonly k?: number;
}

/** Results of {@link precisionRecall}. */
export interface PrecisionRecall {
  /** The share of generated samples that lie in a real neighbourhood, 0 … 1: how real they look. */
  readonly precision: number;
  /** The share of real samples that lie in a generated neighbourhood, 0 … 1: how much of reality is drawn. */
  readonly recall: number;
}

/** Results of {@link densityCoverage}. */
export interface DensityCoverage {
  /** Real neighbourhoods around a generated sample, over k: 1 is what real samples have; may exceed it. */
  readonly density: number;
  /** The share of real samples with a generated one in their neighbourhood, 0 … 1. */
  readonly coverage: number;
}

/**
 * Improved precision and recall (Kynkäänniemi et al. 2019, eq. 1–2): the neighbourhood of a sample is the ball that reaches to
 * the k-th nearest other of its set. Both are 1 for equal sets, and 0 for sets far from each other. The distances compared are
 * Euclidean, and the comparisons those of f64, although most are decided by products in f32. One outlier's large ball can
 * raise either; see {@link densityCoverage}. Takes time quadratic in the samples: seconds for 10,000.
 *
 * @param real, generated more than k samples each; the authors advise as many of both.
 * @throws ShapeError when the dimensions differ; UsageError when there are too few samples.
 * @example
 * const square = new FeatureSet([0, 0, 0, 1, 1, 0, 1, 1], 2);
 * const { precision, recall } = await precisionRecall(square, square.select([0, 1, 0, 1]), { k: 1 });
 * precision; // 1
 * recall; // 0.5
 */
export async function precisionRecall(
  real: FeatureSet,
  generated: FeatureSet,
  { k = 3 }: NeighbourOptions = {},
): Promise<PrecisionRecall> {
  checkCounts("precisionRecall", { k });
  checkSets("precisionRecall", real, generated, k + 1);
  return withRows(real, generated, async (a, b) => {
    const [realRadii, generatedRadii] = [await squaredRadii(a, k), await squaredRadii(b, k)];
    const { realAround, generatedAround } = await memberships(a, b, realRadii, generatedRadii);
    return { precision: shareAbove0(realAround), recall: shareAbove0(generatedAround) };
  });
}

/**
 * Density and coverage (Naeem et al. 2020, eq. 3 and 5), which count real neighbourhoods only: less moved by outliers than
 * precision and recall. For two samples of one distribution the expected density is about 1, the expected coverage about
 * 1 − 2⁻ᵏ where both are of one size (ibid., eq. 9).
 *
 * @param real more than k samples.
 * @param generated at least one.
 * @throws ShapeError when the dimensions differ; UsageError when there are too few samples.
 * @example
 * const line = new FeatureSet([0, 1, 2, 3], 1);
 * const { density, coverage } = await densityCoverage(line, line.select([1, 1]), { k: 1 });
 * density; // 3
 * coverage; // 0.75
 */
export async function densityCoverage(
  real: FeatureSet,
  generated: FeatureSet,
  { k = 5 }: NeighbourOptions = {},
): Promise<DensityCoverage> {
  checkCounts("densityCoverage", { k });
  checkSets("densityCoverage", real, generated, 1);
  checkSets("densityCoverage", real, real, k + 1);
  return withRows(real, generated, async (a, b) => {
    const { realAround, generatedWithin } = await memberships(a, b, await squaredRadii(a, k), null);
    const around = realAround.reduce((sum, x) => sum + x, 0);
    return { density: around / (k * generated.count), coverage: shareAbove0(generatedWithin) };
  });
}

const shareAbove0 = (counts: Float64Array): number => counts.reduce((sum, x) => sum + Number(x > 0), 0) / counts.length;

/** Lends both sets as rows of one view. */
async function withRows<T>(
  real: FeatureSet,
  generated: FeatureSet,
  use: (real: Rows, generated: Rows) => Promise<T>,
): Promise<T> {
  const view = viewOf(real, generated);
  const [a, b] = [rowsOf(real, view), rowsOf(generated, view)];
  try {
    return await use(a, b);
  } finally {
    a.rounded.dispose();
    b.rounded.dispose();
  }
}
