// What a file of weights or a folder of data holds, for people and for programs.

import { stat } from "node:fs/promises";
import { CheckpointError, showShape, sizeOf } from "@figment/tensor";
import { openDataset } from "../data/openDataset.js";
import { bytesOfElements, type FileType } from "../elements/types.js";
import { messageOf } from "../errors.js";
import { checkPath } from "../files/checkPath.js";
import { PickleGlobal, PickleRecord } from "../pickle/values.js";
import { readTorch, type TorchFile } from "../torch/file.js";
import { TorchTensor } from "../torch/tensor.js";
import { classesIn, type TorchValue } from "../torch/tree.js";
import { formatOf, openTensors, type TensorFormat } from "./open.js";

/** One name in a file: a tensor, or a plain value. */
export interface InspectedEntry {
  readonly name: string;
  /** Of a tensor: the element type in the file. */
  readonly type?: FileType;
  readonly shape?: readonly number[];
  readonly bytes?: number;
  /** Of anything else: what it is, as text. */
  readonly value?: string;
}

/** What a file or folder holds; plain JSON. */
export interface Inspection {
  readonly path: string;
  readonly format: TensorFormat | "data set";
  /** Of the file; absent for folders. */
  readonly fileBytes?: number;
  readonly entries: readonly InspectedEntry[];
  readonly metadata: Readonly<Record<string, string>>;
  /** Classes that a PyTorch file names and that are kept as records only. */
  readonly classes: readonly string[];
  readonly tensors: number;
  readonly parameters: number;
  readonly tensorBytes: number;
}

/**
 * Lists what a file holds without loading it: names, element types, shapes and sizes of tensors, plain values beside them, and
 * metadata. Reads safetensors (and an index of several), PyTorch's and NumPy's files, and folders of images or of MNIST's files.
 *
 * @throws CheckpointError when it is none of these, or damaged; DataError for folders that hold no data set.
 * @example
 * const { tensors, parameters } = await inspectFile("weights.pth");
 * parameters; // 8
 */
export async function inspectFile(path: string): Promise<Inspection> {
  checkPath("inspectFile", "path", path);
  const info = await stat(path).catch((error: unknown) => {
    throw new CheckpointError(`${path}: cannot be opened: ${messageOf(error)}`, { cause: error });
  });
  if (info.isDirectory()) return inspectFolder(path);
  const format = await formatOf(path);
  if (format === "PyTorch") {
    await using file = await readTorch(path, { objects: "records" });
    return summarise(path, format, info.size, torchEntries(file), new Map(), classesIn(file.root));
  }
  await using file = await openTensors(path);
  const entries = [...file.tensors].map(([name, { type, shape }]) => tensorEntry(name, type, shape));
  return summarise(path, format, info.size, entries, file.metadata, []);
}

async function inspectFolder(path: string): Promise<Inspection> {
  const set = await openDataset(path);
  const entries: InspectedEntry[] = [
    { name: "images", value: String(set.length) },
    { name: "shape", value: showShape(set.shape) },
    ...(set.classes
      ? [{ name: "classes", value: `${set.classes.length}: ${set.classes.slice(0, 20).join(", ")}` }]
      : []),
  ];
  return summarise(path, "data set", undefined, entries, new Map(), []);
}

const tensorEntry = (name: string, type: FileType, shape: readonly number[]): InspectedEntry => ({
  name,
  type,
  shape,
  bytes: bytesOfElements(type, sizeOf(shape)),
});

function torchEntries(file: TorchFile): InspectedEntry[] {
  return file
    .leaves()
    .map(({ path, value }) =>
      value instanceof TorchTensor
        ? tensorEntry(path, value.type, value.shape)
        : { name: path, value: showValue(value) },
    );
}

/** Longest text of a plain value. */
const maxShown = 60;

function showValue(value: TorchValue): string {
  if (value instanceof PickleRecord) return `object of ${value.type}`;
  if (value instanceof PickleGlobal) return `class ${value.name}`;
  if (value instanceof Uint8Array) return `${value.byteLength} bytes`;
  if (value instanceof Map) return "{}";
  if (value instanceof Set) return "set()";
  if (Array.isArray(value)) return "[]";
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  return text.length > maxShown ? `${text.slice(0, maxShown)}…` : text;
}

function summarise(
  path: string,
  format: Inspection["format"],
  fileBytes: number | undefined,
  entries: readonly InspectedEntry[],
  metadata: ReadonlyMap<string, string>,
  classes: readonly string[],
): Inspection {
  const tensors = entries.filter(({ shape }) => shape !== undefined);
  return {
    path,
    format,
    ...(fileBytes === undefined ? {} : { fileBytes }),
    entries,
    metadata: Object.fromEntries(metadata),
    classes,
    tensors: tensors.length,
    parameters: tensors.reduce((sum, { shape }) => sum + sizeOf(shape as readonly number[]), 0),
    tensorBytes: tensors.reduce((sum, { bytes }) => sum + (bytes as number), 0),
  };
}
