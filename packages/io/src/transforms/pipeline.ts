// Doing transforms: bytes to bytes step by step, then bytes to floats. Random choices follow from the loader's key, the epoch, the
// item and the step alone, so that any batch can be made on its own, on any thread.

import { CounterRandom } from "../data/counterRandom.js";
import { type ImageShape, resampler } from "../data/resample.js";
import { sidesOf, type Transform, transformedShape } from "./transform.js";

/** What a step may look at besides the image. */
interface Draw {
  readonly epoch: number;
  readonly item: number;
}

type Step = (image: Uint8Array, draw: Draw) => Uint8Array;

/** Keeps the random numbers of transforms apart from those of the order of items. */
const transformStream = 2;

/** Turns the images of a data set into what batches hold. */
export class Pipeline {
  /** [H, W, C] of the results. */
  readonly shape: ImageShape;
  private readonly steps: readonly Step[];
  /** The value of each byte, for all channels or for each of them. */
  private readonly values: readonly Float32Array[];

  constructor(
    shape: ImageShape,
    transforms: readonly Transform[],
    range: readonly [number, number],
    key: readonly number[],
  ) {
    this.shape = transformedShape(shape, transforms);
    const random = new CounterRandom();
    const steps: Step[] = [];
    let at = shape;
    for (const [i, transform] of transforms.entries()) {
      const step = stepOf(transform, at, ({ epoch, item }) => {
        random.rekey(...key, transformStream + 16 * i, epoch, item);
        return random;
      });
      if (step) steps.push(step);
      at = transformedShape(at, [transform]);
    }
    this.steps = steps;
    const byChannel = transforms.some((transform) => "normalize" in transform);
    this.values = Array.from({ length: byChannel ? shape[2] : 1 }, (_, channel) =>
      valuesOf(transforms, channel, range),
    );
  }

  /** Writes the values of one image, [H,W,C] as in `shape`. */
  run(image: Uint8Array, epoch: number, item: number, into: Float32Array): void {
    let bytes = image;
    for (const step of this.steps) bytes = step(bytes, { epoch, item });
    const channels = this.values.length;
    for (let c = 0; c < channels; c++) {
      const values = this.values[c] as Float32Array;
      for (let i = c; i < into.length; i += channels) into[i] = values[bytes[i] as number] as number;
    }
  }
}

function valuesOf(
  transforms: readonly Transform[],
  channel: number,
  [low, high]: readonly [number, number],
): Float32Array {
  const last = transforms.at(-1);
  if (!last || !("normalize" in last))
    return Float32Array.from({ length: 256 }, (_, byte) => low + ((high - low) * byte) / 255);
  const { mean, std } = last.normalize;
  const of = (values: readonly number[]) => values[values.length === 1 ? 0 : channel] as number;
  return Float32Array.from({ length: 256 }, (_, byte) => (byte / 255 - of(mean)) / of(std));
}

function stepOf(transform: Transform, shape: ImageShape, randomFor: (draw: Draw) => CounterRandom): Step | undefined {
  const [height, width, channels] = shape;
  if ("normalize" in transform) return undefined;
  if ("flip" in transform)
    return (image, draw) => (randomFor(draw).uniform() < transform.flip ? mirror(image, shape) : image);
  if ("resize" in transform) return resampler(shape, sidesOf(transform.resize));
  const [toHeight, toWidth] = sidesOf(transform.crop);
  const { at = "center", padding = 0 } = transform;
  const [spareHeight, spareWidth] = [height + 2 * padding - toHeight, width + 2 * padding - toWidth];
  return (image, draw) => {
    const random = at === "random" ? randomFor(draw) : undefined;
    const top = (random ? random.below(spareHeight + 1) : Math.floor(spareHeight / 2)) - padding;
    const left = (random ? random.below(spareWidth + 1) : Math.floor(spareWidth / 2)) - padding;
    const out = new Uint8Array(toHeight * toWidth * channels);
    const [firstX, endX] = [Math.max(0, left), Math.min(width, left + toWidth)];
    for (let y = Math.max(0, top); y < Math.min(height, top + toHeight); y++) {
      const from = image.subarray((y * width + firstX) * channels, (y * width + endX) * channels);
      out.set(from, ((y - top) * toWidth + firstX - left) * channels);
    }
    return out;
  };
}

function mirror(image: Uint8Array, [height, width, channels]: ImageShape): Uint8Array {
  const out = new Uint8Array(image.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [from, to] = [(y * width + x) * channels, (y * width + width - 1 - x) * channels];
      for (let c = 0; c < channels; c++) out[to + c] = image[from + c] as number;
    }
  }
  return out;
}
