// Reading zip archives by their central directory, members in ranges where they are stored, whole where they are deflated.
// Format: PKWARE's APPNOTE.TXT 6.3.10, with the 64-bit extensions (section 4.3.14 on). Everything in it is checked before it
// is used: members that overlap, run into the directory, or claim more than DEFLATE can hold are refused.

import { promisify } from "node:util";
import { messageOf } from "../errors.js";
import type { ByteFile } from "./byteFile.js";
import { crc32 } from "./crc32.js";
import {
  centralBytes,
  centralSignature,
  end64Bytes,
  end64LocatorBytes,
  end64LocatorSignature,
  end64Signature,
  endBytes,
  endSignature,
  extra64Id,
  in64Bits,
  localBytes,
  localSignature,
} from "./zipFormat.js";

/** A member as the central directory describes it. */
export interface ZipEntry {
  readonly name: string;
  readonly method: number;
  /** 0 where the writer made none. */
  readonly crc: number;
  readonly packedBytes: number;
  readonly bytes: number;
  /** Where its local header is. */
  readonly headerOffset: number;
}

const stored = 0;
const deflated = 8;
const encryptedFlag = 1;

/** The comment that may follow the directory's end record. */
const maxCommentBytes = 65535;

/** Largest directory that is read: about two million members. */
const maxDirectoryBytes = 2 ** 27;

/** DEFLATE makes at most 1032 bytes out of one (a run of 258 in two bits). */
const maxInflation = 1032;

/** Largest member that is inflated, since that happens in memory. */
const maxInflatedBytes = 2 ** 32;

/** Headers of arrays are shorter, which are read apart from their elements; what precedes a view may be longer. */
const longestHeader = 1 << 17;

/** The members of an archive. */
export class ZipArchive {
  readonly entries: ReadonlyMap<string, ZipEntry>;
  private readonly file: ByteFile;
  private readonly directoryOffset: number;
  /** The latest member inflated: views of one storage are read one after the other. */
  private inflated: { readonly entry: ZipEntry; readonly bytes: Uint8Array } | undefined;

  private constructor(file: ByteFile, entries: ReadonlyMap<string, ZipEntry>, directoryOffset: number) {
    this.file = file;
    this.entries = entries;
    this.directoryOffset = directoryOffset;
  }

  /** Reads the central directory of an open file, whose errors are used. */
  static async open(file: ByteFile): Promise<ZipArchive> {
    const { offset, bytes, count } = await findDirectory(file);
    if (bytes > maxDirectoryBytes)
      throw file.errorAt(offset, `the zip directory takes ${bytes} bytes; at most ${maxDirectoryBytes} are read`);
    const entries = parseDirectory(file, offset, new DataView(await file.read(offset, bytes)), count);
    checkPlaces(file, entries, offset);
    return new ZipArchive(file, new Map(entries.map((entry) => [entry.name, entry])), offset);
  }

  /** A whole member. Its checksum is checked where it has one. */
  async read(entry: ZipEntry): Promise<Uint8Array> {
    const bytes =
      entry.method === stored
        ? new Uint8Array(await this.file.read(await this.dataOffset(entry), entry.bytes))
        : await this.inflate(entry);
    this.check(entry, crc32(bytes));
    return bytes;
  }

  /**
   * Bytes `begin` to `end` of a member, in memory of their own. Of a stored one no more is read, and the checksum is checked
   * where they are all of it, or all but a header.
   */
  async readRange(entry: ZipEntry, begin: number, end: number): Promise<ArrayBuffer> {
    if (entry.method === stored) {
      const offset = await this.dataOffset(entry);
      const bytes = await this.file.read(offset + begin, end - begin);
      if (end === entry.bytes && begin <= longestHeader)
        this.check(entry, crc32(new Uint8Array(bytes), crc32(new Uint8Array(await this.file.read(offset, begin)))));
      return bytes;
    }
    if (this.inflated?.entry !== entry) this.inflated = { entry, bytes: await this.read(entry) };
    return this.inflated.bytes.slice(begin, end).buffer as ArrayBuffer;
  }

  /** Throws where a member has a checksum, and its bytes another. */
  private check(entry: ZipEntry, sum: number): void {
    if (entry.crc !== 0 && sum !== entry.crc)
      throw this.file.errorAt(entry.headerOffset, `the member ${show(entry)} is damaged: its checksum does not match`);
  }

  /** Where a member's data begins: its local header tells, which may be longer than the directory's copy. */
  private async dataOffset(entry: ZipEntry): Promise<number> {
    const at = entry.headerOffset;
    const header = new DataView(await this.file.read(at, localBytes));
    if (header.getUint32(0, true) !== localSignature)
      throw this.file.errorAt(at, `no member begins here, but ${show(entry)} should`);
    const offset = at + localBytes + header.getUint16(26, true) + header.getUint16(28, true);
    if (offset + entry.packedBytes > this.directoryOffset) {
      throw this.file.errorAt(at, `the member ${show(entry)} runs into the zip directory`);
    }
    return offset;
  }

  private async inflate(entry: ZipEntry): Promise<Uint8Array> {
    const { file } = this;
    const fail = (message: string, cause?: unknown): never => {
      throw file.errorAt(entry.headerOffset, `the member ${show(entry)} ${message}`, cause);
    };
    if (entry.method !== deflated) fail(`is compressed by method ${entry.method}; stored (0) and DEFLATE (8) are read`);
    if (entry.bytes > entry.packedBytes * maxInflation) {
      fail(`claims ${entry.bytes} bytes, more than DEFLATE can hold in ${entry.packedBytes}`);
    }
    if (entry.bytes > maxInflatedBytes) fail(`claims ${entry.bytes} bytes; at most ${maxInflatedBytes} are inflated`);
    const packed = new Uint8Array(await file.read(await this.dataOffset(entry), entry.packedBytes));
    const { inflateRaw } = await import("node:zlib");
    const bytes = await promisify(inflateRaw)(packed, { maxOutputLength: Math.max(1, entry.bytes) }).catch(
      (error: unknown) => fail(`cannot be inflated to its ${entry.bytes} bytes: ${messageOf(error)}`, error),
    );
    if (bytes.byteLength !== entry.bytes) fail(`claims ${entry.bytes} bytes, but holds ${bytes.byteLength}`);
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
}

const show = ({ name }: ZipEntry): string => JSON.stringify(name.slice(0, 200));

interface Directory {
  readonly offset: number;
  readonly bytes: number;
  readonly count: number;
}

/** Finds the directory by its end record, the last thing in the file but a comment. */
async function findDirectory(file: ByteFile): Promise<Directory> {
  const tailBytes = Math.min(file.size, endBytes + maxCommentBytes);
  const tailOffset = file.size - tailBytes;
  const tail = new DataView(await file.read(tailOffset, tailBytes));
  for (let at = tailBytes - endBytes; at >= 0; at--) {
    if (tail.getUint32(at, true) !== endSignature) continue;
    if (at + endBytes + tail.getUint16(at + 20, true) !== tailBytes) continue;
    return readEnd(file, tail, at, tailOffset + at);
  }
  throw file.errorAt(
    Math.max(0, file.size - endBytes),
    "no zip directory ends here; the file was cut short or is no zip archive",
  );
}

async function readEnd(file: ByteFile, tail: DataView, at: number, endOffset: number): Promise<Directory> {
  const place = {
    count: tail.getUint16(at + 10, true),
    bytes: tail.getUint32(at + 12, true),
    offset: tail.getUint32(at + 16, true),
  };
  const locatorAt = at - end64LocatorBytes;
  const has64 = locatorAt >= 0 && tail.getUint32(locatorAt, true) === end64LocatorSignature;
  const { limit, ...directory } = has64
    ? await readEnd64(file, wide(file, tail, locatorAt + 8, endOffset), endOffset)
    : { ...place, limit: endOffset };
  if (directory.offset + directory.bytes > limit) {
    throw file.errorAt(
      endOffset,
      `the zip directory is said to be at byte ${directory.offset}, ${directory.bytes} bytes long, which is not before this`,
    );
  }
  return directory;
}

async function readEnd64(file: ByteFile, offset: number, endOffset: number): Promise<Directory & { limit: number }> {
  if (offset + end64Bytes > endOffset)
    throw file.errorAt(endOffset, `the 64-bit end of the zip directory is said to be at byte ${offset}`);
  const view = new DataView(await file.read(offset, end64Bytes));
  if (view.getUint32(0, true) !== end64Signature)
    throw file.errorAt(offset, "the 64-bit end of the zip directory should be here");
  return {
    count: wide(file, view, 32, offset),
    bytes: wide(file, view, 40, offset),
    offset: wide(file, view, 48, offset),
    limit: offset,
  };
}

function wide(file: ByteFile, view: DataView, at: number, offset: number): number {
  const value = Number(view.getBigUint64(at, true));
  if (!Number.isSafeInteger(value)) throw file.errorAt(offset, "a size or place beyond 2^53 in the zip directory");
  return value;
}

function parseDirectory(file: ByteFile, offset: number, view: DataView, count: number): ZipEntry[] {
  const entries: ZipEntry[] = [];
  const names = new Set<string>();
  let at = 0;
  while (at < view.byteLength) {
    if (at + centralBytes > view.byteLength || view.getUint32(at, true) !== centralSignature) {
      throw file.errorAt(offset + at, "an entry of the zip directory should be here");
    }
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((field) => view.getUint16(at + field, true)) as [
      number,
      number,
      number,
    ];
    const next = at + centralBytes + nameBytes + extraBytes + commentBytes;
    if (next > view.byteLength)
      throw file.errorAt(offset + at, "this entry of the zip directory overruns the directory");
    const entry = parseEntry(file, offset, view, at, nameBytes, extraBytes);
    if (names.has(entry.name)) throw file.errorAt(offset + at, `two members are named ${show(entry)}`);
    names.add(entry.name);
    entries.push(entry);
    at = next;
  }
  if (entries.length !== count)
    throw file.errorAt(offset, `the zip directory has ${entries.length} entries, its end says ${count}`);
  return entries;
}

function parseEntry(
  file: ByteFile,
  offset: number,
  view: DataView,
  at: number,
  nameBytes: number,
  extraBytes: number,
): ZipEntry {
  const nameAt = at + centralBytes;
  const name = new TextDecoder().decode(new Uint8Array(view.buffer, nameAt, nameBytes));
  if (view.getUint16(at + 8, true) & encryptedFlag)
    throw file.errorAt(offset + at, `the member ${JSON.stringify(name)} is encrypted`);
  const sizes = [24, 20, 42].map((field) => view.getUint32(at + field, true));
  if (sizes.includes(in64Bits)) readExtra64(file, offset, view, nameAt + nameBytes, extraBytes, sizes);
  const [bytes, packedBytes, headerOffset] = sizes as [number, number, number];
  const method = view.getUint16(at + 10, true);
  if (method === stored && bytes !== packedBytes) {
    throw file.errorAt(
      offset + at,
      `the member ${JSON.stringify(name)} is stored, but ${bytes} bytes are said to take ${packedBytes}`,
    );
  }
  return { name, method, crc: view.getUint32(at + 16, true), packedBytes, bytes, headerOffset };
}

/** Fills in the sizes that do not fit 32 bits, in their order. */
function readExtra64(
  file: ByteFile,
  offset: number,
  view: DataView,
  start: number,
  length: number,
  sizes: number[],
): void {
  const fail = (at: number): never => {
    throw file.errorAt(offset + at, "the 64-bit sizes of a zip member are missing here");
  };
  let at = start;
  const end = start + length;
  while (at + 4 <= end && view.getUint16(at, true) !== extra64Id) at += 4 + view.getUint16(at + 2, true);
  if (at + 4 > end) fail(start);
  at += 4;
  for (const [i, size] of sizes.entries()) {
    if (size !== in64Bits) continue;
    if (at + 8 > end) fail(at);
    sizes[i] = wide(file, view, at, offset + at);
    at += 8;
  }
}

/** Members lie one after the other, before the directory; names and extra fields of local headers come on top. */
function checkPlaces(file: ByteFile, entries: readonly ZipEntry[], directoryOffset: number): void {
  const ordered = [...entries].sort((a, b) => a.headerOffset - b.headerOffset);
  for (const [i, entry] of ordered.entries()) {
    const next = ordered[i + 1];
    const end = entry.headerOffset + localBytes + Buffer.byteLength(entry.name) + entry.packedBytes;
    if (end > (next?.headerOffset ?? directoryOffset)) {
      const other = next ? `the member ${show(next)}` : "the zip directory";
      throw file.errorAt(entry.headerOffset, `the member ${show(entry)} overlaps ${other}`);
    }
  }
}
