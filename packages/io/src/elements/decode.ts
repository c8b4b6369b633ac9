// From the little-endian bytes of a file type to tensor elements.

import { type DataArray, fromBits, isFloat, ShapeError, type Tensor, tensor } from "@figment/tensor";
import { float8Values } from "./float8.js";
import { type FileType, tensorTypeOf } from "./types.js";

/** How tensors are converted when read. */
export interface ReadOptions {
  /** "keep" (default) loads each float type as it is (8-bit ones as f32); "f32" turns every float type into f32. */
  readonly floats?: "keep" | "f32";
}

/** Thrown for what no tensor can hold: a type without counterpart, an integer beyond i32, more dimensions than tensors have. */
export class ElementError extends Error {}

/**
 * Makes a tensor of the little-endian bytes of a file type. The caller owns it.
 *
 * @throws ElementError for a type or shape without a counterpart, and for an integer that i32 cannot hold.
 */
export function tensorOfBytes(
  bytes: ArrayBuffer,
  type: FileType,
  shape: readonly number[],
  { floats = "keep" }: ReadOptions = {},
): Tensor {
  const dtype = tensorTypeOf[type];
  try {
    if ((dtype === "bf16" || dtype === "f16") && floats === "keep")
      return fromBits(new Uint16Array(bytes), shape, dtype);
    const data = decodeElements(bytes, type);
    return tensor(data, { shape, dtype: dtype !== undefined && isFloat(dtype) && floats === "f32" ? "f32" : dtype });
  } catch (error) {
    // The file's fault, not the caller's.
    if (error instanceof ShapeError) throw new ElementError(error.message, { cause: error });
    throw error;
  }
}

/**
 * The elements that little-endian bytes of a file type stand for. `buffer` may be kept by the result.
 *
 * @throws ElementError for a type without a tensor type, and for an integer that i32 cannot hold.
 */
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
      return lookUp(new Uint8Array(buffer), type);
  }
}

function lookUp(patterns: Uint8Array, type: FileType): Float32Array {
  const values = float8Values(type);
  if (!values) throw new ElementError(`${type} cannot be loaded as a tensor`);
  const out = new Float32Array(patterns.length);
  for (let i = 0; i < patterns.length; i++) out[i] = values[patterns[i] as number] as number;
  return out;
}

function narrow(wide: BigInt64Array | BigUint64Array | Uint32Array): Int32Array {
  const out = new Int32Array(wide.length);
  for (let i = 0; i < wide.length; i++) {
    const value = wide[i] as number | bigint;
    const narrowed = Number(value);
    if (narrowed !== (narrowed | 0)) throw new ElementError(`the integer ${value} at element ${i} does not fit i32`);
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
