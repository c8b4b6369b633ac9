// MNIST and the sets that come in its files (Fashion-MNIST, KMNIST, EMNIST).

import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { checkArray, checkObject, UsageError } from "@figment/tensor";
import { DataError } from "../errors.js";
import { checkPath } from "../files/checkPath.js";
import { Dataset, type DatasetSource, type Example, type ImmediateDataset } from "./dataset.js";
import { readIdx } from "./idx.js";
import { resampler } from "./resample.js";

/** Options of {@link mnist}. */
export interface MnistOptions {
  /** Default "train". */
  readonly split?: "train" | "test";
  /** Pixels a side; other than the files' own, images are resampled. */
  readonly size?: number;
  /** Names of the classes. Default "0", "1", … */
  readonly classes?: readonly string[];
}

const prefixes = { train: "train", test: "t10k" } as const;

class Mnist extends Dataset {
  readonly name: string;
  readonly length: number;
  readonly shape: readonly [number, number, number];
  override readonly classes: readonly string[];
  readonly source: DatasetSource;
  private readonly images: Uint8Array;
  private readonly labels: Uint8Array;
  private readonly stored: number;
  private readonly resample: ((image: Uint8Array) => Uint8Array) | undefined;

  constructor(
    directory: string,
    options: MnistOptions,
    stored: readonly number[],
    images: Uint8Array,
    labels: Uint8Array,
  ) {
    super();
    const [length, height, width] = stored as [number, number, number];
    const { split = "train", size, classes } = options;
    this.name = `mnist ${split}`;
    this.length = length;
    this.shape = size === undefined ? [height, width, 1] : [size, size, 1];
    this.source = { module: import.meta.url, open: "openMnist", options: { directory, ...options } };
    this.images = images;
    this.labels = labels;
    this.stored = height * width;
    if (size !== undefined && (size !== height || size !== width))
      this.resample = resampler([height, width, 1], [size, size]);
    const highest = labels.reduce((most, label) => Math.max(most, label), 0);
    this.classes = classes ?? Array.from({ length: highest + 1 }, (_, label) => String(label));
  }

  get(index: number): Example {
    this.checkIndex(index);
    const image = this.images.subarray(index * this.stored, (index + 1) * this.stored);
    return { image: this.resample ? this.resample(image) : image.slice(), label: this.labels[index] as number };
  }
}

/**
 * Opens a folder with MNIST's four IDX files, plain or gzipped, or with those of a set in the same format.
 *
 * @throws DataError when a file is missing, damaged or does not fit the other.
 * @example
 * const test = await mnist("data/mnist", { split: "test" });
 */
export async function mnist(directory: string, options: MnistOptions = {}): Promise<ImmediateDataset> {
  checkPath("mnist", "directory", directory);
  const { split = "train", size } = checkObject("mnist", "options", options);
  if (!Object.hasOwn(prefixes, split))
    throw new UsageError(`mnist: split must be "train" or "test", got ${JSON.stringify(split)}`);
  if (size !== undefined && (!Number.isInteger(size) || size < 1 || size > 4096)) {
    throw new UsageError(`mnist: size must be an integer from 1 to 4096, got ${size}`);
  }
  if (options.classes !== undefined) checkArray("mnist", "classes", options.classes);
  const folder = resolve(directory);
  const [imagesPath, labelsPath] = await Promise.all([
    findIdx(folder, `${prefixes[split]}-images`, 3),
    findIdx(folder, `${prefixes[split]}-labels`, 1),
  ]);
  const [images, labels] = await Promise.all([readIdx(imagesPath, 3), readIdx(labelsPath, 1)]);
  if (images.shape[0] !== labels.shape[0]) {
    throw new DataError(
      `${imagesPath} has ${images.shape[0]} images, but ${labelsPath} has ${labels.shape[0]} labels`,
      { path: folder },
    );
  }
  return new Mnist(folder, options, images.shape, images.data, labels.data);
}

const fashionClasses = "T-shirt/top Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag"
  .split(" ")
  .concat("Ankle boot");

/**
 * Opens a folder with Fashion-MNIST's files (H. Xiao, K. Rasul, R. Vollgraf, 2017), which are named and made like MNIST's.
 *
 * @throws DataError as {@link mnist}.
 * @example
 * const { classes } = await fashionMnist("data/mnist", { split: "test" });
 * classes?.[9]; // "Ankle boot"
 */
export async function fashionMnist(
  directory: string,
  options: Omit<MnistOptions, "classes"> = {},
): Promise<ImmediateDataset> {
  checkPath("fashionMnist", "directory", directory);
  return mnist(directory, { ...options, classes: fashionClasses });
}

/** @internal Opens what {@link mnist} opened, on a worker thread. */
export function openMnist({ directory, ...options }: MnistOptions & { readonly directory: string }): Promise<Dataset> {
  return mnist(directory, options);
}

/** Whether a folder has MNIST's training images. */
export async function isMnistFolder(directory: string): Promise<boolean> {
  return (await firstExisting(namesOf(directory, `${prefixes.train}-images`, 3))) !== undefined;
}

/** The file names in use: from the original archive, as unpacked by others, each plain or gzipped. */
function namesOf(folder: string, stem: string, rank: number): string[] {
  return [`${stem}-idx${rank}-ubyte`, `${stem}.idx${rank}-ubyte`].flatMap((name) => [
    join(folder, name),
    join(folder, `${name}.gz`),
  ]);
}

async function findIdx(folder: string, stem: string, rank: number): Promise<string> {
  const names = namesOf(folder, stem, rank);
  const found = await firstExisting(names);
  if (found === undefined)
    throw new DataError(
      `${folder}: none of ${names.map((name) => name.slice(folder.length + 1)).join(", ")} is there; "figment data get mnist" fetches them`,
      { path: folder },
    );
  return found;
}

async function firstExisting(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) {
    const found = await stat(path).catch(() => undefined);
    if (found?.isFile()) return path;
  }
  return undefined;
}
