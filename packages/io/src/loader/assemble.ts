// Fills batches: looks up their items, gets them from the data set and transforms them.

import { show, sizeOf } from "@figment/tensor";
import type { Dataset } from "../data/dataset.js";
import { DataError } from "../errors.js";
import { Pipeline } from "../transforms/pipeline.js";
import { BatchOrder, type BatchPlan } from "./plan.js";

/** A batch as plain memory. */
export interface RawBatch {
  readonly image: Float32Array<ArrayBuffer>;
  readonly label: Int32Array<ArrayBuffer>;
}

/** Makes the batches of a plan, one after the other. */
export class Assembler {
  private readonly dataset: Dataset;
  private readonly plan: BatchPlan;
  private readonly order: BatchOrder;
  private readonly pipeline: Pipeline;

  constructor(dataset: Dataset, plan: BatchPlan) {
    this.dataset = dataset;
    this.plan = plan;
    this.order = new BatchOrder(plan);
    this.pipeline = new Pipeline(dataset.shape, plan.transforms, plan.range, plan.key);
  }

  /** Yield `index`: one batch, or a stack of them. Memory of `spare` is used again where it fits. */
  async make(index: number, spare?: RawBatch): Promise<RawBatch> {
    const depth = Math.max(1, this.plan.stack);
    const batches = Array.from({ length: depth }, (_, i) => this.order.batch(index * depth + i));
    const count = batches.reduce((sum, { items }) => sum + items.length, 0);
    const stored = sizeOf(this.dataset.shape);
    const pixels = sizeOf(this.pipeline.shape);
    const image = spare?.image.length === count * pixels ? spare.image : new Float32Array(count * pixels);
    const label = spare?.label.length === count ? spare.label : new Int32Array(count);
    let at = 0;
    for (const { epoch, items } of batches) {
      const examples = await Promise.all(items.map((item) => this.dataset.get(item)));
      examples.forEach((example, i) => {
        const item = items[i] as number;
        const bytes = example.image.length;
        if (bytes !== stored)
          throw new DataError(`${this.dataset.name}: item ${item} has ${bytes} bytes, expected ${stored}`);
        if (!Number.isInteger(example.label) || example.label !== (example.label | 0))
          throw new DataError(
            `${this.dataset.name}: item ${item} has the label ${show(example.label)}, expected an integer of 32 bits`,
          );
        this.pipeline.run(example.image, epoch, item, image.subarray(at * pixels, (at + 1) * pixels));
        label[at++] = example.label;
      });
    }
    return { image, label };
  }
}
