// Writing zip archives of stored members, one after the other. Format: PKWARE's APPNOTE.TXT 6.3.10; sizes and places beyond
// 32 bits go to 64-bit extra fields (section 4.5.3).

import type { WriteBytes } from "./atomic.js";
import { crc32 } from "./crc32.js";

/** 1 January 1980, the first day that zip knows: files depend on their contents alone. */
const earliestDate = 0x21;

/** Names are UTF-8. */
const utf8Flag = 0x800;

/** Version 4.5 of the format, the first one with 64-bit sizes. */
const versionNeeded = 45;

const in64Bits = 0xffffffff;
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
    const crc = parts.length === 1 ? crc32(parts[0] as Uint8Array) : crc32(Buffer.concat(parts));
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

/** Little-endian fields one after the other, as [bytes, value]. */
function fields(...parts: readonly (readonly [bytes: 2 | 4 | 8, value: number])[]): Uint8Array {
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

function localHeader({ name, crc, bytes }: Member): Uint8Array {
  const extra = bytes >= in64Bits ? fields([2, 1], [2, 16], [8, bytes], [8, bytes]) : new Uint8Array();
  const header = fields(
    [4, 0x04034b50],
    [2, versionNeeded],
    [2, utf8Flag],
    [2, 0],
    [2, 0],
    [2, earliestDate],
    [4, crc],
    [4, narrow(bytes)],
    [4, narrow(bytes)],
    [2, name.byteLength],
    [2, extra.byteLength],
  );
  return Buffer.concat([header, name, extra]);
}

function centralHeader({ name, crc, bytes, offset }: Member): Uint8Array {
  const wide: (readonly [8, number])[] = [];
  if (bytes >= in64Bits) wide.push([8, bytes], [8, bytes]);
  if (offset >= in64Bits) wide.push([8, offset]);
  const extra = wide.length > 0 ? fields([2, 1], [2, 8 * wide.length], ...wide) : new Uint8Array();
  const header = fields(
    [4, 0x02014b50],
    [2, versionNeeded],
    [2, versionNeeded],
    [2, utf8Flag],
    [2, 0],
    [2, 0],
    [2, earliestDate],
    [4, crc],
    [4, narrow(bytes)],
    [4, narrow(bytes)],
    [2, name.byteLength],
    [2, extra.byteLength],
    [2, 0],
    [2, 0],
    [2, 0],
    [4, 0],
    [4, narrow(offset)],
  );
  return Buffer.concat([header, name, extra]);
}

function endOfDirectory(count: number, start: number, bytes: number): Uint8Array {
  const end64 = start + bytes;
  const wide =
    end64 >= in64Bits || count >= in64BitsCount
      ? fields(
          ...([
            [4, 0x06064b50],
            [8, 44],
            [2, versionNeeded],
            [2, versionNeeded],
            [4, 0],
            [4, 0],
          ] as const),
          ...([
            [8, count],
            [8, count],
            [8, bytes],
            [8, start],
          ] as const),
          ...([
            [4, 0x07064b50],
            [4, 0],
            [8, end64],
            [4, 1],
          ] as const),
        )
      : new Uint8Array();
  const shortCount = Math.min(count, in64BitsCount);
  const end = fields(
    [4, 0x06054b50],
    [2, 0],
    [2, 0],
    [2, shortCount],
    [2, shortCount],
    [4, narrow(bytes)],
    [4, narrow(start)],
    [2, 0],
  );
  return Buffer.concat([wide, end]);
}
