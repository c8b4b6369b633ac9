// Reading PyTorch's files (.pth, .pt, .bin, .ckpt) without Python: browsing what they hold, loading tensors one by one.

import { CheckpointError, checkObject, type Tensor, UsageError } from "@figment/tensor";
import type { ReadOptions } from "../elements/decode.js";
import { readEach } from "../elements/tensorFile.js";
import { listSome } from "../errors.js";
import { ByteFile } from "../files/byteFile.js";
import { checkPath } from "../files/checkPath.js";
import type { UnknownObjects } from "./host.js";
import { isLegacyStart, readLegacyForm } from "./legacyForm.js";
import { TorchTensor } from "./tensor.js";
import { type Leaf, leavesBelow, nameTensors, partAt, settleTree, type TorchValue } from "./tree.js";
import { readZipForm } from "./zipForm.js";

/** Options of {@link readTorch}. */
export interface ReadTorchOptions {
  /**
   * What to do with objects of unknown classes: "refuse" (default) throws and names the class; "records" keeps what the
   * file says of them as {@link PickleRecord}s, so that pickles of whole modules can be walked. Neither runs anything.
   */
  readonly objects?: UnknownObjects;
}

/**
 * An open PyTorch file. What it holds is known at once, save for the elements of tensors, which are read when asked for.
 *
 * @example
 * await using file = await readTorch("weights.pth");
 * for (const [name, tensor] of file.tensors()) console.log(name, tensor.type, tensor.shape);
 */
export class TorchFile {
  readonly path: string;
  /** "zip" since PyTorch 1.6, "legacy" before. */
  readonly form: "zip" | "legacy";
  /** The object that was saved, usually a dict. */
  readonly root: TorchValue;
  private readonly file: ByteFile;

  private constructor(file: ByteFile, form: "zip" | "legacy", root: TorchValue) {
    this.path = file.path;
    this.form = form;
    this.root = root;
    this.file = file;
  }

  /** @internal Use {@link readTorch}. */
  static async open(path: string, objects: UnknownObjects): Promise<TorchFile> {
    const file = await ByteFile.open(path, CheckpointError);
    try {
      const form = await formOf(file);
      const read = form === "zip" ? readZipForm : readLegacyForm;
      const root = settleTree(await read(file, objects));
      nameTensors(root);
      return new TorchFile(file, form, root);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /**
   * A part of the tree by its path: names joined by dots, such as "params_ema" or "optimizer.state.0". Without one, the root. Names that begin with the path are a part, too:
   * "encoder" of a dict with "encoder.weight" is a dict with "weight".
   *
   * @throws CheckpointError listing the names that are there instead.
   */
  select(path = ""): TorchValue {
    const found = partAt(this.root, path);
    if ("part" in found) return found.part;
    const where = found.reached === "" ? "the file" : JSON.stringify(found.reached);
    throw new CheckpointError(
      `${this.path}: has no ${JSON.stringify(path)}; ${where} has ${listSome(found.names, 20)}`,
    );
  }

  /** Everything below a part, down to tensors, numbers and strings, under paths from that part. */
  leaves(path = ""): readonly Leaf[] {
    return leavesBelow(this.select(path), (message) => new CheckpointError(`${this.path}: ${message}`));
  }

  /** The tensors below a part under their names from there: for a state dict, the names of its parameters. */
  tensors(path = ""): ReadonlyMap<string, TorchTensor> {
    const tensors = new Map<string, TorchTensor>();
    for (const leaf of this.leaves(path)) {
      if (!(leaf.value instanceof TorchTensor)) continue;
      if (tensors.has(leaf.path))
        throw new CheckpointError(`${this.path}: two tensors have the name ${JSON.stringify(leaf.path)}`);
      tensors.set(leaf.path, leaf.value);
    }
    return tensors;
  }

  /** The tensor at a path. */
  tensor(path: string): TorchTensor {
    const part = this.select(path);
    if (part instanceof TorchTensor) return part;
    throw new CheckpointError(`${this.path}: ${JSON.stringify(path)} is no tensor`);
  }

  async close(): Promise<void> {
    await this.file.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * Opens a PyTorch file: the zip form of PyTorch 1.6 and later, or the form before it. Nothing in the file is ever executed:
 * its pickle is read as a description of data, and what would need code is refused by name.
 *
 * @throws CheckpointError naming the byte at which the file goes wrong, or the class that is refused.
 * @example
 * await using file = await readTorch("weights.pth");
 * const bias = await file.tensor("conv.bias").data();
 */
export async function readTorch(path: string, options: ReadTorchOptions = {}): Promise<TorchFile> {
  checkPath("readTorch", "path", path);
  const { objects = "refuse" } = checkObject("readTorch", "options", options);
  if (objects !== "refuse" && objects !== "records") {
    throw new UsageError(`readTorch: objects must be "refuse" or "records", got ${JSON.stringify(objects)}`);
  }
  return TorchFile.open(path, objects);
}

/** Options of {@link loadTorch}. */
export interface LoadTorchOptions extends ReadTorchOptions, ReadOptions {
  /** The path of the part to load, such as "params_ema" or "state_dict". Default: everything. */
  readonly select?: string;
}

/**
 * Loads all tensors of a PyTorch file, or of a part of it. The caller owns them.
 *
 * @throws CheckpointError as {@link readTorch}, and for tensors whose elements no tensor type holds.
 * @example
 * const tensors = await loadTorch("weights.pth", { floats: "f32" });
 */
export async function loadTorch(path: string, given: LoadTorchOptions = {}): Promise<Record<string, Tensor>> {
  checkPath("loadTorch", "path", path);
  const { select, floats, ...options } = checkObject("loadTorch", "options", given);
  await using file = await readTorch(path, options);
  const tensors = file.tensors(select);
  return await readEach(tensors.keys(), (name) => (tensors.get(name) as TorchTensor).tensor({ floats }));
}

/** Where "ustar" stands in a tar archive. */
const tarMagicOffset = 257;

async function formOf(file: ByteFile): Promise<"zip" | "legacy"> {
  const start = new Uint8Array(await file.read(0, Math.min(file.size, tarMagicOffset + 5)));
  const text = (from: number, to: number) => String.fromCharCode(...start.subarray(from, to));
  if (text(0, 2) === "PK") return "zip";
  if (isLegacyStart(start)) return "legacy";
  if (text(tarMagicOffset, tarMagicOffset + 5) === "ustar") {
    throw file.error("a tar archive, as PyTorch wrote before version 0.1.10; load and save it with a newer PyTorch");
  }
  throw file.error("not a PyTorch file: neither a zip archive nor a pickle with PyTorch's magic number");
}
