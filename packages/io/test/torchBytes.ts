// Pickles and PyTorch files made by hand, for what torch itself would not write.

import { crc32 } from "#files/crc32";
import { ZipWriter } from "#files/zipWrite";

/** The bytes of a pickle from pieces: text is opcodes, one byte a character; numbers are bytes. */
export const pickle = (...pieces: readonly (string | number | Uint8Array)[]): Uint8Array =>
  Buffer.concat(
    pieces.map((piece) =>
      typeof piece === "string" ? Buffer.from(piece, "latin1") : typeof piece === "number" ? Buffer.of(piece) : piece,
    ),
  );

const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);

/** Opcodes that push a string, an integer, or a global. */
export const str = (text: string): Uint8Array => pickle("X", u32(Buffer.byteLength(text)), Buffer.from(text));
export const int = (value: number): Uint8Array => pickle("J", new Uint8Array(Int32Array.of(value).buffer));
export const global = (module: string, name: string): string => `c${module}\n${name}\n`;
export const tuple = (...items: readonly Uint8Array[]): Uint8Array => pickle("(", ...items, "t");

/** Opcodes that push the storage `key` of `count` floats. */
export const storage = (key: string, count: number, type = "FloatStorage"): Uint8Array =>
  pickle("(", str("storage"), global("torch", type), str(key), str("cpu"), int(count), "tQ");

/** Opcodes that push a view of a storage of floats. */
export const view = (
  from: Uint8Array,
  offset: number,
  shape: readonly number[],
  strides: readonly number[],
): Uint8Array =>
  pickle(
    global("torch._utils", "_rebuild_tensor_v2"),
    tuple(from, int(offset), tuple(...shape.map(int)), tuple(...strides.map(int)), pickle("\x89"), pickle(")")),
    "R",
  );

/** A dict with one entry. */
export const dictOf = (key: string, value: Uint8Array): Uint8Array => pickle("}", str(key), value, "s");

/** A zip archive of stored members. */
export async function zipBytes(members: readonly (readonly [name: string, bytes: Uint8Array])[]): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  const zip = new ZipWriter(async (bytes) => void pieces.push(bytes.slice()));
  for (const [name, bytes] of members) await zip.add(name, [bytes]);
  await zip.finish();
  return new Uint8Array(Buffer.concat(pieces));
}

/** A PyTorch archive with a pickle and storages. */
export const torchZip = (body: Uint8Array, storages: Record<string, Uint8Array> = {}): Promise<Uint8Array> =>
  zipBytes([
    ["x/data.pkl", pickle("\x80", 2, body, ".")],
    ...Object.entries(storages).map(([key, bytes]) => [`x/data/${key}`, bytes] as const),
  ]);

/** Fields of one zip member, to lie about. */
export interface Lie {
  readonly method?: number;
  readonly flags?: number;
  readonly bytes?: number;
  readonly crc?: number;
  readonly offset?: number;
}

/** A zip archive whose directory says of its last member what it is told to say. */
export async function lyingZip(
  members: readonly (readonly [name: string, bytes: Uint8Array])[],
  { method, flags, bytes, crc, offset }: Lie,
): Promise<Uint8Array> {
  const zip = Buffer.from(await zipBytes(members));
  const at = zip.lastIndexOf(Buffer.of(0x50, 0x4b, 1, 2));
  if (flags !== undefined) zip.writeUInt16LE(flags, at + 8);
  if (method !== undefined) zip.writeUInt16LE(method, at + 10);
  if (crc !== undefined) zip.writeUInt32LE(crc, at + 16);
  if (bytes !== undefined) zip.writeUInt32LE(bytes, at + 24);
  if (offset !== undefined) zip.writeUInt32LE(offset, at + 42);
  return zip;
}

export { crc32 };
