// From tensor elements to the little-endian bytes of the file type of their tensor type.

import type { DataArray, DType } from "@figment/tensor";

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

/** The f16 bits of an f32 whose value f16 can hold exactly, given as bits. */
function floatBitsToHalf(word: number): number {
  const sign = (word >>> 16) & 0x8000;
  const magnitude = word & 0x7fffffff;
  if (magnitude >= 0x7f800000) return sign | 0x7c00 | ((magnitude >>> 13) & 0x3ff);
  if (magnitude >= 0x38800000) return sign | ((magnitude - 0x38000000) >>> 13);
  const shift = 126 - (magnitude >>> 23);
  return magnitude === 0 ? sign : sign | (((magnitude & 0x7fffff) | 0x800000) >>> shift);
}
