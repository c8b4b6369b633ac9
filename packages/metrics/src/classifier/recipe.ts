// How the classifier is trained. A change of any number here, or of the network, is another classifier, which the name of its
// cached file says.

import type { Dataset } from "@figment/io";

/** Everything that the trained weights follow from, besides the seed and the images. */
export const recipe = {
  network: "lenet 8-16-120-84, relu, max pooling, dropout 0.2",
  epochs: 8,
  batchSize: 128,
  peakLearningRate: 3e-3,
  warmup: 100,
  weightDecay: 0.01,
  /** Each batch is moved by up to that many pixels along both axes. */
  shift: 2,
  optimizer: "adamw, cosine",
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
