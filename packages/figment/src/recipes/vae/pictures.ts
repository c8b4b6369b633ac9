// What a trained autoencoder looks like: samples, images with their reconstructions below, and what its latents do.

import { type Dataset, saveGrid } from "@figment/io";
import { scope, type Tensor } from "@figment/tensor";
import { latentManifold, traverseLatents, type VAE } from "@figment/vae";
import { inTurn, scaleFor } from "../pictures.js";

/** Samples in a grid: a square of this side; and images in a row of reconstructions. */
export const gridSide = 8;

/** Writes samples.png. */
export async function saveSamples(file: string, images: Tensor, range: readonly [number, number]): Promise<void> {
  await saveGrid(file, images, { columns: gridSide, scale: scaleFor(gridSide, images.dim(1)), range });
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
    const rows = scope(() => inTurn(image, reconstruct(image, label), gridSide));
    try {
      await saveGrid(file, rows, { columns: gridSide, scale: scaleFor(gridSide, image.dim(1)), range });
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
    const options = { columns: gridSide, scale: scaleFor(gridSide, image.dim(1)), range };
    await saveGrid(file("traversal.png"), rows, options).finally(() => rows.dispose());
  }
}
