// Files that are either the old one or the new one, whatever happens in between: the bytes go to a
// temporary file in the same folder, are forced to disk, and take the name by a rename; then the folder
// itself is forced to disk, so that the rename survives a power cut too.

import { type FileHandle, mkdir, open, readdir, readlink, realpath, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { checkFunction, show, UsageError } from "@figment/tensor";
import { DataError } from "../errors.js";
import { checkPath } from "./checkPath.js";
import { isRunning } from "./processes.js";

/**
 * Makes a folder and those on the way to it.
 *
 * @throws DataError naming the folder that could not be made, and why.
 * @example
 * await makeFolder("out/pictures");
 */
export async function makeFolder(path: string): Promise<void> {
  checkPath("makeFolder", "path", path);
  const folder = resolve(path);
  // Not mkdir's own recursion, which never ends below folders where nothing can be made, such as /proc.
  const known = await stat(folder).catch(() => undefined);
  if (known?.isDirectory()) return;
  if (known) throw new DataError(`${path}: there is a file of that name; expected a folder`, { path });
  if (dirname(folder) !== folder) await makeFolder(dirname(folder));
  await mkdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw new DataError(`${path}: cannot make this folder: ${error.message}`, { path });
  });
}

/** Hexadecimal digits that tell apart the temporary files of one process. */
const randomDigits = 8;

/** Bytes of a file's name that its temporary files keep: with process, digits and ending they stay below the 255 of file systems. */
const keptBytes = 200;

/** How the names of a file's temporary files begin. */
function temporaryPrefix(name: string): string {
  const bytes = Buffer.from(name);
  if (bytes.length <= keptBytes) return `.${name}.`;
  let end = keptBytes;
  // Not within a character: bytes after its first one begin with the bits 10.
  while (((bytes[end] as number) & 0xc0) === 0x80) end--;
  return `.${bytes.toString("utf8", 0, end)}.`;
}

/** Receives bytes in order, or in place of those at a position; resolves once they are handed to the operating system. */
export type WriteBytes = (bytes: Uint8Array, position?: number) => Promise<void>;

/**
 * Writes a file in pieces and puts it in place in one step: that which `path` leads to, where it is a symbolic link. Missing
 * folders are made. If `produce` throws, or the process dies, whatever was at `path` before is still there, whole.
 *
 * @throws DataError naming the file when it cannot be written: the disk is full, the folder read-only.
 * @example
 * await writeAtomically("notes.txt", async (write) => {
 *   await write(new TextEncoder().encode("first line"));
 * });
 */
export async function writeAtomically(path: string, produce: (write: WriteBytes) => Promise<void>): Promise<void> {
  checkPath("writing a file", "path", path);
  checkFunction("writing a file", "produce", produce);
  const target = await placeOf(path);
  const there = await stat(target).catch(() => undefined);
  if (there && !there.isFile() && !there.isDirectory())
    throw new DataError(`${path}: cannot be written: it is not a file`, { path });
  const folder = dirname(target);
  await makeFolder(folder);
  // Not from node:crypto, which takes a tenth of the import of the toolkit; the global is loaded when it is first used.
  const random = crypto.randomUUID().slice(0, randomDigits);
  const temporary = join(folder, `${temporaryPrefix(basename(target))}${process.pid}-${random}.tmp`);
  const file = await open(temporary, "wx").catch((error) => {
    throw asDataError(path, error);
  });
  try {
    try {
      await produce((bytes, position) => writeAll(file, bytes, position));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true });
    throw asDataError(path, error);
  }
  await syncFolder(folder);
  await removeAbandoned(folder, basename(target));
}

/** Where a path leads: of a symbolic link what it names, be there a file yet or not. */
async function placeOf(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    const isLoop = (error as NodeJS.ErrnoException).code === "ELOOP";
    const link = isLoop ? undefined : await readlink(path).catch(() => undefined);
    return link === undefined ? resolve(path) : placeOf(resolve(dirname(path), link));
  }
}

/** What the operating system says, such as that the disk is full, with the file that it is about; other errors as they are. */
function asDataError(path: string, error: unknown): unknown {
  if (!(error instanceof Error) || !("errno" in error)) return error;
  return new DataError(`${path}: cannot be written: ${error.message}`, { path, cause: error });
}

/** A temporary file this old, in milliseconds, whose process is gone, will not be finished by anybody. */
const abandonedAfter = 60_000;

/** Removes what writers of this file left that were killed on their way. */
async function removeAbandoned(folder: string, name: string): Promise<void> {
  const prefix = temporaryPrefix(name);
  for (const entry of await readdir(folder)) {
    // Not the temporary files of a name that goes on from this one.
    const [, digits] = (entry.startsWith(prefix) && /^(\d+)-[\da-f]+\.tmp$/.exec(entry.slice(prefix.length))) || [];
    if (digits === undefined) continue;
    const writer = Number(digits);
    const path = join(folder, entry);
    const written = await stat(path).catch(() => undefined);
    if (!written || Date.now() - written.mtimeMs < abandonedAfter) continue;
    if (Number.isSafeInteger(writer) && writer > 0 && isRunning(writer)) continue;
    await rm(path, { force: true });
  }
}

/**
 * Writes a whole file atomically, as {@link writeAtomically} does.
 *
 * @example
 * await writeFileAtomic("notes.txt", "all at once");
 */
export async function writeFileAtomic(path: string, data: string | Uint8Array): Promise<void> {
  if (typeof data !== "string" && !(data instanceof Uint8Array))
    throw new UsageError(`writeFileAtomic: expected a text or bytes, got ${show(data)}`);
  const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
  return writeAtomically(path, (write) => write(bytes));
}

/**
 * Writes a value as indented JSON with a final newline, atomically.
 *
 * @example
 * await writeJson("run.json", { steps: 100 });
 */
export function writeJson(path: string, value: unknown): Promise<void> {
  return writeFileAtomic(path, `${JSON.stringify(value, null, 2)}\n`);
}

async function writeAll(file: FileHandle, bytes: Uint8Array, position?: number): Promise<void> {
  let done = 0;
  while (done < bytes.byteLength) {
    const at = position === undefined ? null : position + done;
    const { bytesWritten } = await file.write(bytes, done, bytes.byteLength - done, at);
    done += bytesWritten;
  }
}

async function syncFolder(folder: string): Promise<void> {
  // Windows cannot open a folder as a file, and its rename is already durable.
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
