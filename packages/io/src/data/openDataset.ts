// Opens whatever data set lies in a folder.

import type { Dataset } from "./dataset.js";
import { imageFolder } from "./imageFolder.js";
import { isMnistFolder, mnist } from "./mnist.js";

/** Pixels a side of image folders where nothing is said. */
const defaultSize = 32;

/**
 * Opens a folder as MNIST's IDX files where it has them, else as a folder of images.
 *
 * @throws DataError when it is neither.
 *
 * @example
 * const data = await openDataset("emoji", { size: 32 });
 */
export async function openDataset(
  directory: string,
  { size, channels }: { readonly size?: number; readonly channels?: 1 | 3 } = {},
): Promise<Dataset> {
  if (await isMnistFolder(directory)) return mnist(directory, { size });
  return imageFolder(directory, { size: size ?? defaultSize, channels });
}
