// What a data set is: numbered images of one shape with labels, and a way to open it again on another thread.

import { checkObject, UsageError } from "@figment/tensor";
import { Loader, type LoaderOptions } from "../loader/loader.js";

/** One image, [H,W,C] bytes in row-major order, and the number of its class. */
export interface Example {
  readonly image: Uint8Array;
  readonly label: number;
}

/**
 * How to open a data set again, on any thread of this machine: the function `open` that the ES module at the URL `module`
 * exports is called with `options`, which must survive structured cloning.
 */
export interface DatasetSource {
  readonly module: string;
  readonly open: string;
  readonly options: unknown;
}

/**
 * Numbered images of one shape. Subclasses say what they hold; `loader` serves it in batches.
 *
 * @example
 * const dataset: Dataset = digits({ count: 8 });
 * const { image } = await dataset.get(5);
 * dataset.length; // 8
 * image.length; // 784
 */
export abstract class Dataset {
  abstract readonly name: string;
  abstract readonly length: number;
  /** [H, W, C] of every image. */
  abstract readonly shape: readonly [height: number, width: number, channels: number];
  /** Names of the classes, where there are some. */
  readonly classes?: readonly string[];
  /** How a worker thread opens the same data set. */
  abstract readonly source: DatasetSource;

  /** Item `index`, 0 … length - 1. The same item always has the same bytes. */
  abstract get(index: number): Example | Promise<Example>;

  /**
   * Batches of this data set, made on a worker thread.
   *
   * @example
   * const batches = digits({ count: 8 }).loader({ batchSize: 4, steps: 2, seed: 0 });
   * for await (const { image, label } of batches) console.log(image.shape, label.shape);
   */
  loader(options: LoaderOptions): Loader {
    return new Loader(this, options);
  }

  /** Throws for an index that names no item. */
  protected checkIndex(index: number): void {
    if (!Number.isInteger(index) || index < 0 || index >= this.length) {
      throw new UsageError(`${this.name}: no item ${index}; the items are 0 to ${this.length - 1}`);
    }
  }
}

/** A data set whose items are there at once, with nothing to wait for. */
export interface ImmediateDataset extends Dataset {
  get(index: number): Example;
}

/**
 * Opens the data set that a source describes.
 *
 * @example
 * const { source } = digits({ count: 10 });
 * const again = await openSource(source);
 * again.length; // 10
 */
export async function openSource(source: DatasetSource): Promise<Dataset> {
  const { module, open, options } = checkObject("openSource", "source", source, "module", "open");
  const exported = ((await import(module)) as Record<string, unknown>)[open];
  if (typeof exported !== "function") throw new UsageError(`${module} exports no function ${open}`);
  return (await exported(options)) as Dataset;
}
