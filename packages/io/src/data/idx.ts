// IDX, the file format of MNIST (Y. LeCun): two zero bytes, a type byte (8 = unsigned byte), the number of
// dimensions, each dimension as a big-endian u32, then the elements. Plain or gzipped.

import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { DataError, messageOf } from "../errors.js";
import { withoutWaiting } from "../files/withoutWaiting.js";

/** Unsigned bytes with their dimensions. */
export interface IdxArray {
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

/** Most bytes that an archive may unpack to; the largest set in this format, EMNIST, has 640 MB. */
const maxUnpackedBytes = 2 ** 31;

const unsignedByteType = 8;

/**
 * Reads an IDX file of unsigned bytes.
 *
 * @param rank the number of dimensions expected: 3 for images, 1 for labels.
 * @throws DataError when the file is unreadable, of another kind, or has another length than its header says.
 */
export async function readIdx(path: string, rank: number): Promise<IdxArray> {
  const bytes = await readUnpacked(path);
  const fail = (message: string): never => {
    throw new DataError(`${path}: ${message}`, { path });
  };
  const headerBytes = 4 + 4 * rank;
  if (bytes.byteLength < headerBytes)
    fail(`an IDX header of ${rank} dimensions takes ${headerBytes} bytes, the file has ${bytes.byteLength}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = view.getUint32(0);
  const expected = (unsignedByteType << 8) | rank;
  if (magic !== expected)
    fail(
      `not an IDX file of unsigned bytes with ${rank} dimensions: its magic number is ${hex(magic)}, expected ${hex(expected)}`,
    );
  const shape = Array.from({ length: rank }, (_, i) => view.getUint32(4 + 4 * i));
  const size = shape.reduce((product, extent) => product * extent, 1);
  if (size === 0) fail(`the header claims an empty array of shape [${shape}]`);
  if (headerBytes + size !== bytes.byteLength) {
    fail(`the header claims shape [${shape}], ${headerBytes + size} bytes in all, the file has ${bytes.byteLength}`);
  }
  return { shape, data: bytes.subarray(headerBytes) };
}

async function readUnpacked(path: string): Promise<Uint8Array> {
  let packed: Uint8Array;
  try {
    packed = await readFile(path, { flag: withoutWaiting });
  } catch (error) {
    throw new DataError(`${path}: cannot be read: ${messageOf(error)}`, { path, cause: error });
  }
  // Some copies are unpacked but keep the name: the first bytes tell.
  if (packed[0] !== 0x1f || packed[1] !== 0x8b) return plain(packed);
  try {
    const { gunzip } = await import("node:zlib");
    return plain(await promisify(gunzip)(packed, { maxOutputLength: maxUnpackedBytes }));
  } catch (error) {
    throw new DataError(`${path}: the gzip archive is damaged: ${messageOf(error)}`, { path, cause: error });
  }
}

/** Without Buffer's own methods, whose slice does not copy. */
const plain = ({ buffer, byteOffset, byteLength }: Uint8Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

const hex = (word: number): string => `0x${word.toString(16).padStart(8, "0")}`;
