// The element types of the safetensors format: their sizes, and how their bytes become tensor elements.
// Format: https://github.com/huggingface/safetensors#format

import type { DataArray, DType } from "@figment/tensor";

/** Element types that a safetensors file may hold. */
export type FileType =
  | "F64"
  | "F32"
  | "F16"
  | "BF16"
  | "I64"
  | "I32"
  | "I16"
  | "I8"
  | "U64"
  | "U32"
  | "U16"
  | "U8"
  | "BOOL"
  | "F8_E4M3"
  | "F8_E5M2";

/** Bytes per element of each file type. */
export const fileTypeBytes: ReadonlyMap<string, number> = new Map<FileType, number>([
  ["F64", 8],
  ["I64", 8],
  ["U64", 8],
  ["F32", 4],
  ["I32", 4],
  ["U32", 4],
  ["F16", 2],
  ["BF16", 2],
  ["I16", 2],
  ["U16", 2],
  ["I8", 1],
  ["U8", 1],
  ["BOOL", 1],
  ["F8_E4M3", 1],
  ["F8_E5M2", 1],
]);

/** The file type in which each tensor type is written. */
export const fileTypeOf: Readonly<Record<DType, FileType>> = {
  f32: "F32",
  f64: "F64",
  f16: "F16",
  bf16: "BF16",
  i32: "I32",
  u8: "U8",
  bool: "BOOL",
};

/** The tensor type into which each readable file type is loaded. 64-bit and unsigned integers must fit. */
export const tensorTypeOf: Readonly<Partial<Record<FileType, DType>>> = {
  F64: "f64",
  F32: "f32",
  F16: "f16",
  BF16: "bf16",
  I64: "i32",
  I32: "i32",
  I16: "i32",
  I8: "i32",
  U64: "i32",
  U32: "i32",
  U16: "i32",
  U8: "u8",
  BOOL: "bool",
};

/** Thrown by {@link decodeElements} for an integer that i32 cannot hold. */
export class IntegerRangeError extends Error {
  readonly index: number;
  constructor(index: number, value: number | bigint) {
    super(`the integer ${value} at element ${index} does not fit i32`);
    this.index = index;
  }
}

/** The elements that little-endian bytes of a file type stand for. `buffer` may be kept by the result. */
export function decodeElements(buffer: ArrayBuffer, type: FileType): DataArray {
  switch (type) {
    case "F64":
      return new Float64Array(buffer);
    case "F32":
      return new Float32Array(buffer);
    case "F16":
      return halfToFloat(new Uint16Array(buffer));
    case "BF16":
      return bfloatToFloat(new Uint16Array(buffer));
    case "I32":
      return new Int32Array(buffer);
    case "I16":
      return Int32Array.from(new Int16Array(buffer));
    case "I8":
      return Int32Array.from(new Int8Array(buffer));
    case "U16":
      return Int32Array.from(new Uint16Array(buffer));
    case "U32":
      return narrow(new Uint32Array(buffer));
    case "I64":
      return narrow(new BigInt64Array(buffer));
    case "U64":
      return narrow(new BigUint64Array(buffer));
    case "U8":
    case "BOOL":
      return new Uint8Array(buffer);
    default:
      throw new TypeError(`${type} has no tensor type`);
  }
}

/** The little-endian bytes of elements in the file type of a tensor type. */
export function encodeElements(data: DataArray, dtype: DType): Uint8Array {
  if (dtype !== "f16" && dtype !== "bf16") return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  // Values of a 16-bit tensor come as f32 that were 16-bit before, so that no rounding happens here.
  const bits = new Uint32Array(Float32Array.from(data).buffer);
  const out = new Uint16Array(bits.length);
  const convert = dtype === "bf16" ? (word: number) => word >>> 16 : floatBitsToHalf;
  for (let i = 0; i < bits.length; i++) out[i] = convert(bits[i] as number);
  return new Uint8Array(out.buffer);
}

function narrow(wide: BigInt64Array | BigUint64Array | Uint32Array): Int32Array {
  const out = new Int32Array(wide.length);
  for (let i = 0; i < wide.length; i++) {
    const value = wide[i] as number | bigint;
    const narrowed = Number(value);
    if (narrowed !== (narrowed | 0)) throw new IntegerRangeError(i, value);
    out[i] = narrowed;
  }
  return out;
}

function bfloatToFloat(bits: Uint16Array): Float32Array {
  const out = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) out[i] = (bits[i] as number) << 16;
  return new Float32Array(out.buffer);
}

function halfToFloat(bits: Uint16Array): Float32Array {
  const out = new Uint32Array(bits.length);
  const floats = new Float32Array(out.buffer);
  for (let i = 0; i < bits.length; i++) {
    const half = bits[i] as number;
    const sign = (half & 0x8000) << 16;
    const magnitude = half & 0x7fff;
    if (magnitude >= 0x7c00) out[i] = sign | 0x7f800000 | ((magnitude & 0x3ff) << 13);
    else if (magnitude >= 0x400) out[i] = sign | ((magnitude << 13) + 0x38000000);
    else floats[i] = (sign ? -1 : 1) * magnitude * 2 ** -24;
  }
  return floats;
}

/** The f16 bits of an f32 whose value f16 can hold exactly, given as bits. */
function floatBitsToHalf(word: number): number {
  const sign = (word >>> 16) & 0x8000;
  const magnitude = word & 0x7fffffff;
  if (magnitude >= 0x7f800000) return sign | 0x7c00 | ((magnitude >>> 13) & 0x3ff);
  if (magnitude >= 0x38800000) return sign | ((magnitude - 0x38000000) >>> 13);
  const shift = 126 - (magnitude >>> 23);
  return magnitude === 0 ? sign : sign | (((magnitude & 0x7fffff) | 0x800000) >>> shift);
}
