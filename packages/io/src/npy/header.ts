// The header of NumPy's array files: magic, version, length, then a Python dict literal with descr, fortran_order and shape.
// Format: numpy.lib.format, versions 1.0, 2.0 and 3.0.

import { typeOfNumpy } from "../elements/numpy.js";
import { bytesOfElements, type FileType } from "../elements/types.js";

/** What an array file says of its array. */
export interface NpyHeader {
  readonly type: FileType;
  readonly shape: readonly number[];
  /** Whether the first index varies fastest. */
  readonly columnMajor: boolean;
  /** Whether the elements' bytes are in big-endian order. */
  readonly bigEndian: boolean;
  /** Where the elements begin. */
  readonly dataOffset: number;
  readonly dataBytes: number;
}

/** Bytes that tell how long the header is. */
export const prefixBytes = 12;

/** Longest header that is read: those of plain arrays have about a hundred bytes. */
const maxHeaderBytes = 65536;

const maxRank = 64;

/** Says what is wrong with a file. */
export type FailNpy = (offset: number, message: string) => never;

/** Where the header begins and how long it is, from the first bytes of a file. */
export function readNpyPrefix(prefix: Uint8Array, fail: FailNpy): { start: number; length: number } {
  if (prefix.length < 10 || prefix[0] !== 0x93 || String.fromCharCode(...prefix.subarray(1, 6)) !== "NUMPY") {
    return fail(0, "not an array file of NumPy: it does not begin with \\x93NUMPY");
  }
  const version = prefix[6] as number;
  if (version < 1 || version > 3) return fail(6, `version ${version} of NumPy's format; 1 to 3 are read`);
  const view = new DataView(prefix.buffer, prefix.byteOffset, prefix.byteLength);
  if (version > 1 && prefix.length < prefixBytes) return fail(prefix.length, "the file ends in its header");
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > maxHeaderBytes) return fail(8, `a header of ${length} bytes; at most ${maxHeaderBytes} are read`);
  return { start: version === 1 ? 10 : 12, length };
}

/** Parses the header's text, which begins at byte `start` of a file of `fileBytes` bytes. */
export function parseNpyHeader(
  text: string,
  start: number,
  length: number,
  fileBytes: number,
  fail: FailNpy,
): NpyHeader {
  const fields = parseDict(text, (at, message) => fail(start + at, message));
  const { type, bigEndian } = parseDescr(fields.descr, (message) => fail(start, message));
  const shape = fields.shape;
  let elements = 1;
  for (const extent of shape) elements *= extent;
  const dataBytes = bytesOfElements(type, elements);
  if (
    shape.length > maxRank ||
    !Number.isSafeInteger(8 * shape.reduce((size, extent) => size * Math.max(1, extent), 1))
  ) {
    return fail(start, `the shape [${shape.slice(0, 8)}] has too many elements`);
  }
  const dataOffset = start + length;
  if (dataOffset + dataBytes !== fileBytes) {
    return fail(start, `${type} [${shape}] takes ${dataBytes} bytes; ${fileBytes - dataOffset} follow the header`);
  }
  return { type, shape, columnMajor: fields.columnMajor, bigEndian, dataOffset, dataBytes };
}

interface Fields {
  readonly descr: string;
  readonly columnMajor: boolean;
  readonly shape: readonly number[];
}

/** Reads the three members of the dict, in any order, each once. */
function parseDict(text: string, fail: FailNpy): Fields {
  const member = /\s*'(descr|fortran_order|shape)'\s*:\s*(?:'([^'\\]*)'|(True|False)|\(([\d\s,]*)\))\s*(?:,|(?=\}))/y;
  const found = new Map<string, string>();
  const open = /\s*\{/y;
  if (!open.test(text)) return fail(0, "the header is no dict");
  let at = open.lastIndex;
  while (!/^\s*\}\s*$/.test(text.slice(at))) {
    member.lastIndex = at;
    const [, key, ...values] = member.exec(text) ?? [];
    const value = values.find((each) => each !== undefined);
    if (key === undefined || value === undefined) {
      if (/\s*'descr'\s*:\s*\[/.test(text.slice(at)))
        fail(at, "a structured array (fields with names of their own); plain arrays are read");
      return fail(
        at,
        `the header has ${JSON.stringify(text.slice(at, at + 40).trim())}; expected descr, fortran_order and shape`,
      );
    }
    if (found.has(key)) fail(at, `the header has ${key} twice`);
    found.set(key, value);
    at = member.lastIndex;
  }
  const [descr, order, shape] = ["descr", "fortran_order", "shape"].map((key) => found.get(key));
  if (descr === undefined || shape === undefined || (order !== "True" && order !== "False")) {
    return fail(0, "the header lacks descr, fortran_order or shape");
  }
  const extents = shape.split(",").filter((extent, i, all) => i < all.length - 1 || extent.trim() !== "");
  if (!extents.every((extent) => /^\s*\d{1,16}\s*$/.test(extent)))
    fail(0, `the shape (${shape.slice(0, 80)}) is no tuple of integers`);
  return { descr, columnMajor: order === "True", shape: extents.map(Number) };
}

function parseDescr(descr: string, fail: (message: string) => never): { type: FileType; bigEndian: boolean } {
  const [, order = "", code = ""] = /^([<>|=]?)(\w+)$/.exec(descr) ?? [];
  const type = typeOfNumpy(code);
  if (!type) {
    const what = code.startsWith("O")
      ? "Python objects, which would have to be unpickled"
      : `elements of type ${JSON.stringify(descr)}`;
    return fail(`an array of ${what}; numbers of up to 64 bits are read`);
  }
  return { type, bigEndian: order === ">" };
}

/** The header of an array in row-major order, little-endian; data after it is aligned to 64 bytes. */
export function encodeNpyHeader(code: string, shape: readonly number[]): Uint8Array {
  const order = code.endsWith("1") ? "|" : "<";
  const tuple = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const dict = `{'descr': '${order}${code}', 'fortran_order': False, 'shape': (${tuple}), }`;
  const total = Math.ceil((10 + dict.length + 1) / 64) * 64;
  const header = new Uint8Array(total).fill(0x20);
  header.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0]);
  new DataView(header.buffer).setUint16(8, total - 10, true);
  header.set(new TextEncoder().encode(dict), 10);
  header[total - 1] = 0x0a;
  return header;
}
