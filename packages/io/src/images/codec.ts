// sharp, loaded when the first image is read or written: its native library would double the time that importing
// Figment takes.

import { stat } from "node:fs/promises";

/** The image codec. Node keeps the module after the first call. */
export const loadSharp = async (): Promise<typeof import("sharp")["default"]> => (await import("sharp")).default;

/** Most pixels that an image may have which is read, 2²⁶ (8192 × 8192): 805 MB as RGB in f32. */
export const maxPixelsRead = 2 ** 26;

/** Formats that are read, as sharp names them. Not SVG, whose drawings take what they like and show other files. */
const readable: readonly (string | undefined)[] = ["png", "jpeg", "webp", "heif", "gif", "tiff"];

/** Depths of pixels that are read, as sharp names them: 8 and 16 bits. Floats and signed numbers do not say what is white. */
const readableDepths: readonly (string | undefined)[] = ["uchar", "ushort"];

/**
 * Looks at the header of an image before it is decoded: its content decides, whatever its name.
 *
 * @throws Error for a format or depth that is not read, and for more than `maxPixels` pixels.
 */
export async function checkImage(source: string | Uint8Array, maxPixels = maxPixelsRead): Promise<void> {
  // The decoder would wait for somebody to write to a pipe.
  if (typeof source === "string" && !(await stat(source)).isFile()) throw new Error("it is not a file");
  const sharp = await loadSharp();
  const { format, compression, depth, width, height } = await sharp(source, { limitInputPixels: false }).metadata();
  if (!readable.includes(format) || (format === "heif" && compression !== "av1"))
    throw new Error(`it holds ${format}; PNG, JPEG, WebP, AVIF, GIF and TIFF are read`);
  if (!readableDepths.includes(depth))
    throw new Error(`its pixels are ${depth}; unsigned integers of 8 and 16 bits are read`);
  if (width * height > maxPixels) throw new Error(`${width} × ${height} pixels; at most ${maxPixels} in all are read`);
}
