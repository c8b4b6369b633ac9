// Many images as one: grids of samples, and strips that show how samples came about.

import {
  checkArray,
  checkObject,
  checkRange,
  checkTensor,
  type ImageBytes,
  ShapeError,
  show,
  type Tensor,
  UsageError,
} from "@figment/tensor";
import { checkPath } from "../files/checkPath.js";
import { type RangeOptions, writeImage } from "./files.js";

/** Pictures of more pixels than this take minutes to encode and too much memory. */
export const maxPixels = 2 ** 28;

/** How images are laid out. */
export interface GridOptions extends RangeOptions {
  /** Images per row. Default: as square as it gets. */
  readonly columns?: number;
  /** Pixels between and around images, before scaling. Default 2. */
  readonly padding?: number;
  /** Each pixel becomes scale × scale pixels. Default 1. */
  readonly scale?: number;
  /** Byte value between the images, 0 black (default) … 255 white. */
  readonly background?: number;
}

/**
 * Lays images [N,H,W,C] (C = 1, 3 or 4) or [N,H,W] out in rows. Values beyond the range are clipped.
 *
 * @throws ShapeError for tensors of another rank.
 *
 * @example
 * const { width } = await imageGrid(images, { columns: 2 });
 */
export async function imageGrid(images: Tensor, options: GridOptions = {}): Promise<ImageBytes> {
  checkTensor("imageGrid", "images", images);
  const { count, height, width, channels } = extents(images);
  return compose({ count, height, width, channels, data: await images.data() }, options);
}

/**
 * Saves images [N,H,W,C] as one grid, atomically.
 *
 * @example
 * await saveGrid("samples.png", images, { columns: 8 });
 */
export async function saveGrid(path: string, images: Tensor, options: GridOptions = {}): Promise<void> {
  checkPath("saveGrid", "path", path);
  checkTensor("saveGrid", "images", images);
  await writeImage(path, await imageGrid(images, options));
}

/**
 * Saves frames of the same images as one picture, atomically: each frame [N,H,W,C] is a column, each image a row.
 *
 * @example
 * await saveStrip("denoising.png", frames);
 */
export async function saveStrip(
  path: string,
  frames: readonly Tensor[],
  options: Omit<GridOptions, "columns"> = {},
): Promise<void> {
  checkPath("saveStrip", "path", path);
  checkArray("saveStrip", "frames", frames);
  for (const frame of frames) checkTensor("saveStrip", "a frame", frame);
  const [first] = frames;
  if (!first) throw new UsageError("saveStrip: there are no frames");
  const { count, height, width, channels } = extents(first);
  for (const { shape } of frames) {
    if (String(shape) !== String(first.shape))
      throw new ShapeError(`saveStrip: frames of shape [${first.shape}] and [${shape}] do not fit`);
  }
  const columns = await Promise.all(frames.map((frame) => frame.data()));
  const size = height * width * channels;
  const data = new Float64Array(count * columns.length * size);
  columns.forEach((column, t) => {
    for (let n = 0; n < count; n++)
      data.set(column.subarray(n * size, (n + 1) * size), (n * columns.length + t) * size);
  });
  const stacked = { count: count * columns.length, height, width, channels, data };
  await writeImage(path, compose(stacked, { ...options, columns: columns.length }));
}

interface Extents {
  readonly count: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
}

interface Stack extends Extents {
  readonly data: ArrayLike<number>;
}

function extents({ shape }: Tensor): Extents {
  if (shape.length !== 3 && shape.length !== 4)
    throw new ShapeError(`a grid takes images [N,H,W,C] or [N,H,W], got [${shape}]`);
  const [count = 0, height = 0, width = 0, channels = 1] = shape;
  if (count * height * width * channels === 0) throw new ShapeError(`a grid takes at least one image, got [${shape}]`);
  return { count, height, width, channels };
}

function compose({ count, height, width, channels, data }: Stack, options: GridOptions): ImageBytes {
  const { padding = 2, scale = 1, background = 0, range = [-1, 1] } = checkObject("grid", "options", options);
  const { columns = Math.ceil(Math.sqrt(count)) } = options;
  checkRange("grid", range);
  const [low, high] = range;
  check("columns", columns, 1);
  check("padding", padding, 0);
  check("scale", scale, 1);
  if (!(background >= 0 && background <= 255))
    throw new UsageError(`grid: background must be a byte, 0 to 255, got ${show(background)}`);
  const across = Math.min(columns, count);
  const down = Math.ceil(count / across);
  const gridWidth = scale * (across * width + (across + 1) * padding);
  const gridHeight = scale * (down * height + (down + 1) * padding);
  if (!(gridWidth * gridHeight <= maxPixels))
    throw new UsageError(`grid: ${gridWidth} × ${gridHeight} pixels; at most ${maxPixels} in all are laid out`);
  const bytes = new Uint8ClampedArray(gridWidth * gridHeight * channels).fill(background);
  for (let n = 0; n < count; n++) {
    const left = scale * (padding + (n % across) * (width + padding));
    const top = scale * (padding + Math.floor(n / across) * (height + padding));
    for (let y = 0; y < height * scale; y++) {
      const row = (n * height + Math.floor(y / scale)) * width;
      for (let x = 0; x < width * scale; x++) {
        const from = (row + Math.floor(x / scale)) * channels;
        const to = ((top + y) * gridWidth + left + x) * channels;
        for (let c = 0; c < channels; c++) bytes[to + c] = (((data[from + c] as number) - low) * 255) / (high - low);
      }
    }
  }
  return { width: gridWidth, height: gridHeight, channels, data: new Uint8Array(bytes.buffer) };
}

function check(name: string, value: number, least: number): void {
  if (!Number.isInteger(value) || value < least)
    throw new UsageError(`grid: ${name} must be an integer of at least ${least}, got ${value}`);
}
