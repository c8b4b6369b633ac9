// How sure a number is that was computed from samples: the bootstrap (Efron & Tibshirani 1993, chapters 6, 12 and 13).

import { checkCounts } from "@figment/nn";
import { rng, show, throwIfAborted, UsageError } from "@figment/tensor";

/** Options of {@link bootstrap}. */
export interface BootstrapOptions {
  /** How often samples are drawn anew. Default 200; the ends of intervals want more than the standard error. */
  readonly resamples?: number;
  /** The share of intervals that should hold the true value, in (0, 1). Default 0.95. */
  readonly level?: number;
  /**
   * "percentile" takes quantiles of the resampled values; "basic" mirrors them at the value, which takes off a bias that
   * resamples have as samples do (Davison & Hinkley 1997, eq. 5.6): right for distances, which few samples and resamples alike
   * make larger. Default "percentile".
   */
  readonly method?: "percentile" | "basic";
  /** Of the resamples. Default 0. */
  readonly seed?: number;
  /** Ends the work by rejecting with its reason. */
  readonly signal?: AbortSignal;
}

/** A number with how sure it is. */
export interface Interval {
  /** Of all samples as they are. */
  readonly value: number;
  readonly low: number;
  readonly high: number;
  /** The standard deviation of the resampled values. */
  readonly standardError: number;
  /** Their mean less the value. */
  readonly bias: number;
}

/**
 * A confidence interval of any statistic of one or more sets, by drawing from each as many samples as it has, with
 * replacement, again and again.
 *
 * @param counts how many samples each set has.
 * @param statistic gives a number from the chosen samples' indices, one array for each set.
 * @throws UsageError for counts, options or values of the statistic that are no such numbers.
 * @example
 * const heights = [1.6, 1.7, 1.8, 1.9];
 * const { value, low, high } = await bootstrap([4], (chosen) => chosen.reduce((sum, i) => sum + heights[i]!, 0) / 4);
 * value; // 1.75
 * @example
 * const distance = (a, b) => frechetDistance(real.select(a), generated.select(b));
 * const interval = await bootstrap([real.count, generated.count], distance, { method: "basic", resamples: 100 });
 */
export async function bootstrap(
  counts: readonly number[],
  statistic: (...indices: Int32Array[]) => number | Promise<number>,
  options: BootstrapOptions = {},
): Promise<Interval> {
  const { resamples = 200, level = 0.95, method = "percentile", seed = 0, signal } = options;
  if (!Array.isArray(counts) || counts.length === 0)
    throw new UsageError(`bootstrap: expected the counts of one set or more, got ${show(counts)}`);
  for (const count of counts) checkCounts("bootstrap", { "a count": count });
  checkCounts("bootstrap", { resamples }, 2);
  if (!(level > 0 && level < 1)) throw new UsageError(`bootstrap: level must be within (0, 1), got ${show(level)}`);
  if (method !== "percentile" && method !== "basic")
    throw new UsageError(`bootstrap: method must be "percentile" or "basic", got ${show(method)}`);
  const evaluate = async (indices: Int32Array[]): Promise<number> => {
    throwIfAborted(signal);
    const result = await statistic(...indices);
    if (!Number.isFinite(result)) throw new UsageError(`bootstrap: the statistic gave ${show(result)}`);
    return result;
  };
  const value = await evaluate(counts.map((count) => Int32Array.from({ length: count }, (_, i) => i)));
  const random = rng(seed);
  const draw = (count: number): Int32Array => {
    const indices = random.randint([count], 0, count);
    const data = indices.dataSync() as Int32Array;
    indices.dispose();
    return data;
  };
  const values = new Float64Array(resamples);
  try {
    for (let i = 0; i < resamples; i++) values[i] = await evaluate(counts.map(draw));
  } finally {
    random.dispose();
  }
  return summarise(value, values.sort(), level, method);
}

function summarise(value: number, sorted: Float64Array, level: number, method: "percentile" | "basic"): Interval {
  const mean = sorted.reduce((sum, x) => sum + x, 0) / sorted.length;
  const variance = sorted.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (sorted.length - 1);
  const [lower, upper] = [quantile(sorted, (1 - level) / 2), quantile(sorted, (1 + level) / 2)];
  const [low, high] = method === "percentile" ? [lower, upper] : [2 * value - upper, 2 * value - lower];
  return { value, low, high, standardError: Math.sqrt(variance), bias: mean - value };
}

/** The q-quantile of ascending numbers, interpolated between neighbours (Hyndman & Fan 1996, definition 7). */
function quantile(sorted: Float64Array, q: number): number {
  const at = q * (sorted.length - 1);
  const [below, above] = [sorted[Math.floor(at)] as number, sorted[Math.ceil(at)] as number];
  return below + (at - Math.floor(at)) * (above - below);
}
