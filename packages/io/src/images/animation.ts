// Frames as a moving picture: GIF or WebP, written atomically.

import { extname } from "node:path";
import { checkObject, type ImageBytes, ShapeError, show, type Tensor, UsageError } from "@figment/tensor";
import { writeFileAtomic } from "../files/atomic.js";
import { checkPath } from "../files/checkPath.js";
import { loadSharp } from "./codec.js";
import { type GridOptions, imageGrid, maxPixels } from "./grid.js";

/** How frames are shown. */
export interface AnimationOptions extends GridOptions {
  /** Frames a second, from 1/60 to 50. Default 20. */
  readonly fps?: number;
  /** How long the last frame stays, in seconds. Default: as long as the others. */
  readonly hold?: number;
  /** How often it is shown; 0 (default) is for ever. */
  readonly loop?: number;
}

const formats = { ".gif": "gif", ".webp": "webp" } as const;

/** Viewers of GIFs show shorter frames at a tenth of a second. */
const maxFps = 50;
/** A frame is shown for a minute at most. */
const minFps = 1 / 60;

/**
 * Saves frames of the same images as a moving picture, atomically; each frame [N,H,W,C] is laid out like a grid. The name's
 * ending says the format: .gif (256 colours) or .webp. Frames are read as they come and not kept, so that those that a
 * sampler lends can be given as they are.
 *
 * @throws UsageError for no frames, another ending, or numbers out of range; ShapeError for frames that do not fit.
 * @example
 * await saveAnimation("denoising.gif", frames, { fps: 10, hold: 1 });
 */
export async function saveAnimation(
  path: string,
  frames: Iterable<Tensor> | AsyncIterable<Tensor>,
  options: AnimationOptions = {},
): Promise<void> {
  checkPath("saveAnimation", "path", path);
  const { fps = 20, hold, loop = 0, ...grid } = checkObject("saveAnimation", "options", options);
  const ending = extname(path).toLowerCase();
  if (!Object.hasOwn(formats, ending))
    throw new UsageError(`${path}: the name must end in one of ${Object.keys(formats).join(" ")}`);
  if (typeof fps !== "number" || !(fps >= minFps && fps <= maxFps))
    throw new UsageError(`saveAnimation: fps must be from ${minFps} to ${maxFps}, got ${show(fps)}`);
  if (hold !== undefined && (typeof hold !== "number" || !(hold >= 0 && hold <= 60)))
    throw new UsageError(`saveAnimation: hold must be from 0 to 60 seconds, got ${show(hold)}`);
  if (typeof frames !== "object" || frames === null || !(Symbol.iterator in frames || Symbol.asyncIterator in frames))
    throw new UsageError(`saveAnimation: expected frames one after the other, got ${show(frames)}`);
  if (!Number.isInteger(loop) || loop < 0 || loop > 65535)
    throw new UsageError(`saveAnimation: loop must be an integer from 0 to 65535, got ${loop}`);
  const pages: ImageBytes[] = [];
  for await (const frame of frames) {
    const page = await imageGrid(frame, grid);
    checkPage(pages[0] ?? page, page, pages.length + 1);
    pages.push(page);
  }
  const [first] = pages;
  if (!first) throw new UsageError("saveAnimation: there are no frames");
  const delay = pages.map(() => Math.round(1000 / fps));
  if (hold !== undefined) delay[delay.length - 1] = Math.round(1000 * hold);
  const { width, height, channels } = first;
  const sharp = await loadSharp();
  if (channels !== 1 && channels !== 3 && channels !== 4)
    throw new UsageError(`saveAnimation: an image has 1, 3 or 4 channels, got ${channels}`);
  const raw = { width, height: height * pages.length, channels: channels as 1 | 3 | 4, pageHeight: height };
  const image = sharp(
    Buffer.concat(pages.map(({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength))),
    { raw, limitInputPixels: maxPixels },
  );
  const shown = { delay, loop };
  const encoded = ending === ".gif" ? image.gif(shown) : image.webp({ ...shown, quality: 90 });
  await writeFileAtomic(path, await encoded.toBuffer());
}

function checkPage(first: ImageBytes, page: ImageBytes, count: number): void {
  if (page.width !== first.width || page.height !== first.height || page.channels !== first.channels) {
    const sizeOf = ({ width, height, channels }: ImageBytes) => `${width} × ${height} × ${channels}`;
    throw new ShapeError(`saveAnimation: frame ${count} is ${sizeOf(page)}, the first one ${sizeOf(first)}`);
  }
  const pixels = page.width * page.height * count;
  if (pixels > maxPixels)
    throw new UsageError(`saveAnimation: ${count} frames have ${pixels} pixels; at most ${maxPixels} are encoded`);
}
