// Reading safetensors files lazily: opening reads the header only; tensors are read one by one, on demand.

import { CheckpointError, type DataArray, type Tensor } from "@figment/tensor";
import { decodeElements, ElementError, type ReadOptions, tensorOfBytes } from "../elements/decode.js";
import type { FileType } from "../elements/types.js";
import { listSome } from "../errors.js";
import { ByteFile } from "../files/byteFile.js";
import { type Header, lengthBytes, parseHeader, readHeaderLength, type TensorEntry } from "./header.js";

/** What a file says of a tensor, without its data. */
export interface TensorInfo {
  /** Element type in the file. */
  readonly type: FileType;
  readonly shape: readonly number[];
}

/** Something open that tensors are read from by name. */
export interface TensorFile extends AsyncDisposable {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Free-form strings. */
  readonly metadata: ReadonlyMap<string, string>;
  /** The bytes of a tensor as they lie in the file. */
  readBytes(name: string): Promise<ArrayBuffer>;
  /** The elements of a tensor; 16-bit and 8-bit floats come as f32, integers of other widths than u8 as i32. */
  readData(name: string): Promise<DataArray>;
  /** Reads one tensor. The caller owns it. */
  read(name: string, options?: ReadOptions): Promise<Tensor>;
  close(): Promise<void>;
}

/**
 * An open safetensors file. Names, types, shapes and metadata are known at once; data is read when asked for.
 *
 * @example
 * await using file = await SafetensorsFile.open("model.safetensors");
 * const weight = await file.read("encoder.weight");
 */
export class SafetensorsFile implements TensorFile {
  readonly path: string;
  /** The tensors in the order of their bytes. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Free-form strings of the header. */
  readonly metadata: ReadonlyMap<string, string>;
  private readonly entries: ReadonlyMap<string, TensorEntry>;
  private readonly file: ByteFile;

  private constructor(file: ByteFile, { entries, metadata }: Header) {
    this.path = file.path;
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
    const file = await ByteFile.open(path, CheckpointError);
    try {
      const prefix = new Uint8Array(await file.read(0, Math.min(lengthBytes, file.size)));
      const headerBytes = readHeaderLength(path, prefix, file.size);
      const json = new Uint8Array(await file.read(lengthBytes, headerBytes));
      return new SafetensorsFile(file, parseHeader(path, json, file.size));
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** The bytes of a tensor as they lie in the file. */
  async readBytes(name: string): Promise<ArrayBuffer> {
    const { fileOffset, byteLength } = this.entry(name);
    return this.file.read(fileOffset, byteLength);
  }

  /** The elements of a tensor; 16-bit and 8-bit floats come as f32, integers of other widths than u8 as i32. */
  async readData(name: string): Promise<DataArray> {
    const { type } = this.entry(name);
    return this.convert(name, await this.readBytes(name), (bytes) => decodeElements(bytes, type));
  }

  /**
   * Reads one tensor. The caller owns it.
   *
   * @throws CheckpointError when the file has no such tensor, its type has no counterpart, or reading fails.
   */
  async read(name: string, options: ReadOptions = {}): Promise<Tensor> {
    const { type, shape } = this.entry(name);
    return this.convert(name, await this.readBytes(name), (bytes) => tensorOfBytes(bytes, type, shape, options));
  }

  async close(): Promise<void> {
    await this.file.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private convert<T>(name: string, bytes: ArrayBuffer, decode: (bytes: ArrayBuffer) => T): T {
    try {
      return decode(bytes);
    } catch (error) {
      if (!(error instanceof ElementError)) throw error;
      const { fileOffset } = this.entry(name);
      throw this.file.errorAt(
        fileOffset,
        `tensor ${JSON.stringify(name)}: ${error.message}; readBytes gives its bytes`,
        error,
      );
    }
  }

  private entry(name: string): TensorEntry {
    const entry = this.entries.get(name);
    if (entry) return entry;
    throw new CheckpointError(
      `${this.path}: has no tensor ${JSON.stringify(name)}; it has ${listSome([...this.entries.keys()])}`,
    );
  }
}
