// CIFAR-10 (A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009) in its binary form: records of one label
// and 32 × 32 pixels, plane by plane, in five files of training images and one of test images. Read from the folder of these
// files or straight from the archive that they are published in.

import { readdir, readFile, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { checkObject, UsageError } from "@figment/tensor";
import { DataError, messageOf } from "../errors.js";
import { checkPath } from "../files/checkPath.js";
import { withoutWaiting } from "../files/withoutWaiting.js";
import { Dataset, type DatasetSource, type Example, type ImmediateDataset } from "./dataset.js";

/** Options of {@link cifar10}. */
export interface Cifar10Options {
  /** Default "train". */
  readonly split?: "train" | "test";
}

const side = 32;
const plane = side * side;
const recordBytes = 1 + 3 * plane;

const filesOf = { train: /^data_batch_\d\.bin$/, test: /^test_batch\.bin$/ } as const;
const archiveName = "cifar-10-binary.tar.gz";

/** Largest file of the set that is read: ten times the published ones. */
const maxFileBytes = 100_000 * recordBytes;

const classNames = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"] as const;

class Cifar10 extends Dataset {
  readonly name: string;
  readonly length: number;
  readonly shape = [side, side, 3] as const;
  override readonly classes = classNames;
  readonly source: DatasetSource;
  private readonly records: Uint8Array;

  constructor(path: string, split: "train" | "test", records: Uint8Array) {
    super();
    this.name = `cifar10 ${split}`;
    this.length = records.length / recordBytes;
    this.source = { module: import.meta.url, open: "openCifar10", options: { path, split } };
    this.records = records;
  }

  get(index: number): Example {
    this.checkIndex(index);
    const start = index * recordBytes + 1;
    const image = new Uint8Array(3 * plane);
    for (let i = 0; i < plane; i++) {
      for (let c = 0; c < 3; c++) image[3 * i + c] = this.records[start + c * plane + i] as number;
    }
    return { image, label: this.records[start - 1] as number };
  }
}

/**
 * Opens CIFAR-10: 60,000 colour images [32,32,3] of ten classes.
 *
 * @param path the archive cifar-10-binary.tar.gz, the folder that it lies in, or the folder of its unpacked .bin files.
 * @throws DataError when files are missing or damaged.
 * @example
 * const test = await cifar10("data/cifar10", { split: "test" });
 * test.length; // 2
 */
export async function cifar10(path: string, options: Cifar10Options = {}): Promise<ImmediateDataset> {
  checkPath("cifar10", "path", path);
  const { split = "train" } = checkObject("cifar10", "options", options);
  if (!Object.hasOwn(filesOf, split)) {
    throw new UsageError(`cifar10: split must be "train" or "test", got ${JSON.stringify(split)}`);
  }
  const absolute = resolve(path);
  const files = await readFiles(absolute, filesOf[split]);
  const parts: Uint8Array[] = [];
  for (const name of [...files.keys()].sort()) parts.push(checkRecords(absolute, name, files.get(name) as Uint8Array));
  return new Cifar10(absolute, split, new Uint8Array(Buffer.concat(parts)));
}

/** @internal Opens what {@link cifar10} opened, on a worker thread. */
export function openCifar10({ path, ...options }: Cifar10Options & { readonly path: string }): Promise<Dataset> {
  return cifar10(path, options);
}

/** Whether a path is CIFAR-10's archive, or a folder with it or its files. */
export async function isCifar10(path: string): Promise<boolean> {
  const info = await stat(path).catch(() => undefined);
  if (info?.isFile()) return basename(path) === archiveName;
  const names = info?.isDirectory() ? await readdir(path).catch(() => []) : [];
  return names.includes(archiveName) || names.some((name) => filesOf.train.test(name));
}

async function readFiles(path: string, wanted: RegExp): Promise<Map<string, Uint8Array>> {
  const { isFile } = await aboutFile(path);
  if (isFile) return readArchive(path, wanted);
  const names = await readdir(path).catch((error: unknown) => fail(path, error));
  const chosen = names.filter((name) => wanted.test(name));
  if (chosen.length === 0 && names.includes(archiveName)) return readArchive(join(path, archiveName), wanted);
  if (chosen.length === 0)
    throw new DataError(`${path}: has neither ${archiveName} nor files ${wanted.source}`, { path });
  return new Map(await Promise.all(chosen.map(async (name) => [name, await readRecords(join(path, name))] as const)));
}

async function aboutFile(path: string): Promise<{ readonly isFile: boolean; readonly bytes: number }> {
  const info = await stat(path).catch((error: unknown) => fail(path, error));
  return { isFile: info.isFile(), bytes: info.size };
}

function fail(path: string, cause: unknown): never {
  throw new DataError(`${path}: cannot be opened: ${messageOf(cause)}`, { path, cause });
}

async function readRecords(path: string): Promise<Uint8Array> {
  const { isFile, bytes } = await aboutFile(path);
  if (!isFile) throw new DataError(`${path}: is not a file`, { path });
  if (bytes > maxFileBytes)
    throw new DataError(`${path}: has ${bytes} bytes; at most ${maxFileBytes} are read`, { path });
  return readFile(path, { flag: withoutWaiting }).catch((error: unknown) => fail(path, error));
}

async function readArchive(path: string, wanted: RegExp): Promise<Map<string, Uint8Array>> {
  if (!(await aboutFile(path)).isFile) throw new DataError(`${path}: is not a file`, { path });
  const { list } = await import("tar");
  const files = new Map<string, Uint8Array>();
  const problems: string[] = [];
  try {
    await list({
      file: path,
      strict: true,
      onReadEntry: (entry) => {
        const name = basename(entry.path);
        if (entry.type !== "File" || !wanted.test(name)) return;
        if (entry.size > maxFileBytes)
          return void problems.push(`${name} has ${entry.size} bytes; at most ${maxFileBytes} are read`);
        const pieces: Uint8Array[] = [];
        entry.on("data", (piece: Uint8Array) => pieces.push(piece));
        entry.on("end", () => files.set(name, new Uint8Array(Buffer.concat(pieces))));
      },
    });
  } catch (error) {
    throw new DataError(`${path}: the archive is damaged: ${messageOf(error)}`, { path, cause: error });
  }
  if (problems.length > 0) throw new DataError(`${path}: ${problems.join("; ")}`, { path });
  if (files.size === 0) throw new DataError(`${path}: the archive has no files ${wanted.source}`, { path });
  return files;
}

function checkRecords(path: string, name: string, bytes: Uint8Array): Uint8Array {
  const fail = (message: string): never => {
    throw new DataError(`${path}: ${name}: ${message}`, { path });
  };
  if (bytes.length === 0 || bytes.length % recordBytes !== 0) {
    fail(`records have ${recordBytes} bytes, of which ${bytes.length} bytes are no multiple`);
  }
  for (let at = 0; at < bytes.length; at += recordBytes) {
    if ((bytes[at] as number) >= classNames.length)
      fail(`record ${at / recordBytes} has the label ${bytes[at]}; labels are 0 to 9`);
  }
  return bytes;
}
