// From one format of weights to another, tensor by tensor, bit for bit.

import { extname } from "node:path";
import { CheckpointError, sizeOf, UsageError } from "@figment/tensor";
import type { TensorFile } from "../elements/tensorFile.js";
import type { BytesToWrite } from "../elements/toWrite.js";
import { bytesOfElements } from "../elements/types.js";
import { checkPath } from "../files/checkPath.js";
import { writeNpy, writeNpz } from "../npy/write.js";
import { checksumKey, modelKey } from "../safetensors/checksum.js";
import { writeBytes } from "../safetensors/write.js";
import { type OpenTensorsOptions, openTensors } from "./open.js";

/** What was written. */
export interface Converted {
  readonly tensors: number;
  /** Bytes of all elements. */
  readonly bytes: number;
}

const endings = [".safetensors", ".npz", ".npy"];

/** Longest metadata that is taken along, in characters: the header is read whole by others. */
const maxMetadataLength = 2 ** 20;

/**
 * Writes the tensors of a file (PyTorch, safetensors or an index of several, NumPy) in another format, atomically. The output's
 * name says which: .safetensors, .npz, or .npy for a single tensor. Types and bits are kept; views and shared elements become
 * tensors of their own. Numbers and strings beside the tensors go to the metadata of a safetensors file.
 *
 * @throws CheckpointError as the readers; DTypeError for types that the output's format lacks.
 * @example
 * const { tensors } = await convertCheckpoint("weights.pth", "weights.safetensors");
 * tensors; // 2
 */
export async function convertCheckpoint(
  input: string,
  output: string,
  options: OpenTensorsOptions = {},
): Promise<Converted> {
  checkPath("convertCheckpoint", "output", output);
  const ending = extname(output).toLowerCase();
  if (!endings.includes(ending)) throw new UsageError(`${output}: the name must end in one of ${endings.join(" ")}`);
  await using file = await openTensors(input, options);
  const sources = sourcesOf(file);
  if (sources.size === 0) throw new CheckpointError(`${input}: there are no tensors to convert`);
  if (ending === ".npz") await writeNpz(output, sources);
  else if (ending === ".npy") await writeNpy(output, only(input, sources));
  else await writeBytes(output, sources, metadataOf(file));
  let bytes = 0;
  for (const { type, shape } of file.tensors.values()) bytes += bytesOfElements(type, sizeOf(shape));
  return { tensors: sources.size, bytes };
}

function sourcesOf(file: TensorFile): Map<string, BytesToWrite> {
  return new Map(
    [...file.tensors].map(([name, { type, shape }]) => [
      name,
      { type, shape, bytes: async () => new Uint8Array(await file.readBytes(name)) },
    ]),
  );
}

function only(input: string, sources: ReadonlyMap<string, BytesToWrite>): BytesToWrite {
  const [first] = sources.values();
  if (!first || sources.size > 1)
    throw new CheckpointError(`${input}: has ${sources.size} tensors; a .npy file holds one, a .npz file all`);
  return first;
}

function metadataOf({ metadata }: TensorFile): Record<string, string> {
  const kept: Record<string, string> = Object.create(null);
  let length = 0;
  for (const [key, value] of metadata) {
    // Of the file that it was read from.
    if (key === checksumKey || key === modelKey) continue;
    length += key.length + value.length;
    if (length > maxMetadataLength) break;
    kept[key] = value;
  }
  return kept;
}
