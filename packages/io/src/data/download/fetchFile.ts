// Fetching one file: what came so far lies in a file beside the target and is gone on with, by a request for the rest; only a
// whole file with the right checksum takes the target's name.

import { createReadStream } from "node:fs";
import { open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { DataError, messageOf } from "../../errors.js";
import { makeFolder } from "../../files/atomic.js";
import type { RemoteFile } from "./sources.js";

/** How far a file has come. */
export interface FetchProgress {
  readonly file: string;
  readonly received: number;
  readonly total: number;
}

/** How a file is fetched. */
export interface FetchOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: FetchProgress) => void;
  /** Milliseconds without a byte after which a place is given up. */
  readonly patience?: number;
}

const defaultPatience = 30_000;

/** How often each place is tried: connections break, and what came stays. */
const triesPerPlace = 2;

/** Whether a file is there with the right length and checksum. */
export async function isWhole(path: string, { bytes, checksum }: RemoteFile): Promise<boolean> {
  const info = await stat(path).catch(() => undefined);
  if (!info?.isFile() || info.size !== bytes) return false;
  const { createHash } = await import("node:crypto");
  const hash = createHash(checksum.algorithm);
  for await (const piece of createReadStream(path)) hash.update(piece as Uint8Array);
  return hash.digest("hex") === checksum.hex;
}

/**
 * Fetches a file from the first of several places that has it.
 *
 * @throws DataError when no place gave it, telling what each said, or when what came is not the file.
 */
export async function fetchFile(
  places: readonly string[],
  file: RemoteFile,
  folder: string,
  options: FetchOptions = {},
): Promise<void> {
  const target = join(folder, file.name);
  const part = join(folder, `.${basename(target)}.part`);
  await makeFolder(dirname(target));
  const problems: string[] = [];
  for (const place of places) {
    for (let attempt = 0; attempt < triesPerPlace; attempt++) {
      const url = new URL(file.name, place).href;
      const before = await sizeOf(part);
      try {
        await transfer(url, part, file, options);
      } catch (error) {
        options.signal?.throwIfAborted();
        problems.push(`${url}: ${messageOf(error)}${causeOf(error)}`);
        // Nothing new came: another try would hear the same.
        if ((await sizeOf(part)) === before) break;
        continue;
      }
      if (await isWhole(part, file)) {
        await rename(part, target);
        return;
      }
      await rm(part, { force: true });
      problems.push(`${url}: what came is not this file: its ${file.checksum.algorithm} is not ${file.checksum.hex}`);
      // The beginning may have been another file's; without one, the place has something else.
      if (before === 0) break;
    }
  }
  throw new DataError(`${file.name} could not be fetched:\n  ${problems.join("\n  ")}`, { path: target });
}

const sizeOf = async (path: string): Promise<number> => (await stat(path).catch(() => undefined))?.size ?? 0;

/** Why the network failed: fetch itself says only that it did. */
function causeOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  if (!(cause instanceof Error)) return "";
  return ` (${(cause as NodeJS.ErrnoException).code ?? cause.message})`;
}

/** Appends to `part` until it has all bytes of the file. */
async function transfer(url: string, part: string, file: RemoteFile, options: FetchOptions): Promise<void> {
  const { signal, onProgress, patience = defaultPatience } = options;
  let start = await sizeOf(part);
  if (start > file.bytes) {
    await rm(part);
    start = 0;
  }
  if (start === file.bytes) return;
  const watch = new Watch(patience, signal);
  try {
    // Archives come as they are; otherwise fetch would unpack them on the way.
    const headers = { "accept-encoding": "identity", ...(start > 0 ? { range: `bytes=${start}-` } : {}) };
    const response = await fetch(url, { headers, signal: watch.signal });
    if (response.status === 206) {
      const range = response.headers.get("content-range") ?? "";
      if (!range.startsWith(`bytes ${start}-`))
        throw new Error(`asked for bytes from ${start}, was sent ${JSON.stringify(range)}`);
    } else if (response.status === 200) {
      start = 0;
    } else {
      await response.body?.cancel();
      throw new Error(`the server answered ${response.status} ${response.statusText}`.trim());
    }
    await append(response, part, start, file, watch, onProgress);
  } catch (error) {
    throw watch.expired ? new Error(`nothing came for ${patience / 1000} s`) : error;
  } finally {
    watch.end();
  }
}

async function append(
  { body }: Response,
  part: string,
  start: number,
  { name, bytes }: RemoteFile,
  watch: Watch,
  onProgress: FetchOptions["onProgress"],
): Promise<void> {
  if (!body) throw new Error("the server sent nothing");
  const handle = await open(part, start === 0 ? "w" : "r+");
  let received = start;
  try {
    for await (const piece of body) {
      watch.restart();
      if (received + piece.byteLength > bytes) throw new Error(`more than the ${bytes} bytes of this file came`);
      await handle.write(piece, 0, piece.byteLength, received);
      received += piece.byteLength;
      onProgress?.({ file: name, received, total: bytes });
    }
    if (received < bytes) throw new Error(`the connection ended after ${received} of ${bytes} bytes`);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Ends a request that is stopped by its caller, or to which nothing comes. */
class Watch {
  expired = false;
  private readonly controller = new AbortController();
  private readonly patience: number;
  private readonly caller: AbortSignal | undefined;
  private readonly stop: () => void;
  private timer: NodeJS.Timeout | undefined;

  constructor(patience: number, caller: AbortSignal | undefined) {
    caller?.throwIfAborted();
    this.patience = patience;
    this.caller = caller;
    this.stop = () => this.controller.abort(caller?.reason);
    caller?.addEventListener("abort", this.stop);
    this.restart();
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  restart(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.expired = true;
      this.controller.abort();
    }, this.patience);
  }

  end(): void {
    clearTimeout(this.timer);
    this.caller?.removeEventListener("abort", this.stop);
  }
}
