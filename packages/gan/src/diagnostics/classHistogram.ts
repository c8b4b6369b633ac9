// Which classes a generator draws, as a classifier sees them: a collapsed one draws few.

import { checkCounts } from "@figment/nn";
import { checkTensor, DTypeError, type Tensor, UsageError } from "@figment/tensor";
import { divergenceFromUniform } from "./modeCoverage.js";

/** The classes of samples. */
export interface ClassHistogram {
  readonly counts: readonly number[];
  /** Each class's share, in [0, 1]. */
  readonly shares: readonly number[];
  /** Classes that none of the samples is of. */
  readonly missing: readonly number[];
  /** KL divergence of the shares from equal ones, in nats. */
  readonly imbalance: number;
}

/**
 * Counts the classes of samples.
 *
 * @param predicted i32 [N], what a classifier takes each sample for.
 * @throws UsageError when a class is not in [0, classes) or there are no samples; DTypeError unless they are i32.
 * @example
 * const { shares, missing } = await classHistogram(tensor([0, 0, 2, 0], { dtype: "i32" }), 3);
 * shares[0]; // 0.75
 * missing[0]; // 1
 */
export async function classHistogram(predicted: Tensor, classes: number): Promise<ClassHistogram> {
  checkTensor("classHistogram", "predicted", predicted);
  checkCounts("classHistogram", { classes });
  if (predicted.dtype !== "i32") throw new DTypeError(`classHistogram: expected i32 classes, got ${predicted.dtype}`);
  if (predicted.size === 0) throw new UsageError("classHistogram: there are no samples");
  const counts = new Array<number>(classes).fill(0);
  for (const label of await predicted.data()) {
    if (label < 0 || label >= classes)
      throw new UsageError(`classHistogram: expected classes 0 to ${classes - 1}, got ${label}`);
    counts[label] = (counts[label] as number) + 1;
  }
  return {
    counts,
    shares: counts.map((count) => count / predicted.size),
    missing: counts.flatMap((count, label) => (count === 0 ? [label] : [])),
    imbalance: divergenceFromUniform(counts),
  };
}
