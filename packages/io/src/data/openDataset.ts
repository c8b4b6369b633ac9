// Opens whatever data set lies in a folder.

import { checkObject } from "@figment/tensor";
import { checkPath } from "../files/checkPath.js";
import { cifar10, isCifar10 } from "./cifar10.js";
import type { Dataset } from "./dataset.js";
import { imageFolder } from "./imageFolder.js";
import { isMnistFolder, mnist } from "./mnist.js";

/** Pixels a side of image folders where nothing is said. */
const defaultSize = 32;

/**
 * Opens a folder as MNIST's IDX files or CIFAR-10 where it has their files (an archive of CIFAR-10 too), else as a folder of
 * images. CIFAR-10 keeps its size.
 *
 * @throws DataError when it is none of these.
 *
 * @example
 * const data = await openDataset("emoji", { size: 32 });
 */
export async function openDataset(
  directory: string,
  options: { readonly size?: number; readonly channels?: 1 | 3 } = {},
): Promise<Dataset> {
  checkPath("openDataset", "directory", directory);
  const { size, channels } = checkObject("openDataset", "options", options);
  if (await isMnistFolder(directory)) return mnist(directory, { size });
  if (await isCifar10(directory)) return cifar10(directory);
  return imageFolder(directory, { size: size ?? defaultSize, channels });
}
