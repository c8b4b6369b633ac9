// Reading safetensors files lazily: opening reads the header only; tensors are read one by one, on demand.

import { type FileHandle, open } from "node:fs/promises";
import { CheckpointError, type DataArray, fromBits, isFloat, type Tensor, tensor } from "@figment/tensor";
import { listSome, messageOf } from "../errors.js";
import { errorAt, type Header, lengthBytes, parseHeader, readHeaderLength, type TensorEntry } from "./header.js";
import { decodeElements, type FileType, IntegerRangeError, tensorTypeOf } from "./types.js";

/** What a file says of a tensor, without its data. */
export interface TensorInfo {
  /** Element type in the file. */
  readonly type: FileType;
  readonly shape: readonly number[];
}

/** How tensors are converted when read. */
export interface ReadOptions {
  /** "keep" (default) loads each float type as it is; "f32" turns every float type into f32. */
  readonly floats?: "keep" | "f32";
}

/**
 * An open safetensors file. Names, types, shapes and metadata are known at once; data is read when asked for.
 *
 * @example
 * await using file = await SafetensorsFile.open("model.safetensors");
 * const weight = await file.read("encoder.weight");
 */
export class SafetensorsFile {
  readonly path: string;
  /** The tensors in the order of their bytes. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Free-form strings of the header. */
  readonly metadata: ReadonlyMap<string, string>;
  private readonly entries: ReadonlyMap<string, TensorEntry>;
  private readonly file: FileHandle;

  private constructor(path: string, file: FileHandle, { entries, metadata }: Header) {
    this.path = path;
    this.file = file;
    this.entries = entries;
    this.metadata = metadata;
    this.tensors = new Map([...entries].map(([name, { type, shape }]) => [name, { type, shape }]));
  }

  /**
   * Opens a file and checks its header.
   *
   * @throws CheckpointError naming the file and, where the header is wrong, the byte.
   */
  static async open(path: string): Promise<SafetensorsFile> {
    let file: FileHandle;
    try {
      file = await open(path, "r");
    } catch (error) {
      throw new CheckpointError(`${path}: cannot be opened: ${messageOf(error)}`, { cause: error });
    }
    try {
      const stat = await file.stat();
      if (!stat.isFile()) throw new CheckpointError(`${path}: is not a file`);
      const prefix = new Uint8Array(await readRange(path, file, 0, Math.min(lengthBytes, stat.size)));
      const headerBytes = readHeaderLength(path, prefix, stat.size);
      const json = new Uint8Array(await readRange(path, file, lengthBytes, headerBytes));
      return new SafetensorsFile(path, file, parseHeader(path, json, stat.size));
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** The bytes of a tensor as they lie in the file. */
  async readBytes(name: string): Promise<ArrayBuffer> {
    const { fileOffset, byteLength } = this.entry(name);
    return readRange(this.path, this.file, fileOffset, byteLength);
  }

  /** The elements of a tensor; 16-bit floats come as f32, integers of other widths than u8 as i32. */
  async readData(name: string): Promise<DataArray> {
    const { type, fileOffset } = this.entry(name);
    if (tensorTypeOf[type] === undefined) {
      throw errorAt(
        this.path,
        fileOffset,
        `tensor ${JSON.stringify(name)}: ${type} cannot be loaded as a tensor; readBytes gives its bytes`,
      );
    }
    try {
      return decodeElements(await this.readBytes(name), type);
    } catch (error) {
      if (!(error instanceof IntegerRangeError)) throw error;
      throw errorAt(this.path, fileOffset, `tensor ${JSON.stringify(name)}: ${error.message}`, error);
    }
  }

  /**
   * Reads one tensor. The caller owns it.
   *
   * @throws CheckpointError when the file has no such tensor, its type has no counterpart, or reading fails.
   */
  async read(name: string, { floats = "keep" }: ReadOptions = {}): Promise<Tensor> {
    const { type, shape } = this.entry(name);
    const dtype = tensorTypeOf[type];
    if ((dtype === "bf16" || dtype === "f16") && floats === "keep") {
      return fromBits(new Uint16Array(await this.readBytes(name)), shape, dtype);
    }
    const data = await this.readData(name);
    return tensor(data, { shape, dtype: dtype !== undefined && isFloat(dtype) && floats === "f32" ? "f32" : dtype });
  }

  async close(): Promise<void> {
    await this.file.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private entry(name: string): TensorEntry {
    const entry = this.entries.get(name);
    if (entry) return entry;
    throw new CheckpointError(
      `${this.path}: has no tensor ${JSON.stringify(name)}; it has ${listSome([...this.entries.keys()])}`,
    );
  }
}

/**
 * Reads every tensor of a safetensors file. The caller owns them.
 *
 * @example
 * const { weight, bias } = await loadTensors("layer.safetensors");
 */
export async function loadTensors(path: string, options: ReadOptions = {}): Promise<Record<string, Tensor>> {
  await using file = await SafetensorsFile.open(path);
  return await readAll(file, () => options);
}

/** Reads every tensor of an open file; on failure those already read are disposed. */
export async function readAll(
  file: SafetensorsFile,
  optionsOf: (name: string) => ReadOptions,
): Promise<Record<string, Tensor>> {
  const loaded: Record<string, Tensor> = Object.create(null);
  try {
    for (const name of file.tensors.keys()) loaded[name] = await file.read(name, optionsOf(name));
    return loaded;
  } catch (error) {
    for (const tensor of Object.values(loaded)) tensor.dispose();
    throw error;
  }
}

/** Most bytes per read call: larger reads are cut by the operating system anyway. */
const readBytesAtOnce = 1 << 30;

async function readRange(path: string, file: FileHandle, offset: number, length: number): Promise<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await file.read(bytes, done, Math.min(length - done, readBytesAtOnce), offset + done);
    if (bytesRead === 0) throw errorAt(path, offset + done, "the file ends here; it was cut short after it was opened");
    done += bytesRead;
  }
  return bytes.buffer;
}
