// Which items make up which batch: a pure function of a few numbers, so that any batch of any epoch can be named without
// making those before it, and a resumed run sees what an uninterrupted one would.

import { show, UsageError } from "@figment/tensor";
import { permutation } from "../data/counterRandom.js";
import type { Transform } from "../transforms/transform.js";

/** Two 32-bit words from which all order and augmentation follow. */
export type LoaderKey = readonly [number, number];

/** Everything that determines the batches of a data set; plain data, for worker threads. */
export interface BatchPlan {
  readonly length: number;
  readonly batchSize: number;
  /** Batches per yield, or 0 for yields without a stacking axis. */
  readonly stack: number;
  readonly shuffle: boolean;
  readonly dropLast: boolean;
  /** What is done to every image. */
  readonly transforms: readonly Transform[];
  /** Values of the bytes 0 and 255. */
  readonly range: readonly [number, number];
  readonly key: LoaderKey;
}

/** Keeps the random numbers of the order apart from those of transforms. */
const orderStream = 1;

/** Batches in one pass through the data. */
export function batchesPerEpoch({ length, batchSize, dropLast }: BatchPlan): number {
  return dropLast ? Math.floor(length / batchSize) : Math.ceil(length / batchSize);
}

/** How many yields there are until `steps` or `epochs` end, whichever is first; one epoch when neither is given. */
export function totalYields(plan: BatchPlan, steps: number | undefined, epochs: number | undefined): number {
  const passes = epochs ?? (steps === undefined ? 1 : Infinity);
  const yields = Math.floor((passes * batchesPerEpoch(plan)) / Math.max(1, plan.stack));
  return Math.min(steps ?? Infinity, yields);
}

/** Looks up the items of batches; remembers the order of the epoch it was last asked about. */
export class BatchOrder {
  private readonly plan: BatchPlan;
  private epoch = -1;
  private order: Uint32Array | undefined;

  constructor(plan: BatchPlan) {
    this.plan = plan;
  }

  /** The epoch and items of batch `index`, counted through all epochs. */
  batch(index: number): { epoch: number; items: readonly number[] } {
    const { length, batchSize, shuffle, key } = this.plan;
    const perEpoch = batchesPerEpoch(this.plan);
    const epoch = Math.floor(index / perEpoch);
    const start = (index % perEpoch) * batchSize;
    const count = Math.min(batchSize, length - start);
    if (shuffle && epoch !== this.epoch) this.order = permutation(length, ...key, orderStream, epoch);
    this.epoch = epoch;
    const items = Array.from({ length: count }, (_, i) => this.order?.[start + i] ?? start + i);
    return { epoch, items };
  }
}

/** Checks what callers of a loader may get wrong. */
export function checkPlan(
  plan: BatchPlan,
  steps: number | undefined,
  epochs: number | undefined,
  prefetch: number,
): void {
  const { length, batchSize, stack, shuffle, dropLast } = plan;
  const integer = (name: string, value: number | undefined, least: number) => {
    const endless = value === Infinity && (name === "steps" || name === "epochs");
    if (value !== undefined && !endless && (!Number.isSafeInteger(value) || value < least)) {
      throw new UsageError(`loader: ${name} must be an integer of at least ${least}, got ${value}`);
    }
  };
  for (const [name, value] of Object.entries({ shuffle, dropLast }))
    if (typeof value !== "boolean") throw new UsageError(`loader: ${name} must be true or false, got ${show(value)}`);
  integer("batchSize", batchSize, 1);
  integer("steps", steps, 0);
  integer("epochs", epochs, 0);
  integer("prefetch", prefetch, 0);
  integer("stack", stack, 0);
  if (stack > 0 && !dropLast)
    throw new UsageError("loader: stack needs dropLast, since all batches of a stack have one size");
  if (dropLast && batchSize > length) {
    throw new UsageError(
      `loader: batchSize ${batchSize} exceeds the ${length} items, so dropLast leaves no batch; use dropLast: false`,
    );
  }
}
