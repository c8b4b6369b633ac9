// Writing zip archives of stored members, one after the other. Format: PKWARE's APPNOTE.TXT 6.3.10; sizes and places beyond
// 32 bits go to 64-bit extra fields (section 4.5.3).

import type { WriteBytes } from "./atomic.js";
import { crc32 } from "./crc32.js";
import {
  centralSignature,
  end64Bytes,
  end64LocatorSignature,
  end64Signature,
  endSignature,
  extra64Id,
  in64Bits,
  localSignature,
} from "./zipFormat.js";

/** 1 January 1980, the first day that zip knows: files depend on their contents alone. */
const earliestDate = 0x21;

/** Names are UTF-8. */
const utf8Flag = 0x800;

/** Version 4.5 of the format, the first one with 64-bit sizes. */
const versionNeeded = 45;

const in64BitsCount = 0xffff;

interface Member {
  readonly name: Uint8Array;
  readonly crc: number;
  readonly bytes: number;
  readonly offset: number;
}

/** Writes members as they come, then the directory. */
export class ZipWriter {
  private readonly write: WriteBytes;
  private readonly members: Member[] = [];
  private offset = 0;

  constructor(write: WriteBytes) {
    this.write = write;
  }

  /** Appends a member; `parts` are its contents one after the other. */
  async add(name: string, parts: readonly Uint8Array[]): Promise<void> {
    const bytes = parts.reduce((sum, part) => sum + part.byteLength, 0);
    const crc = parts.reduce((before, part) => crc32(part, before), 0);
    const member = { name: new TextEncoder().encode(name), crc, bytes, offset: this.offset };
    this.members.push(member);
    await this.put(localHeader(member));
    for (const part of parts) await this.put(part);
  }

  /** Writes the directory, which ends the archive. */
  async finish(): Promise<void> {
    const start = this.offset;
    for (const member of this.members) await this.put(centralHeader(member));
    await this.put(endOfDirectory(this.members.length, start, this.offset - start));
  }

  private async put(bytes: Uint8Array): Promise<void> {
    await this.write(bytes);
    this.offset += bytes.byteLength;
  }
}

/** A little-endian field. */
type Field = readonly [bytes: 2 | 4 | 8, value: number];

/** Fields one after the other. */
function fields(...parts: readonly Field[]): Uint8Array {
  const out = new DataView(new ArrayBuffer(parts.reduce((sum, [bytes]) => sum + bytes, 0)));
  let at = 0;
  for (const [bytes, value] of parts) {
    if (bytes === 2) out.setUint16(at, value, true);
    else if (bytes === 4) out.setUint32(at, value, true);
    else out.setBigUint64(at, BigInt(value), true);
    at += bytes;
  }
  return new Uint8Array(out.buffer);
}

const narrow = (value: number): number => Math.min(value, in64Bits);

/** The extra field with those numbers that do not fit 32 bits, or nothing. */
function extra64(...numbers: readonly number[]): Uint8Array {
  const wide = numbers.filter((value) => value >= in64Bits);
  return wide.length === 0
    ? new Uint8Array()
    : fields([2, extra64Id], [2, 8 * wide.length], ...wide.map((value): Field => [8, value]));
}

/** What local and central headers have in common: from the version that is needed to the length of the extra field. */
const described = ({ name, crc, bytes }: Member, extra: Uint8Array): readonly Field[] => [
  [2, versionNeeded],
  [2, utf8Flag],
  // Stored, at midnight.
  [2, 0],
  [2, 0],
  [2, earliestDate],
  [4, crc],
  [4, narrow(bytes)],
  [4, narrow(bytes)],
  [2, name.byteLength],
  [2, extra.byteLength],
];

function localHeader(member: Member): Uint8Array {
  const extra = extra64(member.bytes, member.bytes);
  return Buffer.concat([fields([4, localSignature], ...described(member, extra)), member.name, extra]);
}

function centralHeader(member: Member): Uint8Array {
  const extra = extra64(member.bytes, member.bytes, member.offset);
  const header = fields(
    [4, centralSignature],
    [2, versionNeeded],
    ...described(member, extra),
    // No comment, the first disk, no attributes.
    [2, 0],
    [2, 0],
    [2, 0],
    [4, 0],
    [4, narrow(member.offset)],
  );
  return Buffer.concat([header, member.name, extra]);
}

/** The 64-bit end of the directory and its locator. */
const end64 = (count: number, start: number, bytes: number): Uint8Array =>
  fields(
    [4, end64Signature],
    // Bytes that follow this number.
    [8, end64Bytes - 12],
    [2, versionNeeded],
    [2, versionNeeded],
    [4, 0],
    [4, 0],
    [8, count],
    [8, count],
    [8, bytes],
    [8, start],
    [4, end64LocatorSignature],
    [4, 0],
    [8, start + bytes],
    [4, 1],
  );

function endOfDirectory(count: number, start: number, bytes: number): Uint8Array {
  const isWide = start + bytes >= in64Bits || count >= in64BitsCount;
  const shortCount = Math.min(count, in64BitsCount);
  const end = fields(
    [4, endSignature],
    [2, 0],
    [2, 0],
    [2, shortCount],
    [2, shortCount],
    [4, narrow(bytes)],
    [4, narrow(start)],
    [2, 0],
  );
  return isWide ? Buffer.concat([end64(count, start, bytes), end]) : end;
}
