// Minibatch standard deviation (Karras et al. 2018, "Progressive growing of GANs", §3): the critic is told how much the samples
// of a batch differ, so that a generator that has collapsed to few images gives itself away.

import { checkCounts, Module } from "@figment/nn";
import { checkObject, concat, ShapeError, scope, showShape, type Tensor } from "@figment/tensor";

/** Options of {@link MinibatchStd}. */
export interface MinibatchStdOptions {
  /** Samples that are compared with each other. Default 4; smaller batches are one group. */
  readonly groupSize?: number;
  /** Statistics, each over a share of the channels. Default 1. */
  readonly features?: number;
}

/** Added to the variance before the root. */
const eps = 1e-8;

/**
 * Appends to each sample how much its group varies: the standard deviation (biased) over the group of every channel and
 * position, averaged over positions and channels. [N,H,W,C] → [N,H,W,C+features], [N,C] → [N,C+features]. Groups are the samples
 * n, n + N/groupSize, n + 2N/groupSize, …
 *
 * @example
 * new MinibatchStd({ groupSize: 2 }).forward(tensor([[1, 2], [5, 6]])).at(0, 2); // 2
 */
export class MinibatchStd extends Module {
  readonly groupSize: number;
  readonly features: number;

  /** @throws UsageError unless the numbers are integers of at least 1. */
  constructor(options: MinibatchStdOptions = {}) {
    super();
    const { groupSize = 4, features = 1 } = checkObject("MinibatchStd", "options", options);
    checkCounts("MinibatchStd", { groupSize, features });
    this.groupSize = groupSize;
    this.features = features;
  }

  /** @throws ShapeError when the groups do not divide the batch or the features the channels, or x has less than two axes. */
  forward(x: Tensor): Tensor {
    const n = x.shape[0] ?? 0;
    const channels = x.shape.at(-1) ?? 0;
    const group = Math.min(this.groupSize, n);
    const { features } = this;
    if (x.rank < 2 || n === 0 || n % group !== 0 || channels % features !== 0)
      throw new ShapeError(
        `MinibatchStd: samples ${showShape(x.shape)} do not divide into groups of ${this.groupSize} and ${features} shares of channels`,
      );
    return scope(() => {
      const positions = x.size / (n * channels);
      const grouped = x.reshape([group, n / group, positions, features, channels / features]);
      const variance = grouped
        .sub(grouped.mean(0, { keepDims: true }))
        .square()
        .mean(0);
      const statistic = variance.add(eps).sqrt().mean([1, 3]); // [N/group, features]
      const middle = x.shape.slice(1, -1);
      const spread = statistic
        .reshape([1, n / group, ...middle.map(() => 1), features])
        .broadcastTo([group, n / group, ...middle, features]);
      return concat([x, spread.reshape([n, ...middle, features]).cast(x.dtype)], x.rank - 1);
    });
  }
}
