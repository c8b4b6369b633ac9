// Where the samples that are evaluated come from.

import type { Dataset } from "@figment/io";
import { checkObject, rng, show, sizeOf, type Tensor, tensor, UsageError } from "@figment/tensor";
import { spanOf } from "../checks.js";

/**
 * Gives `count` images [count,H,W,C]: a generator, a sampler, or real images. `first` says how many were asked for before. The
 * tensor becomes the caller's.
 */
export type SampleSource = (count: number, first: number) => Tensor | Promise<Tensor>;

/** Options of {@link realImages}. */
export interface RealImagesOptions {
  /** A random order with this seed. Default: as they are. */
  readonly seed?: number;
  /** Values of the bytes 0 and 255. Default [-1, 1]. */
  readonly range?: readonly [low: number, high: number];
  /** What becomes of them, for example `(images) => gaussianBlur(images, 0.5)`. */
  readonly transform?: (images: Tensor) => Tensor;
}

/**
 * The images of a data set, each once.
 *
 * @throws UsageError when more are asked for than there are.
 * @example
 * const source = realImages(train, { transform: (images) => gaussianBlur(images, 0.7) });
 * await source(4, 0); // f32 [4, 28, 28, 1]
 */
export function realImages(dataset: Dataset, options: RealImagesOptions = {}): SampleSource {
  const { seed, range = [-1, 1], transform } = checkObject("realImages", "options", options);
  if (seed !== undefined && !Number.isSafeInteger(seed))
    throw new UsageError(`realImages: seed must be an integer, got ${show(seed)}`);
  const span = spanOf("realImages", range);
  let order: Int32Array | null = null;
  return async (count, first) => {
    if (first + count > dataset.length)
      throw new UsageError(`realImages: ${dataset.name} has ${dataset.length} images, asked for ${first + count}`);
    if (seed !== undefined) order ??= permutation(dataset.length, seed);
    const size = sizeOf(dataset.shape);
    const data = new Float32Array(count * size);
    for (let i = 0; i < count; i++) {
      const { image } = await dataset.get(order ? (order[first + i] as number) : first + i);
      for (let k = 0; k < size; k++) data[i * size + k] = range[0] + ((image[k] as number) * span) / 255;
    }
    const images = tensor(data, { shape: [count, ...dataset.shape] });
    if (!transform) return images;
    const changed = transform(images);
    if (changed !== images) images.dispose();
    return changed;
  };
}

function permutation(length: number, seed: number): Int32Array {
  const random = rng(seed);
  const order = random.permutation(length);
  const data = order.dataSync() as Int32Array;
  for (const owner of [order, random]) owner.dispose();
  return data;
}
