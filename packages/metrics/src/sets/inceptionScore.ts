// The inception score (Salimans et al. 2016), of any classifier.

import { checkCounts } from "@figment/nn";
import { checkObject, show, UsageError } from "@figment/tensor";
import { FeatureSet } from "../features/featureSet.js";

/** Options of {@link inceptionScore}. */
export interface InceptionScoreOptions {
  /** Parts, in order, that are scored by themselves. Default 10, as in the paper. */
  readonly splits?: number;
  /** What the rows are: logits, or probabilities that sum to 1. Default "logits". */
  readonly of?: "logits" | "probabilities";
}

/** Results of {@link inceptionScore}. */
export interface InceptionScore {
  readonly mean: number;
  /** The standard deviation between the parts. */
  readonly std: number;
}

/** How far a row of probabilities may be from 1 in sum. */
const tolerance = 1e-3;

/**
 * exp of the mean KL(p(y|x) ‖ p(y)) (Salimans et al. 2016, §4), from 1 (every image gets the same answer, or none is sure) to
 * the number of classes (all are sure, and all classes occur alike). Says nothing of images that resemble no class, and
 * nothing of variety within a class. A part's score is biased downwards when it holds few samples for each class.
 *
 * @param outputs of a classifier: a row of classes for each image; see {@link extractFeatures}.
 * @throws UsageError when there are fewer samples than parts, or rows are no probabilities.
 * @example
 * const sure = new FeatureSet([50, 0, 0, 50], 2);
 * inceptionScore(sure, { splits: 1 }).mean; // 2
 */
export function inceptionScore(outputs: FeatureSet, options: InceptionScoreOptions = {}): InceptionScore {
  const { splits = 10, of = "logits" } = checkObject("inceptionScore", "options", options);
  if (!(outputs instanceof FeatureSet))
    throw new UsageError(`inceptionScore: expected a FeatureSet, got ${show(outputs)}; see extractFeatures`);
  if (of !== "logits" && of !== "probabilities")
    throw new UsageError(`inceptionScore: of must be "logits" or "probabilities", got ${show(of)}`);
  checkCounts("inceptionScore", { splits });
  const { count } = outputs;
  if (count < splits) throw new UsageError(`inceptionScore: ${splits} parts asked for, but there are ${count} samples`);
  const scores = Float64Array.from({ length: splits }, (_, part) => {
    const first = Math.floor((part * count) / splits);
    const past = Math.floor(((part + 1) * count) / splits);
    const rows = Array.from({ length: past - first }, (_, i) => outputs.row(first + i));
    return scoreOf(rows.map(of === "logits" ? logSoftmax : logOf));
  });
  const mean = scores.reduce((sum, x) => sum + x, 0) / splits;
  return { mean, std: Math.sqrt(scores.reduce((sum, x) => sum + (x - mean) ** 2, 0) / splits) };
}

function scoreOf(logs: readonly Float64Array[]): number {
  const [first] = logs as [Float64Array];
  const marginal = first.map((_, c) => logs.reduce((sum, row) => sum + Math.exp(row[c] as number), 0) / logs.length);
  let divergence = 0;
  for (const row of logs)
    for (const [c, log] of row.entries()) {
      const share = Math.exp(log);
      // Classes without a share add nothing, and need none in the marginal.
      if (share > 0) divergence += share * (log - Math.log(marginal[c] as number));
    }
  return Math.exp(divergence / logs.length);
}

function logSoftmax(row: Float64Array): Float64Array {
  const most = row.reduce((a, b) => Math.max(a, b), -Infinity);
  const log = most + Math.log(row.reduce((sum, x) => sum + Math.exp(x - most), 0));
  return row.map((x) => x - log);
}

function logOf(row: Float64Array): Float64Array {
  const sum = row.reduce((a, b) => a + b, 0);
  if (!(Math.abs(sum - 1) < tolerance) || row.some((x) => x < 0))
    throw new UsageError(
      `inceptionScore: a row is no probabilities: it sums to ${sum}, with the least ${Math.min(...row)}`,
    );
  return row.map(Math.log);
}
