// The kernel distance (Bińkowski et al. 2018): the squared maximum mean discrepancy (Gretton et al. 2012) with a cubic kernel.

import { checkCounts } from "@figment/nn";
import { gather, rng, scope, type Tensor, UsageError } from "@figment/tensor";
import { checkSets, type FeatureSet } from "../features/featureSet.js";
import { dot } from "../linear/matrix.js";
import { forProducts, type Rows, rowsOf, type View, viewOf } from "./products.js";

/** Options of {@link kernelDistance}. */
export interface KernelDistanceOptions {
  /** Pairs of subsets whose distances are averaged. Default 100. */
  readonly subsets?: number;
  /** Samples of each set in a subset, drawn without replacement. Default 1000, or all there are. */
  readonly subsetSize?: number;
  /** Of the choice of subsets. Default 0. */
  readonly seed?: number;
}

/** Results of {@link kernelDistance}. */
export interface KernelDistance {
  /** The mean of the estimates. */
  readonly mean: number;
  /** Their standard deviation. That of the mean is smaller, but not by the root of their number: subsets overlap. */
  readonly std: number;
  /** The estimate of each pair of subsets. */
  readonly estimates: Float64Array;
}

/** Subsets' samples when nothing is said, as in the authors' program. */
const usualSize = 1000;

/**
 * The unbiased estimate of the squared maximum mean discrepancy (Gretton et al. 2012, eq. 3), with the kernel
 * (x·y/dims + 1)³ (Bińkowski et al. 2018, §4), averaged over pairs of subsets: 0 on average for samples of one distribution, so
 * that an estimate may be negative, however few they are. Inner products of centred features are taken in f32, kernels and
 * sums in f64: what is lost is below 10⁻⁶ of a usual kernel.
 *
 * @throws ShapeError when the dimensions differ; UsageError when there are fewer than two samples, or fewer than asked for.
 * @example
 * const real = await FeatureSet.from(rng(0).normal([200, 4]));
 * const shifted = await FeatureSet.from(rng(1).normal([200, 4]).add(1));
 * const { mean, std } = await kernelDistance(real, shifted, { subsets: 10, subsetSize: 100 });
 * mean > 3 * std;
 */
export async function kernelDistance(
  real: FeatureSet,
  generated: FeatureSet,
  options: KernelDistanceOptions = {},
): Promise<KernelDistance> {
  checkSets("kernelDistance", real, generated, 2);
  const most = Math.min(real.count, generated.count);
  const { subsets = 100, subsetSize = Math.min(usualSize, most), seed = 0 } = options;
  checkCounts("kernelDistance", { subsets });
  checkCounts("kernelDistance", { subsetSize }, 2);
  if (subsetSize > most)
    throw new UsageError(`kernelDistance: subsets of ${subsetSize} asked for, but a set has only ${most} samples`);
  const view = viewOf(real, generated);
  const [a, b] = [real, generated].map((set) => centredRows(set, view)) as [CentredRows, CentredRows];
  const random = rng(seed);
  const choose = (rows: CentredRows): CentredRows =>
    subset(
      rows,
      scope(() => random.permutation(rows.count)),
      subsetSize,
    );
  try {
    const estimates = new Float64Array(subsets);
    for (let i = 0; i < subsets; i++) {
      const [x, y] = [choose(a), choose(b)];
      const within = (await kernelSum(x, x, view)) + (await kernelSum(y, y, view));
      const between = await kernelSum(x, y, view);
      for (const { rounded } of [x, y]) rounded.dispose();
      estimates[i] = within / (subsetSize * (subsetSize - 1)) - (2 * between) / (subsetSize * subsetSize);
    }
    const mean = estimates.reduce((sum, x) => sum + x, 0) / subsets;
    const variance = estimates.reduce((sum, x) => sum + (x - mean) ** 2, 0) / subsets;
    return { mean, std: Math.sqrt(variance), estimates };
  } finally {
    for (const owner of [random, a.rounded, b.rounded]) owner.dispose();
  }
}

/** Rows with what their inner products lack: x·y = scale²·x′·y′ + scale·(c·x′ + c·y′) + c·c. */
interface CentredRows extends Pick<Rows, "count" | "dims" | "rounded" | "squares"> {
  /** c·x′. */
  readonly along: Float64Array;
}

function centredRows(set: FeatureSet, view: View): CentredRows {
  const rows = rowsOf(set, view);
  const { count, dims, exact } = rows;
  const along = Float64Array.from({ length: count }, (_, i) => dot(exact, i * dims, view.centre, 0, dims));
  return { ...rows, along };
}

/** The first `size` rows in an order, which is disposed. */
function subset({ dims, rounded, squares, along }: CentredRows, order: Tensor, size: number): CentredRows {
  const chosen = scope(() => order.slice([0], [size]));
  const indices = chosen.dataSync();
  const pick = (from: Float64Array) =>
    Float64Array.from({ length: size }, (_, i) => from[indices[i] as number] as number);
  const picked = { count: size, dims, rounded: gather(rounded, chosen), squares: pick(squares), along: pick(along) };
  for (const tensor of [order, chosen]) tensor.dispose();
  return picked;
}

/** The sum of the kernel over all pairs; over pairs of different rows where both are the same. */
async function kernelSum(a: CentredRows, b: CentredRows, { centre, scale }: View): Promise<number> {
  const { dims } = a;
  const constant = dot(centre, 0, centre, 0, dims);
  let total = 0;
  await forProducts(a.rounded, b.rounded, (products, first, count) => {
    for (let r = 0; r < count; r++) {
      const i = first + r;
      const alongA = a.along[i] as number;
      let sum = 0;
      for (let j = 0; j < b.count; j++) {
        if (a === b && i === j) continue;
        const product = scale * (scale * (products[r * b.count + j] as number) + alongA + (b.along[j] as number));
        // Not as a power, which is ten times as slow.
        const base = (product + constant) / dims + 1;
        sum += base * base * base;
      }
      total += sum;
    }
  });
  return total;
}
