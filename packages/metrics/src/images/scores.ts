// What the comparisons of images pixel by pixel share: two batches of the same shape, read to the host in f64, and a number for
// each image.

import { DTypeError, isFloat, ShapeError, show, showShape, Tensor, UsageError } from "@figment/tensor";
import { checkFiniteNumbers, spanOf } from "../checks.js";

/** Options of comparisons of images. */
export interface ImageScoreOptions {
  /** The least and the largest value that pixels can have. Default [-1, 1]. */
  readonly range?: readonly [low: number, high: number];
}

/** A number for each image, and their mean. */
export interface ImageScores {
  readonly perImage: Float64Array;
  readonly mean: number;
}

/** One channel of one image, [height, width]. */
export interface Plane {
  readonly height: number;
  readonly width: number;
  readonly data: Float64Array;
}

/** Two batches of images, and the width of the range of their pixels. */
export interface ImagePair {
  readonly count: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly a: Float64Array;
  readonly b: Float64Array;
  readonly span: number;
}

/** Reads two batches [N,H,W,C] (or one image [H,W,C]) of the same shape. */
export async function readPair(
  owner: string,
  a: Tensor,
  b: Tensor,
  { range = [-1, 1] }: ImageScoreOptions,
): Promise<ImagePair> {
  const span = spanOf(owner, range);
  for (const x of [a, b]) {
    if (!(x instanceof Tensor)) throw new DTypeError(`${owner}: expected tensors, got ${show(x)}`);
    if (!isFloat(x.dtype)) throw new DTypeError(`${owner}: expected floats, got ${x.dtype}`);
  }
  if (String(a.shape) !== String(b.shape) || (a.rank !== 3 && a.rank !== 4))
    throw new ShapeError(
      `${owner}: expected two batches [N,H,W,C] of the same shape, or two images [H,W,C]; got ${showShape(a.shape)} and ${showShape(b.shape)}`,
    );
  if (a.size === 0) throw new UsageError(`${owner}: there are no images`);
  const [height = 0, width = 0, channels = 0] = a.shape.slice(-3);
  const count = a.rank === 4 ? a.dim(0) : 1;
  const [left, right] = await Promise.all([a.data(), b.data()]);
  for (const data of [left, right])
    checkFiniteNumbers(owner, data, (i) => `a pixel of image ${Math.floor(i / (height * width * channels))}`);
  return { count, height, width, channels, a: Float64Array.from(left), b: Float64Array.from(right), span };
}

/** A channel of an image of a batch. */
export function planeOf(
  batch: Float64Array,
  { height, width, channels }: ImagePair,
  image: number,
  channel: number,
): Plane {
  const size = height * width;
  const first = image * size * channels + channel;
  return { height, width, data: Float64Array.from({ length: size }, (_, i) => batch[first + i * channels] as number) };
}

/** The scores of all images, where `score` gives that of one channel; channels are averaged. */
export function scorePlanes(pair: ImagePair, score: (a: Plane, b: Plane) => number): ImageScores {
  const { count, channels } = pair;
  return withMean(
    Float64Array.from({ length: count }, (_, image) => {
      let sum = 0;
      for (let channel = 0; channel < channels; channel++)
        sum += score(planeOf(pair.a, pair, image, channel), planeOf(pair.b, pair, image, channel));
      return sum / channels;
    }),
  );
}

/** Scores with their mean. */
export const withMean = (perImage: Float64Array): ImageScores => ({
  perImage,
  mean: perImage.reduce((sum, x) => sum + x, 0) / perImage.length,
});
