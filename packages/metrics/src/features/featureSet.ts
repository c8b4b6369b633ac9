// Features of many images, on the host and in f64: what all distances between sets are computed from.

import { checkCounts } from "@figment/nn";
import { DTypeError, isFloat, ShapeError, show, showShape, Tensor, UsageError } from "@figment/tensor";
import { checkFiniteNumbers } from "../checks.js";

/**
 * The features of a set of images: `count` rows of `dims` finite numbers in f64.
 *
 * @example
 * const set = new FeatureSet([0, 1, 2, 3, 4, 5], 2);
 * set.count; // 3
 * set.row(1)[0]; // 2
 */
export class FeatureSet {
  /** Row-major. Not to be written to. */
  readonly data: Float64Array;
  readonly count: number;
  readonly dims: number;

  /**
   * @param data numbers, row-major; copied.
   * @throws ShapeError when they do not fill rows; NonFiniteError for NaN or infinite numbers, naming the first.
   */
  constructor(data: ArrayLike<number>, dims: number) {
    checkCounts("FeatureSet", { dims });
    if (data?.length === undefined) throw new UsageError(`FeatureSet: expected numbers, got ${show(data)}`);
    if (data.length % dims !== 0)
      throw new ShapeError(`FeatureSet: ${data.length} numbers do not fill rows of ${dims}`);
    checkFiniteNumbers("FeatureSet", data, (i) => `feature ${i % dims} of row ${Math.floor(i / dims)}`);
    this.data = Float64Array.from(data);
    this.count = data.length / dims;
    this.dims = dims;
  }

  /**
   * Reads features [N,D], or [N,...] flattened to that.
   *
   * @throws ShapeError for fewer than two dimensions; DTypeError when they are no floats; NonFiniteError for NaN or infinite
   * numbers.
   * @example
   * const set = await FeatureSet.from(tensor([[1, 2], [3, 4]]));
   * set.dims; // 2
   */
  static async from(features: Tensor): Promise<FeatureSet> {
    if (!(features instanceof Tensor)) throw new DTypeError(`FeatureSet: expected a tensor, got ${show(features)}`);
    if (features.rank < 2 || features.size === 0)
      throw new ShapeError(`FeatureSet: expected features [N, D], got ${showShape(features.shape)}`);
    if (!isFloat(features.dtype)) throw new DTypeError(`FeatureSet: expected floats, got ${features.dtype}`);
    return new FeatureSet(await features.data(), features.size / features.dim(0));
  }

  /**
   * All rows of some sets, one after another.
   *
   * @throws UsageError when there are none; ShapeError when their dimensions differ.
   * @example
   * FeatureSet.concat([new FeatureSet([1, 2], 2), new FeatureSet([3, 4], 2)]).count; // 2
   */
  static concat(sets: readonly FeatureSet[]): FeatureSet {
    const [first] = sets;
    if (!first) throw new UsageError("FeatureSet.concat: there are no sets");
    for (const set of sets) checkSameDims("FeatureSet.concat", first, set);
    const data = new Float64Array(sets.reduce((size, set) => size + set.data.length, 0));
    let at = 0;
    for (const set of sets) {
      data.set(set.data, at);
      at += set.data.length;
    }
    return new FeatureSet(data, first.dims);
  }

  /** Row `i`, as a view. */
  row(i: number): Float64Array {
    if (!(Number.isInteger(i) && i >= 0 && i < this.count))
      throw new UsageError(`FeatureSet: expected a row from 0 to ${this.count - 1}, got ${show(i)}`);
    return this.data.subarray(i * this.dims, (i + 1) * this.dims);
  }

  /**
   * The rows of the given numbers, in their order; one may occur many times, as resampling wants.
   *
   * @example
   * new FeatureSet([1, 2, 3], 1).select([2, 2, 0]).row(1)[0]; // 3
   */
  select(indices: ArrayLike<number>): FeatureSet {
    const data = new Float64Array(indices.length * this.dims);
    for (let i = 0; i < indices.length; i++) data.set(this.row(indices[i] as number), i * this.dims);
    return new FeatureSet(data, this.dims);
  }
}

/** Throws unless two sets have features of the same dimensions. */
export function checkSameDims(owner: string, a: { readonly dims: number }, b: { readonly dims: number }): void {
  if (a.dims !== b.dims) throw new ShapeError(`${owner}: the sets have features of ${a.dims} and ${b.dims} dimensions`);
}

/** Throws unless both are sets of features of the same dimensions, with at least `least` rows each. */
export function checkSets(owner: string, real: FeatureSet, generated: FeatureSet, least: number): void {
  for (const [name, set] of Object.entries({ real, generated })) {
    if (!(set instanceof FeatureSet))
      throw new UsageError(`${owner}: expected a FeatureSet as ${name}, got ${show(set)}; see extractFeatures`);
    if (set.count < least)
      throw new UsageError(`${owner}: expected at least ${least} samples in each set, got ${set.count} ${name} ones`);
  }
  checkSameDims(owner, real, generated);
}
