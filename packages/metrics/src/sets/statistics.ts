// Mean and covariance of features that come batch by batch, in f64 (Chan, Golub & LeVeque 1983, eq. 2.1; Welford 1962 is the
// case of one row): each batch is centred by its own mean, so that nothing cancels however far the mean is from zero.

import { checkCounts } from "@figment/nn";
import { ShapeError, show, UsageError } from "@figment/tensor";
import { checkSameDims, FeatureSet } from "../features/featureSet.js";
import { addScatter } from "../linear/matrix.js";

/** Mean [dims] and covariance [dims, dims] (row-major) of a set, in f64. */
export interface GaussianStatistics {
  readonly dims: number;
  /** How many samples they come from. */
  readonly count: number;
  readonly mean: Float64Array;
  readonly covariance: Float64Array;
}

/**
 * Mean and covariance of everything that was added, in memory of dims² numbers. Batches may come in any order and sizes, and
 * be added to different objects that are merged later: the result is the same but for rounding.
 *
 * @example
 * const statistics = new RunningStatistics(2);
 * statistics.add(await FeatureSet.from(tensor([[0, 1], [2, 3]])));
 * statistics.add(new FeatureSet([4, 5], 2));
 * statistics.mean[0]; // 2
 * statistics.covariance()[0]; // 4
 */
export class RunningStatistics {
  /** Samples added so far. */
  count = 0;
  readonly mean: Float64Array;
  /** Σ(x − mean)(x − mean)ᵀ. */
  private readonly scatter: Float64Array;

  constructor(readonly dims: number) {
    checkCounts("RunningStatistics", { dims });
    this.mean = new Float64Array(dims);
    this.scatter = new Float64Array(dims * dims);
  }

  /**
   * Adds a batch of features.
   *
   * @throws ShapeError when the dimensions differ.
   */
  add(batch: FeatureSet): this {
    if (batch.dims !== this.dims)
      throw new ShapeError(`RunningStatistics: expected features of ${this.dims} dimensions, got ${batch.dims}`);
    if (batch.count === 0) return this;
    const other = new RunningStatistics(this.dims);
    const { count, dims } = batch;
    for (let i = 0; i < count; i++)
      for (let j = 0; j < dims; j++) other.mean[j] = (other.mean[j] as number) + (batch.data[i * dims + j] as number);
    for (let j = 0; j < dims; j++) other.mean[j] = (other.mean[j] as number) / count;
    const columns = new Float64Array(batch.data.length);
    for (let i = 0; i < count; i++)
      for (let j = 0; j < dims; j++)
        columns[j * count + i] = (batch.data[i * dims + j] as number) - (other.mean[j] as number);
    addScatter(other.scatter, columns, count, dims);
    other.count = count;
    return this.merge(other);
  }

  /**
   * Adds all that another one has seen, which stays as it is.
   *
   * @throws ShapeError when the dimensions differ.
   */
  merge(other: RunningStatistics): this {
    checkSameDims("RunningStatistics.merge", this, other);
    if (other.count === 0) return this;
    const total = this.count + other.count;
    const { dims } = this;
    const shift = other.mean.map((x, i) => x - (this.mean[i] as number));
    const weight = (this.count * other.count) / total;
    for (let i = 0; i < dims; i++) {
      const scaled = weight * (shift[i] as number);
      for (let j = 0; j < dims; j++) {
        const at = i * dims + j;
        this.scatter[at] = (this.scatter[at] as number) + (other.scatter[at] as number) + scaled * (shift[j] as number);
      }
      this.mean[i] = (this.mean[i] as number) + ((shift[i] as number) * other.count) / total;
    }
    this.count = total;
    return this;
  }

  /**
   * The unbiased covariance, divided by count − 1: [dims, dims], row-major.
   *
   * @throws UsageError when there are fewer than two samples.
   */
  covariance(): Float64Array {
    if (this.count < 2)
      throw new UsageError(`RunningStatistics: a covariance takes at least 2 samples, got ${this.count}`);
    return this.scatter.map((x) => x / (this.count - 1));
  }

  /** Mean and covariance as they are now, which do not change any more. */
  gaussian(): GaussianStatistics {
    return { dims: this.dims, count: this.count, mean: this.mean.slice(), covariance: this.covariance() };
  }
}

/**
 * Mean and covariance of a set.
 *
 * @throws UsageError when it has fewer than two samples.
 * @example
 * gaussianStatistics(new FeatureSet([1, 3], 1)).covariance[0]; // 2
 */
export function gaussianStatistics(set: FeatureSet): GaussianStatistics {
  if (!(set instanceof FeatureSet)) throw new UsageError(`gaussianStatistics: expected a FeatureSet, got ${show(set)}`);
  return new RunningStatistics(set.dims).add(set).gaussian();
}
