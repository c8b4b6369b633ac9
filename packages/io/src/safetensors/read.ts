// Reading safetensors files lazily: opening reads the header only; tensors are read one by one, on demand.

import { CheckpointError, type FigmentError } from "@figment/tensor";
import { TensorFileBase, type TensorInfo } from "../elements/tensorFile.js";
import { listSome } from "../errors.js";
import { ByteFile } from "../files/byteFile.js";
import { type Header, lengthBytes, parseHeader, readHeaderLength, type TensorEntry } from "./header.js";

/**
 * An open safetensors file. Names, types, shapes and metadata are known at once; data is read when asked for.
 *
 * @example
 * await using file = await SafetensorsFile.open("model.safetensors");
 * const weight = await file.read("encoder.weight");
 */
export class SafetensorsFile extends TensorFileBase {
  readonly path: string;
  /** The tensors in the order of their bytes. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Free-form strings of the header. */
  readonly metadata: ReadonlyMap<string, string>;
  private readonly entries: ReadonlyMap<string, TensorEntry>;
  private readonly file: ByteFile;
  private readonly dataStart: number;

  private constructor(file: ByteFile, { entries, metadata, dataStart }: Header) {
    super();
    this.path = file.path;
    this.file = file;
    this.entries = entries;
    this.metadata = metadata;
    this.dataStart = dataStart;
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

  /** What lies before the data: the length of the JSON, and the JSON. */
  async readHeader(): Promise<Uint8Array> {
    return new Uint8Array(await this.file.read(0, this.dataStart));
  }

  /** The bytes of a tensor as they lie in the file. */
  async readBytes(name: string): Promise<ArrayBuffer> {
    const { fileOffset, byteLength } = this.entry(name);
    return this.file.read(fileOffset, byteLength);
  }

  async close(): Promise<void> {
    await this.file.close();
  }

  protected override errorOf(name: string, message: string, cause?: unknown): FigmentError {
    return this.file.errorAt(this.entry(name).fileOffset, `tensor ${JSON.stringify(name)}: ${message}`, cause);
  }

  private entry(name: string): TensorEntry {
    const entry = this.entries.get(name);
    if (entry) return entry;
    throw new CheckpointError(
      `${this.path}: has no tensor ${JSON.stringify(name)}; it has ${listSome([...this.entries.keys()])}`,
    );
  }
}
