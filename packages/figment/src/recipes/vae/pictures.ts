// What a trained autoencoder looks like: samples, images with their reconstructions below, and what its latents do.

import { type Dataset, saveGrid } from "@figment/io";
import { concat, type Rng, scope, type Tensor } from "@figment/tensor";
import { latentManifold, traverseLatents, type VAE } from "@figment/vae";

/** Samples in a grid: a square of this side; and images in a row of reconstructions. */
export const gridSide = 8;

/** Pixels of a picture's narrower side that are comfortable to look at. */
const comfortable = 640;

/** How much pictures of such images are enlarged. */
export const scaleFor = (height: number): number => Math.max(1, Math.floor(comfortable / (gridSide * height)));

/** Writes samples.png. */
export async function saveSamples(file: string, images: Tensor, range: readonly [number, number]): Promise<void> {
  await saveGrid(file, images, { columns: gridSide, scale: scaleFor(images.dim(1)), range });
}

/** Writes reconstructions.png: rows of images, and below each what the model makes of it. */
export async function saveReconstructions(
  file: string,
  dataset: Dataset,
  range: readonly [number, number],
  reconstruct: (images: Tensor, label: Tensor) => Tensor,
): Promise<void> {
  const count = Math.min(2 * gridSide, dataset.length);
  const batches = dataset.loader({ batchSize: count, steps: 1, shuffle: false, prefetch: 0, range });
  for await (const { image, label } of batches) {
    const rows = scope(() => {
      const made = reconstruct(image, label);
      const part = (x: Tensor, row: number): Tensor => {
        const start = row * gridSide;
        return x.slice([start, 0, 0, 0], [Math.min(gridSide, count - start), ...x.shape.slice(1)]);
      };
      return concat(
        Array.from({ length: Math.ceil(count / gridSide) }, (_, row) => [part(image, row), part(made, row)]).flat(),
      );
    });
    try {
      await saveGrid(file, rows, { columns: gridSide, scale: scaleFor(image.dim(1)), range });
    } finally {
      rows.dispose();
    }
  }
}

/** Rows of a traversal that one can still take in. */
const mostRows = 16;
/** Pictures a side of a manifold. */
const manifoldSide = 20;

/**
 * Writes manifold.png for a model of two latents, and for one of few more traversal.png: what each latent does to the first
 * image.
 */
export async function saveLatents(file: (name: string) => string, model: VAE, dataset: Dataset): Promise<void> {
  const { range } = model.likelihood;
  if (model.latents === 2) {
    const pictures = latentManifold(model, { side: manifoldSide });
    await saveGrid(file("manifold.png"), pictures, { columns: manifoldSide, padding: 0, range }).finally(() =>
      pictures.dispose(),
    );
    return;
  }
  if (model.latents > mostRows) return;
  const batches = dataset.loader({ batchSize: 1, steps: 1, shuffle: false, prefetch: 0, range });
  for await (const { image } of batches) {
    const rows = scope(() => traverseLatents(model, model.infer(image).mean, { steps: gridSide }));
    const options = { columns: gridSide, scale: scaleFor(image.dim(1)), range };
    await saveGrid(file("traversal.png"), rows, options).finally(() => rows.dispose());
  }
}

/** Lends a stream to `use` and frees it. */
export async function withStream<T>(stream: Rng, use: (stream: Rng) => Promise<T> | T): Promise<T> {
  try {
    return await use(stream);
  } finally {
    stream.dispose();
  }
}
