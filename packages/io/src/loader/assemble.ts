// Fills batches: looks up their items, gets them from the data set, maps bytes to floats and mirrors some.

import { CounterRandom } from "../data/counterRandom.js";
import type { Dataset, Example } from "../data/dataset.js";
import { DataError } from "../errors.js";
import { BatchOrder, type BatchPlan } from "./plan.js";

/** A batch as plain memory. */
export interface RawBatch {
  readonly image: Float32Array<ArrayBuffer>;
  readonly label: Int32Array<ArrayBuffer>;
}

const flipStream = 2;

/** Makes the batches of a plan, one after the other. */
export class Assembler {
  private readonly dataset: Dataset;
  private readonly plan: BatchPlan;
  private readonly order: BatchOrder;
  private readonly values: Float32Array;
  private readonly random = new CounterRandom();

  constructor(dataset: Dataset, plan: BatchPlan) {
    this.dataset = dataset;
    this.plan = plan;
    this.order = new BatchOrder(plan);
    const [low, high] = plan.range;
    this.values = Float32Array.from({ length: 256 }, (_, byte) => low + ((high - low) * byte) / 255);
  }

  /** Yield `index`: one batch, or a stack of them. Memory of `spare` is used again where it fits. */
  async make(index: number, spare?: RawBatch): Promise<RawBatch> {
    const depth = Math.max(1, this.plan.stack);
    const batches = Array.from({ length: depth }, (_, i) => this.order.batch(index * depth + i));
    const count = batches.reduce((sum, { items }) => sum + items.length, 0);
    const pixels = this.dataset.shape.reduce((product, extent) => product * extent, 1);
    const image = spare?.image.length === count * pixels ? spare.image : new Float32Array(count * pixels);
    const label = spare?.label.length === count ? spare.label : new Int32Array(count);
    let at = 0;
    for (const { epoch, items } of batches) {
      const examples = await Promise.all(items.map((item) => this.dataset.get(item)));
      examples.forEach((example, i) => {
        this.place(example, items[i] as number, epoch, image.subarray(at * pixels, (at + 1) * pixels));
        label[at++] = example.label;
      });
    }
    return { image, label };
  }

  private place({ image }: Example, item: number, epoch: number, into: Float32Array): void {
    if (image.length !== into.length) {
      throw new DataError(`${this.dataset.name}: item ${item} has ${image.length} bytes, expected ${into.length}`);
    }
    const { values } = this;
    if (!this.mirrors(item, epoch)) {
      for (let i = 0; i < into.length; i++) into[i] = values[image[i] as number] as number;
      return;
    }
    const [, width, channels] = this.dataset.shape;
    const rowLength = width * channels;
    for (let i = 0; i < into.length; i++) {
      const inRow = i % rowLength;
      const channel = inRow % channels;
      into[i] = values[image[i - inRow + (rowLength - channels - (inRow - channel)) + channel] as number] as number;
    }
  }

  private mirrors(item: number, epoch: number): boolean {
    if (!this.plan.flip) return false;
    this.random.rekey(...this.plan.key, flipStream, epoch, item);
    return this.random.word() >= 0x80000000;
  }
}
