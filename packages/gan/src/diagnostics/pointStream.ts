// Endless batches of points drawn afresh, for training on distributions that can be sampled.

import { checkCounts } from "@figment/nn";
import type { Rng, SavedState, Stateful, StateToRestore, Tensor } from "@figment/tensor";
import { checkObject, scope } from "@figment/tensor";

/** What points are drawn from, such as a {@link GaussianGrid}. */
export interface PointSource {
  /** Draws points f32 [n, D]. */
  sample(n: number, random: Rng): Tensor;
}

/** Options of {@link PointStream}. */
export interface PointStreamOptions {
  readonly batchSize: number;
  /** Batches per yield: [stack, batchSize, D]. Default: batches are not stacked. */
  readonly stack?: number;
  /** Where the points come from; its place is the stream's state. */
  readonly rng: Rng;
}

/**
 * An endless asynchronous sequence of batches `{ image: [batchSize, D] }`, each borrowed until the next one. Stateful: a stream
 * restored from its state goes on with the batch that would have come next.
 *
 * @example
 * const points = new PointStream(new GaussianGrid(), { batchSize: 4, stack: 2, rng: random });
 * for await (const { image } of points) {
 *   image; // [2, 4, 2]
 *   break;
 * }
 */
export class PointStream implements Stateful, AsyncIterable<{ readonly image: Tensor }> {
  private readonly source: PointSource;
  private readonly options: PointStreamOptions;

  /** @throws UsageError unless the counts are integers of at least 1. */
  constructor(source: PointSource, options: PointStreamOptions) {
    checkObject("PointStream", "source", source, "sample");
    checkObject("PointStream", "options", options, "rng");
    checkObject("PointStream", "rng", options.rng, "captureState");
    checkCounts("PointStream", { batchSize: options.batchSize, stack: options.stack ?? 1 });
    this.source = source;
    this.options = options;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<{ readonly image: Tensor }, void, undefined> {
    const { batchSize, stack, rng: random } = this.options;
    for (;;) {
      const image = scope(() => {
        const points = this.source.sample(batchSize * (stack ?? 1), random);
        return stack === undefined ? points : points.reshape([stack, batchSize, points.dim(1)]);
      });
      try {
        yield { image };
      } finally {
        image.dispose();
      }
    }
  }

  captureState(): SavedState {
    return this.options.rng.captureState();
  }

  /** @throws CheckpointError when the state is not that of a stream; then nothing has changed. */
  restoreState(state: StateToRestore): void {
    this.options.rng.restoreState(state);
  }
}
