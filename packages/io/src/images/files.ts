// Images as files: PNG, JPEG, WebP and AVIF through sharp, written atomically.

import { extname } from "node:path";
import { fromImage, type ImageBytes, type Tensor, toImage, UsageError } from "@figment/tensor";
import { DataError, messageOf } from "../errors.js";
import { writeFileAtomic } from "../files/atomic.js";
import { loadSharp } from "./codec.js";

/** The values that stand for black and white. */
export interface RangeOptions {
  /** Default [-1, 1]. */
  readonly range?: readonly [number, number];
}

/** How an image is read. */
export interface LoadImageOptions extends RangeOptions {
  /** 1 grey, 3 RGB (default), 4 RGBA. With 1 or 3, transparency is laid on white. */
  readonly channels?: 1 | 3 | 4;
}

const formats = { ".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".avif": "avif" } as const;

/**
 * Writes image bytes to a file, atomically. The name's ending says the format: .png, .jpg, .webp or .avif.
 *
 * @throws UsageError for another ending or a number of channels that no image has.
 *
 * @example
 * await writeImage("dot.png", { width: 1, height: 1, channels: 1, data: new Uint8Array([128]) });
 */
export async function writeImage(path: string, { width, height, channels, data }: ImageBytes): Promise<void> {
  const ending = extname(path).toLowerCase();
  if (!Object.hasOwn(formats, ending)) {
    throw new UsageError(`${path}: the name must end in one of ${Object.keys(formats).join(" ")}`);
  }
  if (channels !== 1 && channels !== 3 && channels !== 4) {
    throw new UsageError(`${path}: an image has 1, 3 or 4 channels, got ${channels}`);
  }
  const sharp = await loadSharp();
  const image = sharp(data, { raw: { width, height, channels } }).toFormat(formats[ending as keyof typeof formats]);
  await writeFileAtomic(path, await image.toBuffer());
}

/**
 * Reads an image file as bytes.
 *
 * @throws DataError when it is no readable image.
 *
 * @example
 * await saveImage("sample.png", images.at(0));
 * const { width } = await readImage("sample.png");
 */
export async function readImage(path: string, channels: 1 | 3 | 4 = 3): Promise<ImageBytes> {
  const sharp = await loadSharp();
  try {
    const upright = sharp(path, { failOn: "error" }).autoOrient();
    const wanted = channels === 4 ? upright.ensureAlpha() : upright.flatten({ background: "#ffffff" });
    const coloured = wanted.toColourspace(channels === 1 ? "b-w" : "srgb");
    const { data, info } = await coloured.raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
    return {
      width: info.width,
      height: info.height,
      channels: info.channels,
      data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    };
  } catch (error) {
    throw new DataError(`${path}: cannot be read as an image: ${messageOf(error)}`, { path, cause: error });
  }
}

/**
 * Saves an image [H,W,C] (C = 1, 3 or 4) or [H,W], atomically. Values beyond the range are clipped.
 *
 * @example
 * await saveImage("sample.png", images.at(0));
 */
export async function saveImage(path: string, image: Tensor, options: RangeOptions = {}): Promise<void> {
  await writeImage(path, await toImage(image, options));
}

/**
 * Loads an image file as f32 [H,W,C]. The caller owns it.
 *
 * @example
 * await saveImage("sample.png", images.at(0));
 * const image = await loadImage("sample.png");
 */
export async function loadImage(path: string, { channels, range }: LoadImageOptions = {}): Promise<Tensor> {
  return fromImage(await readImage(path, channels), { range });
}
