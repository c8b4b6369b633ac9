// How the classifier is trained. A change of any number here, or of the network, is another classifier, which the name of its
// cached file says.

import type { Dataset } from "@figment/io";

/** Everything that the trained weights follow from, besides the seed and the images. */
export const recipe = {
  network: "lenet 20-50-500, relu, max pooling",
  epochs: 3,
  batchSize: 128,
  peakLearningRate: 2e-3,
  warmup: 100,
  optimizer: "adam, cosine",
} as const;

/** Images that stand for all of a data set when it is told from others. */
const sampledImages = 512;

/** A short name for the recipe, the seed and the training images. */
export async function keyOf(train: Dataset, seed: number): Promise<string> {
  const pieces: Uint8Array[] = [
    new TextEncoder().encode(JSON.stringify({ recipe, seed, length: train.length, shape: train.shape })),
  ];
  const stride = Math.max(1, Math.floor(train.length / sampledImages));
  for (let i = 0; i < train.length; i += stride) {
    const { image, label } = await train.get(i);
    pieces.push(image, Uint8Array.of(label));
  }
  const digest = await crypto.subtle.digest("SHA-256", Buffer.concat(pieces));
  return Buffer.from(digest).toString("hex").slice(0, 16);
}
