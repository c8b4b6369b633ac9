// Opening files of tensors of any format that is known, by what they hold and not by their names.

import { CheckpointError, checkObject, type FigmentError } from "@figment/tensor";
import { type TensorFile, TensorFileBase, type TensorInfo } from "../elements/tensorFile.js";
import { listSome } from "../errors.js";
import { ByteFile } from "../files/byteFile.js";
import { checkPath } from "../files/checkPath.js";
import { ZipArchive } from "../files/zip.js";
import { NumpyFile } from "../npy/read.js";
import { openSafetensors } from "../safetensors/load.js";
import { type ReadTorchOptions, readTorch, type TorchFile } from "../torch/file.js";
import type { TorchTensor } from "../torch/tensor.js";

/** Formats of files of tensors. */
export type TensorFormat = "safetensors" | "safetensors index" | "PyTorch" | "NumPy";

/** Options of {@link openTensors}. */
export interface OpenTensorsOptions extends ReadTorchOptions {
  /** Of a PyTorch file: the part whose tensors are meant, such as "params_ema". */
  readonly select?: string;
}

/**
 * The format of a file of tensors, by its first bytes.
 *
 * @throws CheckpointError when it cannot be read.
 */
export async function formatOf(path: string): Promise<TensorFormat> {
  if (path.toLowerCase().endsWith(".json")) return "safetensors index";
  const file = await ByteFile.open(path, CheckpointError);
  try {
    const start = new Uint8Array(await file.read(0, Math.min(6, file.size)));
    if (start[0] === 0x50 && start[1] === 0x4b) {
      const { entries } = await ZipArchive.open(file);
      return [...entries.keys()].some((name) => name.endsWith("/data.pkl")) ? "PyTorch" : "NumPy";
    }
    if (start[0] === 0x93) return "NumPy";
    // A safetensors file begins with the length of its header, whose upper bytes are zero, and then a brace.
    const brace = file.size > 8 ? new Uint8Array(await file.read(8, 1))[0] : undefined;
    return brace === 0x7b || file.size <= 8 ? "safetensors" : "PyTorch";
  } finally {
    await file.close();
  }
}

/**
 * Opens a file of tensors: safetensors (or an index of several), PyTorch's or NumPy's. What it is is told by its contents.
 *
 * @throws CheckpointError as the readers of these formats.
 * @example
 * await using file = await openTensors("weights.pth", { select: "conv" });
 * const conv = await file.read("weight"); // [2, 3]
 */
export async function openTensors(path: string, given: OpenTensorsOptions = {}): Promise<TensorFile> {
  checkPath("openTensors", "path", path);
  const { select, ...options } = checkObject("openTensors", "options", given);
  const format = await formatOf(path);
  if (format === "PyTorch") return TorchTensors.of(await readTorch(path, options), select);
  if (select !== undefined)
    throw new CheckpointError(`${path}: a ${format} file has no parts to select ${JSON.stringify(select)} from`);
  return format === "NumPy" ? NumpyFile.open(path) : openSafetensors(path);
}

/** The tensors of a PyTorch file, or of a part of it, under their names. */
class TorchTensors extends TensorFileBase {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Numbers and strings that lie beside the tensors. */
  readonly metadata: ReadonlyMap<string, string>;
  private readonly file: TorchFile;
  private readonly sources: ReadonlyMap<string, TorchTensor>;

  private constructor(file: TorchFile, select: string | undefined) {
    super();
    this.path = file.path;
    this.file = file;
    this.sources = file.tensors(select);
    this.tensors = new Map([...this.sources].map(([name, { type, shape }]) => [name, { type, shape }]));
    const plain = file.leaves(select).filter(({ value }) => value !== null && typeof value !== "object");
    this.metadata = new Map(plain.map(({ path, value }) => [path, String(value)]));
  }

  static async of(file: TorchFile, select: string | undefined): Promise<TorchTensors> {
    try {
      return new TorchTensors(file, select);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async readBytes(name: string): Promise<ArrayBuffer> {
    const source = this.sources.get(name);
    if (source) return source.bytes();
    throw new CheckpointError(
      `${this.path}: has no tensor ${JSON.stringify(name)}; it has ${listSome([...this.sources.keys()])}`,
    );
  }

  async close(): Promise<void> {
    await this.file.close();
  }

  protected override errorOf(name: string, message: string, cause?: unknown): FigmentError {
    return new CheckpointError(`${this.path}: tensor ${JSON.stringify(name)}: ${message}`, { cause });
  }
}
