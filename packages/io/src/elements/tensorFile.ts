// What all files of named tensors have in common, whatever their format.

import type { DataArray, FigmentError, Tensor } from "@figment/tensor";
import { decodeElements, ElementError, type ReadOptions, tensorOfBytes } from "./decode.js";
import type { FileType } from "./types.js";

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
  /** The elements of a tensor in row-major order, as little-endian bytes of its type. */
  readBytes(name: string): Promise<ArrayBuffer>;
  /** The elements of a tensor; 16-bit and 8-bit floats come as f32, integers of other widths than u8 as i32. */
  readData(name: string): Promise<DataArray>;
  /**
   * Reads one tensor. The caller owns it.
   *
   * @throws CheckpointError when the file has no such tensor, its type has no counterpart, or reading fails.
   */
  read(name: string, options?: ReadOptions): Promise<Tensor>;
  close(): Promise<void>;
}

/** Turns bytes into tensors for files that can give the bytes. */
export abstract class TensorFileBase implements TensorFile {
  abstract readonly path: string;
  abstract readonly tensors: ReadonlyMap<string, TensorInfo>;
  abstract readonly metadata: ReadonlyMap<string, string>;
  abstract readBytes(name: string): Promise<ArrayBuffer>;
  abstract close(): Promise<void>;

  /** An error about one tensor. */
  protected abstract errorOf(name: string, message: string, cause?: unknown): FigmentError;

  async readData(name: string): Promise<DataArray> {
    const bytes = await this.readBytes(name);
    return this.convert(name, ({ type }) => decodeElements(bytes, type));
  }

  async read(name: string, options: ReadOptions = {}): Promise<Tensor> {
    const bytes = await this.readBytes(name);
    return this.convert(name, ({ type, shape }) => tensorOfBytes(bytes, type, shape, options));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private convert<T>(name: string, decode: (info: TensorInfo) => T): T {
    try {
      return decode(this.tensors.get(name) as TensorInfo);
    } catch (error) {
      if (!(error instanceof ElementError)) throw error;
      throw this.errorOf(name, `${error.message}; its bytes can be read`, error);
    }
  }
}

/** Reads tensors by name; on failure those already read are disposed. */
export async function readEach(
  names: Iterable<string>,
  read: (name: string) => Promise<Tensor>,
): Promise<Record<string, Tensor>> {
  const loaded: Record<string, Tensor> = Object.create(null);
  try {
    for (const name of names) loaded[name] = await read(name);
    return loaded;
  } catch (error) {
    for (const tensor of Object.values(loaded)) tensor.dispose();
    throw error;
  }
}

/** Reads every tensor of an open file, as {@link readEach} does. */
export const readAll = (file: TensorFile, optionsOf: (name: string) => ReadOptions): Promise<Record<string, Tensor>> =>
  readEach(file.tensors.keys(), (name) => file.read(name, optionsOf(name)));
