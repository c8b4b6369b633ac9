// From images to features, batch by batch: what the images come from and what looks at them are the caller's.

import { checkCounts } from "@figment/nn";
import {
  checkObject,
  checkTensor,
  DTypeError,
  ShapeError,
  scope,
  show,
  showShape,
  Tensor,
  throwIfAborted,
  UsageError,
} from "@figment/tensor";
import { FeatureSet } from "./featureSet.js";

/** Looks at images [N,H,W,C] and gives features [N,D], or [N,...], which are flattened: a network's layer, or anything. */
export type FeatureExtractor = (images: Tensor) => Tensor | Promise<Tensor>;

/** A batch of images [N,H,W,C], by itself or as loaders give it. */
export type ImageBatch = Tensor | { readonly image: Tensor };

/** Images, all at once or in batches. Their tensors stay their owner's. */
export type ImageSource = Tensor | Iterable<ImageBatch> | AsyncIterable<ImageBatch>;

/** Options of {@link extractFeatures}. */
export interface ExtractOptions {
  /** Images that the extractor is given at once, where the source is one tensor. Default 250. */
  readonly batchSize?: number;
  /** Ends the work by rejecting with its reason. */
  readonly signal?: AbortSignal;
  /** Told how many images are done, after each batch. */
  readonly onProgress?: (done: number) => void;
}

/**
 * The features of all images of a source. What the extractor gives is read and disposed, unless it is what it was given.
 *
 * @throws UsageError when there are no images; ShapeError when the extractor gives another number of rows than images, or
 * rows of another length than before; NonFiniteError when it gives NaN or infinite numbers.
 * @example
 * const pixels = await extractFeatures(images, (x) => x.reshape([x.dim(0), -1]), { batchSize: 4 });
 * pixels.count; // 8
 */
export async function extractFeatures(
  source: ImageSource,
  extractor: FeatureExtractor,
  options: ExtractOptions = {},
): Promise<FeatureSet> {
  const { batchSize = 250, signal, onProgress } = checkObject("extractFeatures", "options", options);
  checkCounts("extractFeatures", { batchSize });
  if (typeof extractor !== "function")
    throw new UsageError(`extractFeatures: expected a function from images to features, got ${show(extractor)}`);
  const sets: FeatureSet[] = [];
  let done = 0;
  for await (const images of batchesOf(source, batchSize)) {
    throwIfAborted(signal);
    const features = await extractor(images);
    checkTensor("extractFeatures", "the extractor's result", features);
    try {
      if (features.dim(0) !== images.dim(0))
        throw new ShapeError(
          `extractFeatures: ${images.dim(0)} images gave features of shape ${showShape(features.shape)}`,
        );
      sets.push(await FeatureSet.from(features));
    } finally {
      if (features !== images) features.dispose();
    }
    done += images.dim(0);
    onProgress?.(done);
  }
  if (sets.length === 0) throw new UsageError("extractFeatures: the source has no images");
  return FeatureSet.concat(sets);
}

/** The batches of a source; those cut from one tensor are borrowed until the next. */
export async function* batchesOf(source: ImageSource, batchSize: number): AsyncGenerator<Tensor, void, undefined> {
  if (source instanceof Tensor) {
    for (let first = 0; first < source.dim(0); first += batchSize) {
      const count = Math.min(batchSize, source.dim(0) - first);
      const rest = source.shape.slice(1);
      const batch = scope(() => source.slice([first, ...rest.map(() => 0)], [count, ...rest]));
      try {
        yield batch;
      } finally {
        batch.dispose();
      }
    }
    return;
  }
  const batches = Symbol.asyncIterator in Object(source) || Symbol.iterator in Object(source);
  if (!batches) throw new UsageError(`extractFeatures: expected images or batches of them, got ${show(source)}`);
  for await (const batch of source) {
    const images = batch instanceof Tensor ? batch : batch?.image;
    if (!(images instanceof Tensor))
      throw new DTypeError(`extractFeatures: expected batches of images, got ${show(batch)}`);
    yield images;
  }
}
