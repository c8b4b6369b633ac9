// Images as files: PNG, JPEG, WebP and AVIF through sharp, written atomically.

import { extname } from "node:path";
import {
  checkObject,
  checkTensor,
  fromImage,
  type ImageBytes,
  show,
  type Tensor,
  toImage,
  UsageError,
} from "@figment/tensor";
import { DataError, messageOf } from "../errors.js";
import { writeFileAtomic } from "../files/atomic.js";
import { checkPath } from "../files/checkPath.js";
import { checkImage, loadSharp, maxPixelsRead } from "./codec.js";

/** The values that stand for black and white. */
export interface RangeOptions {
  /** Default [-1, 1]. */
  readonly range?: readonly [number, number];
}

/** How an image is read. */
export interface LoadImageOptions extends RangeOptions {
  /** 1 grey, 3 RGB (default), 4 RGBA. With 1 or 3, transparency is laid on white. */
  readonly channels?: 1 | 3 | 4;
  /** Most pixels that the image may have, by its header. Default 2²⁶, 8192 × 8192. */
  readonly maxPixels?: number;
}

/** Formats by the endings of names. */
const formats = { ".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".avif": "avif" } as const;

/** Formats that images are encoded in. */
export type ImageFormat = "png" | "jpeg" | "webp" | "avif";

async function encode(
  { width, height, channels, data }: ImageBytes,
  format: ImageFormat,
  what: string,
): Promise<Uint8Array> {
  if (channels !== 1 && channels !== 3 && channels !== 4) {
    throw new UsageError(`${what}: an image has 1, 3 or 4 channels, got ${channels}`);
  }
  if (width === 0 || height === 0)
    throw new UsageError(`${what}: an image of ${width} × ${height} pixels has none to write`);
  const isSide = (side: number) => Number.isSafeInteger(side) && side > 0;
  if (!isSide(width) || !isSide(height) || !(data instanceof Uint8Array) || data.length !== width * height * channels)
    throw new UsageError(
      `${what}: expected width × height × channels bytes as a Uint8Array, got ${show(width)} × ${show(height)} × ${channels} and ${show(data)}`,
    );
  const sharp = await loadSharp();
  const encoded = await sharp(data, { raw: { width, height, channels }, limitInputPixels: false })
    .toFormat(format)
    .toBuffer()
    .catch((error: unknown) => {
      throw new UsageError(`${what}: ${width} × ${height} pixels cannot be written as ${format}: ${messageOf(error)}`);
    });
  return new Uint8Array(encoded.buffer, encoded.byteOffset, encoded.byteLength);
}

async function decode(
  source: string | Uint8Array,
  what: string,
  channels: 1 | 3 | 4 = 3,
  maxPixels = maxPixelsRead,
): Promise<ImageBytes> {
  if (![1, 3, 4].includes(channels)) throw new UsageError(`${what}: channels must be 1, 3 or 4, got ${show(channels)}`);
  if (!Number.isSafeInteger(maxPixels) || maxPixels < 1)
    throw new UsageError(`${what}: maxPixels must be an integer of at least 1, got ${show(maxPixels)}`);
  const sharp = await loadSharp();
  try {
    await checkImage(source, maxPixels);
    // 16 bits become 8 first: white paper laid under them would come out as 254 in grey.
    const opened = sharp(source, { failOn: "error", limitInputPixels: maxPixels }).pipelineColourspace("srgb");
    const upright = opened.autoOrient();
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
    const path = typeof source === "string" ? source : undefined;
    throw new DataError(`${what}: cannot be read as an image: ${messageOf(error)}`, { path, cause: error });
  }
}

/**
 * Writes image bytes to a file, atomically. The name's ending says the format: .png, .jpg, .webp or .avif.
 *
 * @throws UsageError for another ending, bytes that are no such image, and one too large for its format.
 *
 * @example
 * await writeImage("dot.png", { width: 1, height: 1, channels: 1, data: new Uint8Array([128]) });
 */
export async function writeImage(path: string, image: ImageBytes): Promise<void> {
  checkPath("writeImage", "path", path);
  checkObject("writeImage", "image", image, "width", "height", "channels", "data");
  const ending = extname(path).toLowerCase();
  if (!Object.hasOwn(formats, ending)) {
    throw new UsageError(`${path}: the name must end in one of ${Object.keys(formats).join(" ")}`);
  }
  await writeFileAtomic(path, await encode(image, formats[ending as keyof typeof formats], path));
}

/**
 * Reads an image file as bytes.
 *
 * @throws DataError when it is no readable image, or has more than 2²⁶ pixels.
 *
 * @example
 * await saveImage("sample.png", images.at(0));
 * const { width } = await readImage("sample.png");
 */
export async function readImage(path: string, channels: 1 | 3 | 4 = 3): Promise<ImageBytes> {
  checkPath("readImage", "path", path);
  return decode(path, path, channels);
}

/**
 * Encodes an image [H,W,C] (C = 1, 3 or 4) or [H,W] in memory. Values beyond the range are clipped.
 *
 * @throws UsageError for a format that is none of png, jpeg, webp and avif.
 * @example
 * const png = await encodeImage(images.at(0), "png");
 */
export async function encodeImage(image: Tensor, format: ImageFormat, options: RangeOptions = {}): Promise<Uint8Array> {
  checkTensor("encodeImage", "image", image);
  if (!Object.values(formats).includes(format)) {
    throw new UsageError(`encodeImage: the format must be png, jpeg, webp or avif, got ${show(format)}`);
  }
  return encode(await toImage(image, options), format, "encodeImage");
}

/**
 * Decodes an image file that is in memory, as f32 [H,W,C]. The caller owns it.
 *
 * @throws DataError when it is no readable image, or has more than `maxPixels` pixels.
 * @example
 * const png = await encodeImage(images.at(0), "png");
 * const image = await decodeImage(png, { channels: 1 }); // [4, 4, 1]
 */
export async function decodeImage(bytes: Uint8Array, options: LoadImageOptions = {}): Promise<Tensor> {
  const { channels, range, maxPixels } = checkObject("decodeImage", "options", options);
  if (!(bytes instanceof Uint8Array)) throw new UsageError(`decodeImage: expected bytes, got ${show(bytes)}`);
  return fromImage(await decode(bytes, "decodeImage", channels, maxPixels), { range });
}

/**
 * Saves an image [H,W,C] (C = 1, 3 or 4) or [H,W], atomically. Values beyond the range are clipped.
 *
 * @example
 * await saveImage("sample.png", images.at(0));
 */
export async function saveImage(path: string, image: Tensor, options: RangeOptions = {}): Promise<void> {
  checkPath("saveImage", "path", path);
  checkTensor("saveImage", "image", image);
  await writeImage(path, await toImage(image, options));
}

/**
 * Loads an image file as f32 [H,W,C]. The caller owns it.
 *
 * @throws DataError when it is no readable image, or has more than `maxPixels` pixels.
 *
 * @example
 * await saveImage("sample.png", images.at(0));
 * const image = await loadImage("sample.png");
 */
export async function loadImage(path: string, options: LoadImageOptions = {}): Promise<Tensor> {
  checkPath("loadImage", "path", path);
  const { channels, range, maxPixels } = checkObject("loadImage", "options", options);
  return fromImage(await decode(path, path, channels, maxPixels), { range });
}
