// A file that is read in ranges: what all lazy readers stand on.

import { type FileHandle, open } from "node:fs/promises";
import type { FigmentError } from "@figment/tensor";
import { messageOf } from "../errors.js";
import { withoutWaiting } from "./withoutWaiting.js";

/** The class of a reader's errors. */
export type FileErrorClass = new (message: string, options?: ErrorOptions & { path?: string }) => FigmentError;

/** Most bytes per read call: larger reads are cut by the operating system anyway. */
const readBytesAtOnce = 1 << 30;

/** An open file of known size, whose errors name it and the byte. */
export class ByteFile {
  readonly path: string;
  readonly size: number;
  private readonly handle: FileHandle;
  private readonly Failure: FileErrorClass;

  private constructor(path: string, size: number, handle: FileHandle, Failure: FileErrorClass) {
    this.path = path;
    this.size = size;
    this.handle = handle;
    this.Failure = Failure;
  }

  /** Opens a file; what goes wrong, now or later, is thrown as `Failure`. */
  static async open(path: string, Failure: FileErrorClass): Promise<ByteFile> {
    let handle: FileHandle;
    try {
      handle = await open(path, withoutWaiting);
    } catch (error) {
      throw new Failure(`${path}: cannot be opened: ${messageOf(error)}`, { cause: error, path });
    }
    try {
      const stat = await handle.stat();
      if (!stat.isFile()) throw new Failure(`${path}: is not a file`, { path });
      return new ByteFile(path, stat.size, handle, Failure);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** The bytes from `offset` on, in memory of their own. */
  async read(offset: number, length: number): Promise<ArrayBuffer> {
    const bytes = this.allocate(offset, length);
    let done = 0;
    while (done < length) {
      const { bytesRead } = await this.handle.read(
        bytes,
        done,
        Math.min(length - done, readBytesAtOnce),
        offset + done,
      );
      if (bytesRead === 0)
        throw this.errorAt(offset + done, "the file ends here; it was cut short after it was opened");
      done += bytesRead;
    }
    return bytes.buffer as ArrayBuffer;
  }

  /** Memory that is not cleared first: all of it is overwritten, or nobody sees it. */
  private allocate(offset: number, length: number): Buffer {
    try {
      return Buffer.allocUnsafeSlow(length);
    } catch (error) {
      throw this.errorAt(offset, `the ${length} bytes from here on do not fit into memory at once`, error);
    }
  }

  /** An error at a byte of this file. */
  errorAt(offset: number, message: string, cause?: unknown): FigmentError {
    return new this.Failure(`${this.path}, byte ${offset}: ${message}`, { cause, path: this.path });
  }

  /** An error of the file as a whole. */
  error(message: string, cause?: unknown): FigmentError {
    return new this.Failure(`${this.path}: ${message}`, { cause, path: this.path });
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}
