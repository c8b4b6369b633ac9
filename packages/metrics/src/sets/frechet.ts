// The Fréchet distance between Gaussians (Dowson & Landau 1982), which Heusel et al. (2017, eq. 6) take between features of
// real and generated images.

import { ShapeError, show, UsageError } from "@figment/tensor";
import { checkFiniteNumbers } from "../checks.js";
import { checkSameDims, FeatureSet } from "../features/featureSet.js";
import { symmetricEigen, symmetricEigenvalues } from "../linear/eigen.js";
import { timesTransposed, trace, transposed } from "../linear/matrix.js";
import { type GaussianStatistics, gaussianStatistics } from "./statistics.js";

/**
 * The squared Fréchet distance |μ₁ − μ₂|² + tr(C₁ + C₂ − 2·(C₁C₂)^½) between the Gaussians of two sets, in squared units of the
 * features: 0 for equal ones, without an upper bound. The trace of (C₁C₂)^½ is taken through the symmetric (C₁^½·C₂·C₁^½)^½,
 * whose eigenvalues are real; those that rounding made of zero count as zero, so that singular covariances (dead features,
 * fewer samples than dimensions) give numbers like any others. Symmetric within rounding.
 *
 * From samples, the distance is biased upwards, the more the fewer they are (Chong & Forsyth 2020): compare only numbers from
 * as many samples, and set them beside the distance between two real sets of that size. Takes time cubic in the
 * dimensions: two seconds of processor time for 512.
 *
 * @param real, generated sets of at least two samples each, or their statistics.
 * @throws ShapeError when the dimensions differ; UsageError when there are fewer than two samples; NonFiniteError when
 * statistics are not finite.
 * @example
 * const standard = { dims: 1, count: 100, mean: Float64Array.of(0), covariance: Float64Array.of(1) };
 * const wider = { dims: 1, count: 100, mean: Float64Array.of(3), covariance: Float64Array.of(4) };
 * frechetDistance(standard, wider); // 10
 */
export function frechetDistance(
  real: FeatureSet | GaussianStatistics,
  generated: FeatureSet | GaussianStatistics,
): number {
  const [a, b] = [statisticsOf("real", real), statisticsOf("generated", generated)];
  checkSameDims("frechetDistance", a, b);
  const size = a.dims;
  const means = a.mean.reduce((sum, x, i) => sum + (x - (b.mean[i] as number)) ** 2, 0);
  const overlap = traceOfRoot(a.covariance, b.covariance, size);
  // Rounding may leave a tiny negative number where the Gaussians are equal.
  return Math.max(0, means + trace(a.covariance, size) + trace(b.covariance, size) - 2 * overlap);
}

/** tr (A^½·B·A^½)^½ = tr (AB)^½ of two positive semidefinite matrices. */
function traceOfRoot(a: Float64Array, b: Float64Array, size: number): number {
  // The product has the fourth powers of features: it would overflow and vanish long before the covariances do.
  const [first, second] = [standardised(a), standardised(b)];
  const root = squareRoot(first.matrix, size);
  const middle = timesTransposed(timesTransposed(root, second.matrix, size), root, size);
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < i; j++) {
      const mean = ((middle[i * size + j] as number) + (middle[j * size + i] as number)) / 2;
      middle[i * size + j] = mean;
      middle[j * size + i] = mean;
    }
  }
  return first.unit * second.unit * roots(symmetricEigenvalues(middle, size)).reduce((sum, x) => sum + x, 0);
}

/** A = unit²·matrix with a largest element of about 1 and a power of two as unit, which rounds nothing. */
function standardised(a: Float64Array): { matrix: Float64Array; unit: number } {
  const most = a.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  const unit = most === 0 ? 1 : 2 ** Math.floor(Math.log2(most) / 2);
  return { matrix: a.map((x) => x / unit / unit), unit };
}

/** The symmetric A^½ of a positive semidefinite matrix: V·Λ^½·Vᵀ. */
function squareRoot(a: Float64Array, size: number): Float64Array {
  const { values, vectors } = symmetricEigen(a, size);
  const fourth = roots(values).map(Math.sqrt);
  // A^½ = WᵀW with rows Λ^¼·v, so its elements are inner products of columns of W.
  const scaled = vectors.map((x, at) => x * (fourth[Math.floor(at / size)] as number));
  const columns = transposed(scaled, size, size);
  return timesTransposed(columns, columns, size);
}

/** Square roots of the eigenvalues of a positive semidefinite matrix; what is lost in rounding counts as zero. */
function roots(values: Float64Array): Float64Array {
  const least = values.length * Number.EPSILON * (values.at(-1) ?? 0);
  return values.map((value) => (value > least ? Math.sqrt(value) : 0));
}

function statisticsOf(name: string, given: FeatureSet | GaussianStatistics): GaussianStatistics {
  if (given instanceof FeatureSet) {
    if (given.count < 2)
      throw new UsageError(`frechetDistance: expected at least 2 samples in each set, got ${given.count} ${name} ones`);
    return checkFiniteStatistics(name, gaussianStatistics(given));
  }
  if (!(given?.mean instanceof Float64Array && given.covariance instanceof Float64Array))
    throw new UsageError(`frechetDistance: expected a FeatureSet or its statistics as ${name}, got ${show(given)}`);
  const { dims, mean, covariance } = given;
  if (mean.length !== dims || covariance.length !== dims * dims)
    throw new ShapeError(
      `frechetDistance: ${name} has ${dims} dimensions, ${mean.length} means and ${covariance.length} covariances`,
    );
  return checkFiniteStatistics(name, given);
}

function checkFiniteStatistics(name: string, statistics: GaussianStatistics): GaussianStatistics {
  const { dims, mean, covariance } = statistics;
  const owner = `frechetDistance: ${name}`;
  checkFiniteNumbers(owner, mean, (i) => `mean ${i}`);
  checkFiniteNumbers(owner, covariance, (i) => `covariance [${Math.floor(i / dims)}, ${i % dims}]`);
  return statistics;
}
