// A folder of image files as a data set: decoded with sharp, brought to one size, kept in memory once decoded.

import { readdir, realpath, stat } from "node:fs/promises";
import { basename, extname, join, resolve, sep } from "node:path";
import { checkObject, UsageError } from "@figment/tensor";
import { DataError, messageOf } from "../errors.js";
import { checkPath } from "../files/checkPath.js";
import { checkImage, loadSharp, maxPixelsRead } from "../images/codec.js";
import { Dataset, type DatasetSource, type Example } from "./dataset.js";

/** Options of {@link imageFolder}. */
export interface ImageFolderOptions {
  /** Pixels a side. */
  readonly size: number;
  /** 3 for colour (default), 1 for grey. */
  readonly channels?: 1 | 3;
  /** "cover" (default) fills the square and crops the rest; "contain" shows all of it on white. */
  readonly fit?: "cover" | "contain";
}

const extensions = new Set([".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif", ".tif", ".tiff"]);

/** The class of images that lie in no sub-folder. */
const rootClass = ".";

/** Transparent and empty parts become paper. */
const paper = "#ffffff";

/** Decoded images are kept as long as all of them fit into this much memory. */
const cacheBytes = 512 * 2 ** 20;

/** How many files are looked at at once when a folder is opened. */
const probesAtOnce = 16;

/** How many unreadable files a message lists. */
const maxProblemsShown = 20;

interface Item {
  readonly path: string;
  readonly label: number;
}

class ImageFolder extends Dataset {
  readonly name: string;
  readonly length: number;
  readonly shape: readonly [number, number, number];
  override readonly classes: readonly string[] | undefined;
  readonly source: DatasetSource;
  private readonly items: readonly Item[];
  private readonly options: Required<ImageFolderOptions>;
  private readonly cache: (Uint8Array | undefined)[] | undefined;

  constructor(listing: FolderListing, options: Required<ImageFolderOptions>) {
    super();
    const { size, channels } = options;
    this.name = basename(listing.directory);
    this.length = listing.items.length;
    this.shape = [size, size, channels];
    this.classes = listing.classes.length > 1 || listing.classes[0] !== rootClass ? listing.classes : undefined;
    this.source = { module: import.meta.url, open: "reopenImageFolder", options: { listing, options } };
    this.items = listing.items;
    this.options = options;
    if (this.length * size * size * channels <= cacheBytes) this.cache = new Array(this.length);
  }

  async get(index: number): Promise<Example> {
    this.checkIndex(index);
    const { path, label } = this.items[index] as Item;
    let image = this.cache?.[index];
    if (!image) {
      image = await decodeFile(path, this.options);
      if (this.cache) this.cache[index] = image;
    }
    return { image: image.slice(), label };
  }
}

interface FolderListing {
  readonly directory: string;
  readonly classes: readonly string[];
  readonly items: readonly Item[];
}

/**
 * Opens a folder of images (PNG, JPEG, WebP, GIF, AVIF, TIFF; sub-folders included). The first-level sub-folders are the
 * classes, in alphabetical order; without any, all images have label 0. Transparency is laid on white.
 *
 * @throws DataError when the folder is missing or empty, or listing the files that are no readable images.
 * @example
 * const emoji = await imageFolder("emoji", { size: 32 });
 */
export async function imageFolder(directory: string, options: ImageFolderOptions): Promise<Dataset> {
  checkPath("imageFolder", "directory", directory);
  const { size, channels = 3, fit = "cover" } = checkObject("imageFolder", "options", options, "size");
  if (!Number.isInteger(size) || size < 1 || size > 4096) {
    throw new UsageError(`imageFolder: size must be an integer from 1 to 4096, got ${size}`);
  }
  if (channels !== 1 && channels !== 3) throw new UsageError(`imageFolder: channels must be 1 or 3, got ${channels}`);
  if (fit !== "cover" && fit !== "contain") {
    throw new UsageError(`imageFolder: fit must be "cover" or "contain", got ${JSON.stringify(fit)}`);
  }
  const listing = await list(resolve(directory));
  await checkReadable(listing);
  return new ImageFolder(listing, { size, channels, fit });
}

/** @internal Opens what {@link imageFolder} has listed and checked, on a worker thread. */
export function reopenImageFolder({
  listing,
  options,
}: {
  readonly listing: FolderListing;
  readonly options: Required<ImageFolderOptions>;
}): Dataset {
  return new ImageFolder(listing, options);
}

/** Paths of images below a folder, from it on. Links are followed, but not to a folder that one is in. */
async function filesBelow(directory: string, at: string, above: readonly string[]): Promise<string[]> {
  const folder = join(directory, at);
  const real = await realpath(folder);
  if (above.includes(real)) return [];
  const files: string[] = [];
  for (const name of await readdir(folder)) {
    if (name.startsWith(".")) continue;
    const file = join(at, name);
    // What cannot be looked at is left to be found unreadable.
    const isFolder = await stat(join(folder, name))
      .then((found) => found.isDirectory())
      .catch(() => false);
    if (isFolder) files.push(...(await filesBelow(directory, file, [...above, real])));
    else if (extensions.has(extname(name).toLowerCase())) files.push(file);
  }
  return files;
}

async function list(directory: string): Promise<FolderListing> {
  let files: string[];
  try {
    files = (await filesBelow(directory, "", [])).sort();
  } catch (error) {
    throw new DataError(`${directory}: cannot be listed: ${messageOf(error)}`, { path: directory, cause: error });
  }
  if (files.length === 0) {
    throw new DataError(`${directory}: no images (${[...extensions].join(" ")}) in this folder`, { path: directory });
  }
  const classOf = (file: string): string => (file.includes(sep) ? (file.split(sep)[0] as string) : rootClass);
  const classes = [...new Set(files.map(classOf))].sort();
  const items = files.map((file) => ({ path: join(directory, file), label: classes.indexOf(classOf(file)) }));
  return { directory, classes, items };
}

/** Reads the header of every file, so that a broken one is known before training and not in its middle. */
async function checkReadable({ directory, items }: FolderListing): Promise<void> {
  const problems: string[] = [];
  let next = 0;
  const probe = async (): Promise<void> => {
    while (next < items.length) {
      const { path } = items[next++] as Item;
      await checkImage(path).catch((error: unknown) => problems.push(`${path}: ${messageOf(error)}`));
    }
  };
  await Promise.all(Array.from({ length: probesAtOnce }, probe));
  if (problems.length === 0) return;
  const shown = problems.sort().slice(0, maxProblemsShown);
  if (problems.length > shown.length) shown.push(`and ${problems.length - shown.length} more`);
  throw new DataError(
    `${directory}: ${problems.length} of ${items.length} files cannot be read as images; remove or repair them:\n  ${shown.join("\n  ")}`,
    { path: directory },
  );
}

async function decodeFile(path: string, { size, channels, fit }: Required<ImageFolderOptions>): Promise<Uint8Array> {
  const sharp = await loadSharp();
  try {
    await checkImage(path);
    const image = sharp(path, { failOn: "error", limitInputPixels: maxPixelsRead })
      .pipelineColourspace("srgb")
      .autoOrient()
      .flatten({ background: paper })
      .resize(size, size, { fit, background: paper })
      .toColourspace(channels === 1 ? "b-w" : "srgb");
    const { data, info } = await image.raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
    if (info.channels !== channels) throw new Error(`decoded to ${info.channels} channels, expected ${channels}`);
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  } catch (error) {
    throw new DataError(`${path}: cannot be decoded: ${messageOf(error)}`, { path, cause: error });
  }
}
