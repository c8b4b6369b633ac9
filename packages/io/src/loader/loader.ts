// The loader: seeded, resumable batches of a data set, made ahead of time on a worker thread.

import {
  CheckpointError,
  checkArray,
  checkObject,
  checkRange,
  type Json,
  type Rng,
  type Stateful,
  type Tensor,
  tensor,
  UsageError,
} from "@figment/tensor";
import { seedWords } from "../data/counterRandom.js";
import type { Dataset } from "../data/dataset.js";
import { type Transform, transformedShape } from "../transforms/transform.js";
import { type Feed, InlineFeed, WorkerFeed } from "./feed.js";
import { type BatchPlan, batchesPerEpoch, checkPlan, type LoaderKey, totalYields } from "./plan.js";

/** Options of {@link Dataset.loader}. */
export interface LoaderOptions {
  readonly batchSize: number;
  /** End after this many yields, counted from the very first, resumed or not. */
  readonly steps?: number;
  /** End after this many passes through the data. Without `steps` and `epochs`: one. Infinity never ends. */
  readonly epochs?: number;
  /** Order and augmentation follow from it: an integer. Default 0. */
  readonly seed?: number;
  /** Order and augmentation follow from its key, in place of `seed`; nothing is drawn from it. */
  readonly rng?: Pick<Rng, "key">;
  /** A new order in each epoch. Default true. */
  readonly shuffle?: boolean;
  /** Leave out the last, smaller batch of each epoch. Default true. */
  readonly dropLast?: boolean;
  /** How many yields to prepare ahead on a worker thread. Default 2; 0 makes them on the calling thread. */
  readonly prefetch?: number;
  /** Values of the bytes 0 and 255. Default [-1, 1]. */
  readonly range?: readonly [number, number];
  /** Batches per yield: images become [stack,B,H,W,C], labels [stack,B]. */
  readonly stack?: number;
  /** What is done to every image, in this order; random choices are drawn anew in each epoch. */
  readonly transforms?: readonly Transform[];
  /** Ends the iteration by rejecting with its reason. */
  readonly signal?: AbortSignal;
}

/** Images f32 [B,H,W,C] and labels i32 [B]. */
export type Batch = {
  readonly image: Tensor;
  readonly label: Tensor;
};

/**
 * An asynchronous sequence of batches. Each is borrowed: its tensors are disposed when the next one is asked for or the
 * loop is left, so `.clone()` what is to stay. The worker stops when the loop ends, for whatever reason.
 *
 * The loader is Stateful. Its state counts the batches handed out, not those prepared, so that a loader restored from it
 * goes on with the batch that would have come next, bit for bit.
 *
 * @example
 * const transforms = [{ crop: 28, at: "random", padding: 2 }, { flip: 0.5 }] as const;
 * const loader = digits({ count: 8 }).loader({ batchSize: 4, steps: 2, seed: 0, transforms });
 * for await (const { image } of loader) image.mean();
 */
export class Loader implements Stateful, AsyncIterable<Batch> {
  /** How many yields there are in all; Infinity when nothing bounds them. */
  readonly length: number;
  private readonly dataset: Dataset;
  private plan: BatchPlan;
  private readonly imageShape: readonly number[];
  private readonly prefetch: number;
  private readonly signal: AbortSignal | undefined;
  private handedOut = 0;
  private iterating = false;
  private exhausted = false;

  /** @internal Use {@link Dataset.loader}. */
  constructor(dataset: Dataset, options: LoaderOptions) {
    const {
      batchSize,
      steps,
      epochs,
      prefetch = 2,
      stack,
      transforms = [],
      signal,
    } = checkObject("Loader", "options", options, "batchSize");
    const { shuffle = true, dropLast = true, range = [-1, 1] } = options;
    checkRange("loader", range);
    checkArray("loader", "transforms", transforms);
    if (signal !== undefined) checkObject("loader", "signal", signal, "throwIfAborted", "addEventListener");
    if (stack === 0) throw new UsageError("loader: stack must be an integer of at least 1, got 0");
    this.plan = {
      length: dataset.length,
      batchSize,
      stack: stack ?? 0,
      shuffle,
      dropLast,
      transforms,
      range: [range[0], range[1]],
      key: keyOf(options),
    };
    checkPlan(this.plan, steps, epochs, prefetch);
    if (options.range && transforms.some((transform) => "normalize" in transform)) {
      throw new UsageError("loader: normalize takes the place of range; give one of them");
    }
    this.imageShape = transformedShape(dataset.shape, transforms);
    this.length = totalYields(this.plan, steps, epochs);
    this.dataset = dataset;
    this.prefetch = prefetch;
    this.signal = signal;
  }

  /** How many yields were handed out so far. */
  get position(): number {
    return this.handedOut;
  }

  /** Passes through the data that are complete with the yields handed out so far, in fractions. */
  get epoch(): number {
    return (this.handedOut * Math.max(1, this.plan.stack)) / batchesPerEpoch(this.plan);
  }

  /** Starts again from the first batch, in the same order as before. */
  rewind(): void {
    this.refuseWhileIterating("rewind");
    this.handedOut = 0;
    this.exhausted = false;
  }

  /**
   * Iterates from the current position to the end.
   *
   * @throws UsageError when another iteration is going on, or this loader has already run to its end.
   * @throws DataError when an item cannot be read.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<Batch, void, undefined> {
    this.refuseWhileIterating("a second iteration");
    if (this.exhausted)
      throw new UsageError(`loader: its ${this.length} batches were all handed out; rewind() starts again`);
    this.signal?.throwIfAborted();
    this.iterating = true;
    let feed: Feed | undefined;
    try {
      while (this.handedOut < this.length) {
        feed ??= this.openFeed();
        const batch = await this.take(feed);
        this.handedOut++;
        try {
          yield batch;
        } finally {
          batch.image.dispose();
          batch.label.dispose();
        }
      }
      this.exhausted = true;
    } finally {
      this.iterating = false;
      await feed?.close();
    }
  }

  captureState(): ReturnType<Stateful["captureState"]> {
    return { cells: {}, json: { position: this.handedOut, key: [...this.plan.key], ...this.fingerprint() } };
  }

  /**
   * Goes to the position of a captured state, with its order of items.
   *
   * @throws CheckpointError when the state belongs to a loader of another data set or batch size.
   */
  restoreState({ json }: Parameters<Stateful["restoreState"]>[0]): void {
    this.refuseWhileIterating("restoreState");
    const { position, key, ...fingerprint } = checkState(json);
    const own: Record<string, Json> = this.fingerprint();
    const differences = Object.keys({ ...own, ...fingerprint })
      .filter((name) => own[name] !== fingerprint[name])
      .map((name) => `${name} was ${JSON.stringify(fingerprint[name])}, is ${JSON.stringify(own[name])}`);
    if (differences.length > 0)
      throw new CheckpointError(`loader: the saved state is of other batches: ${differences.join("; ")}`);
    this.plan = { ...this.plan, key };
    this.handedOut = position;
    this.exhausted = false;
  }

  private fingerprint(): Record<string, Json> {
    const { length, batchSize, stack, shuffle, dropLast, transforms } = this.plan;
    return {
      dataset: this.dataset.name,
      length,
      batchSize,
      stack,
      shuffle,
      dropLast,
      transforms: JSON.stringify(transforms),
    };
  }

  private openFeed(): Feed {
    const end = Number.isFinite(this.length) ? this.length : null;
    const start = { source: this.dataset.source, plan: this.plan, first: this.handedOut, end, prefetch: this.prefetch };
    return this.prefetch === 0 ? new InlineFeed(this.dataset, start) : new WorkerFeed(start);
  }

  private async take(feed: Feed): Promise<Batch> {
    const raw = await feed.next(this.signal);
    const { stack } = this.plan;
    const rows = raw.label.length / Math.max(1, stack);
    const lead = stack > 0 ? [stack, rows] : [rows];
    const image = tensor(raw.image, { shape: [...lead, ...this.imageShape], dtype: "f32" });
    const label = tensor(raw.label, { shape: lead, dtype: "i32" });
    feed.recycle(raw);
    return { image, label };
  }

  private refuseWhileIterating(what: string): void {
    if (this.iterating) throw new UsageError(`loader: ${what} while an iteration is going on; leave its loop first`);
  }
}

function keyOf({ seed = 0, rng }: LoaderOptions): LoaderKey {
  if (rng) return [rng.key[0] >>> 0, rng.key[1] >>> 0];
  if (!Number.isSafeInteger(seed)) throw new UsageError(`loader: seed must be an integer, got ${seed}`);
  return seedWords(seed);
}

interface LoaderState extends Record<string, unknown> {
  readonly position: number;
  readonly key: LoaderKey;
}

function checkState(json: unknown): LoaderState {
  const state = (json ?? {}) as Partial<LoaderState>;
  const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
  if (!isCount(state.position) || !Array.isArray(state.key) || state.key.length !== 2 || !state.key.every(isCount)) {
    throw new CheckpointError("loader: the saved state is not that of a loader");
  }
  return state as LoaderState;
}
