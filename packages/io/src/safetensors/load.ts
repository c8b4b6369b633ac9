// Loading safetensors files, whole or in shards.

import type { Tensor } from "@figment/tensor";
import type { ReadOptions } from "../elements/decode.js";
import { readAll, type TensorFile } from "../elements/tensorFile.js";
import { checkPath } from "../files/checkPath.js";
import { checkBytes } from "./checksum.js";
import { SafetensorsFile } from "./read.js";
import { ShardedFile } from "./sharded.js";

/**
 * Opens a safetensors file or, where the name ends in .json, an index of several that are read as one. A file that Figment
 * wrote is read through first, to see that it is as it was written.
 *
 * @throws CheckpointError naming the file and, where it is wrong, the byte.
 * @example
 * await using file = await openSafetensors("model.safetensors");
 * for (const [name, { type, shape }] of file.tensors) console.log(name, type, shape);
 */
export async function openSafetensors(path: string): Promise<TensorFile> {
  checkPath("openSafetensors", "path", path);
  if (path.toLowerCase().endsWith(".json")) return ShardedFile.open(path);
  const file = await SafetensorsFile.open(path);
  try {
    await checkBytes(file);
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/**
 * Reads every tensor of a safetensors file, or of all files of an index (*.index.json). The caller owns them.
 *
 * @example
 * const { weight, bias } = await loadTensors("layer.safetensors");
 */
export async function loadTensors(path: string, options: ReadOptions = {}): Promise<Record<string, Tensor>> {
  checkPath("loadTensors", "path", path);
  await using file = await openSafetensors(path);
  return await readAll(file, () => options);
}
