// NumPy's files: one array (.npy), or a zip archive of them (.npz).

import { CheckpointError, type FigmentError, type Tensor } from "@figment/tensor";
import type { ReadOptions } from "../elements/decode.js";
import { denseStrides } from "../elements/numpy.js";
import { gather } from "../elements/strides.js";
import { readAll, TensorFileBase, type TensorInfo } from "../elements/tensorFile.js";
import { bytesOfElements } from "../elements/types.js";
import { listSome } from "../errors.js";
import { ByteFile } from "../files/byteFile.js";
import { ZipArchive } from "../files/zip.js";
import { type FailNpy, type NpyHeader, parseNpyHeader, prefixBytes, readNpyPrefix } from "./header.js";

/** The name of the array of a file that has one. */
export const onlyArray = "array";

/** Reads bytes `begin` to `end` of an array file. */
type ReadRange = (begin: number, end: number) => Promise<ArrayBuffer>;

interface StoredArray {
  readonly header: NpyHeader;
  readonly read: ReadRange;
}

/** An open .npy or .npz file. */
export class NumpyFile extends TensorFileBase {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: ReadonlyMap<string, string> = new Map();
  private readonly arrays: ReadonlyMap<string, StoredArray>;
  private readonly file: ByteFile;

  private constructor(file: ByteFile, arrays: ReadonlyMap<string, StoredArray>) {
    super();
    this.path = file.path;
    this.file = file;
    this.arrays = arrays;
    this.tensors = new Map([...arrays].map(([name, { header }]) => [name, { type: header.type, shape: header.shape }]));
  }

  /** Opens a file and checks the headers of its arrays. What it holds is told by its first bytes. */
  static async open(path: string): Promise<NumpyFile> {
    const file = await ByteFile.open(path, CheckpointError);
    try {
      const start = new Uint8Array(await file.read(0, Math.min(2, file.size)));
      const isZip = start[0] === 0x50 && start[1] === 0x4b;
      return new NumpyFile(file, isZip ? await openArchive(file) : await openSingle(file));
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async readBytes(name: string): Promise<ArrayBuffer> {
    const { header, read } = this.array(name);
    const itemBytes = bytesOfElements(header.type, 1);
    const buffer = await read(header.dataOffset, header.dataOffset + header.dataBytes);
    if (header.bigEndian) swapBytes(buffer, header.type === "C64" ? 4 : itemBytes);
    const plain = !header.columnMajor || header.shape.length < 2 || header.dataBytes === 0;
    return plain ? buffer : gather(buffer, itemBytes, header.shape, denseStrides(header.shape, true));
  }

  async close(): Promise<void> {
    await this.file.close();
  }

  protected override errorOf(name: string, message: string, cause?: unknown): FigmentError {
    return this.file.error(`array ${JSON.stringify(name)}: ${message}`, cause);
  }

  private array(name: string): StoredArray {
    const array = this.arrays.get(name);
    if (array) return array;
    throw this.file.error(`has no array ${JSON.stringify(name)}; it has ${listSome([...this.arrays.keys()])}`);
  }
}

async function openSingle(file: ByteFile): Promise<Map<string, StoredArray>> {
  const read: ReadRange = (begin, end) => file.read(begin, end - begin);
  const fail: FailNpy = (offset, message) => {
    throw file.errorAt(offset, message);
  };
  return new Map([[onlyArray, { header: await readHeader(read, file.size, fail), read }]]);
}

async function openArchive(file: ByteFile): Promise<Map<string, StoredArray>> {
  const archive = await ZipArchive.open(file);
  const arrays = new Map<string, StoredArray>();
  for (const entry of archive.entries.values()) {
    if (entry.name.endsWith("/")) continue;
    const fail: FailNpy = (offset, message) => {
      throw file.error(`${entry.name}, byte ${offset}: ${message}`);
    };
    const read: ReadRange = (begin, end) => archive.readRange(entry, begin, end);
    const header = await readHeader(read, entry.bytes, fail);
    const name = entry.name.replace(/\.npy$/, "");
    if (arrays.has(name)) fail(0, `two arrays are named ${JSON.stringify(name)}`);
    arrays.set(name, { header, read });
  }
  return arrays;
}

async function readHeader(read: ReadRange, fileBytes: number, fail: FailNpy): Promise<NpyHeader> {
  const { start, length } = readNpyPrefix(new Uint8Array(await read(0, Math.min(prefixBytes, fileBytes))), fail);
  if (start + length > fileBytes)
    fail(fileBytes, `a header of ${length} bytes begins at byte ${start}; the file ends here`);
  const text = new TextDecoder("latin1").decode(await read(start, start + length));
  return parseNpyHeader(text, start, length, fileBytes, fail);
}

/** Reverses the bytes of every element. */
function swapBytes(buffer: ArrayBuffer, itemBytes: number): void {
  const bytes = Buffer.from(buffer);
  if (itemBytes === 2) bytes.swap16();
  else if (itemBytes === 4) bytes.swap32();
  else if (itemBytes === 8) bytes.swap64();
}

/**
 * Loads the array of a .npy file. The caller owns it.
 *
 * @throws CheckpointError for arrays of objects or fields, for numbers that no tensor type holds, and for damaged files.
 * @example
 * await saveNpy("weight.npy", weight);
 * const loaded = await loadNpy("weight.npy"); // [2, 2]
 */
export async function loadNpy(path: string, options: ReadOptions = {}): Promise<Tensor> {
  await using file = await NumpyFile.open(path);
  if (file.tensors.size !== 1)
    throw new CheckpointError(`${path}: has ${file.tensors.size} arrays; loadNpz loads them`);
  return await file.read([...file.tensors.keys()][0] as string, options);
}

/**
 * Loads all arrays of a .npz file, by their names. The caller owns them.
 *
 * @throws CheckpointError as {@link loadNpy}.
 * @example
 * await saveNpz("layer.npz", { weight, bias });
 * const layer = await loadNpz("layer.npz");
 */
export async function loadNpz(path: string, options: ReadOptions = {}): Promise<Record<string, Tensor>> {
  await using file = await NumpyFile.open(path);
  return await readAll(file, () => options);
}
