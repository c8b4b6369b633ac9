// Element types: their format numbers in the program format, sizes, typed arrays, and the rules by
// which operands of different types meet.

import { DTypeError } from "./errors.js";
import { show } from "./shape.js";

/** The element type of a tensor. bf16 and f16 are storage formats; f64 runs on reference kernels only. */
export type DType = "f32" | "f64" | "bf16" | "f16" | "i32" | "u8" | "bool";

/** The typed arrays that hold tensor data in JavaScript. bf16 and f16 appear as Float32Array. */
export type DataArray = Float32Array | Float64Array | Int32Array | Uint8Array;

/** The number of each format in the program format. */
export const formatOf: Readonly<Record<DType, number>> = { f32: 0, f64: 1, bf16: 2, f16: 3, i32: 4, u8: 5, bool: 6 };

/**
 * Bytes per element.
 *
 * @example
 * bytesOf.bf16; // 2
 */
export const bytesOf: Readonly<Record<DType, number>> = { f32: 4, f64: 8, bf16: 2, f16: 2, i32: 4, u8: 1, bool: 1 };

/**
 * Whether the type is a floating-point one, and so can carry a derivative.
 *
 * @example
 * if (!isFloat("f16")) throw new Error("f16 is a floating-point type");
 */
export const isFloat = (dtype: DType): boolean =>
  dtype === "f32" || dtype === "f64" || dtype === "bf16" || dtype === "f16";

/**
 * Whether `x` names a dtype.
 *
 * @example
 * if (isDType("complex64")) throw new Error("no such type");
 */
export const isDType = (x: unknown): x is DType => typeof x === "string" && Object.hasOwn(formatOf, x);

/** Checks that an argument names a dtype. */
export function checkDType(op: string, x: unknown): asserts x is DType {
  if (!isDType(x))
    throw new DTypeError(`${op}: unknown dtype ${show(x)}; expected ${Object.keys(formatOf).join(", ")}`);
}

/**
 * The type in which two operands meet: equal types stay; integers and bools join floats; bool and u8
 * join i32. Two different float types do not mix.
 *
 * @throws DTypeError for two different float types, saying which.
 */
export function promote(op: string, a: DType, b: DType): DType {
  if (a === b) return a;
  const floatA = isFloat(a);
  if (floatA && isFloat(b)) {
    throw new DTypeError(
      `${op}: operands are ${a} and ${b}; different float types do not mix: cast one, for example x.cast("${a}")`,
    );
  }
  if (floatA) return a;
  if (isFloat(b)) return b;
  if (a === "i32" || b === "i32") return "i32";
  return "u8";
}

/** The least and the greatest value of each integer type. */
const integerRange: Readonly<Partial<Record<DType, readonly [number, number]>>> = {
  i32: [-(2 ** 31), 2 ** 31 - 1],
  u8: [0, 255],
  bool: [0, 1],
};

/** Checks that a JavaScript number can stand for a value of this type. */
export function checkNumber(op: string, value: number, dtype: DType): void {
  if (typeof value !== "number") throw new DTypeError(`${op}: expected a number, got ${typeof value}`);
  const range = integerRange[dtype];
  if (!range) return;
  const [lo, hi] = range;
  if (!Number.isInteger(value)) {
    throw new DTypeError(
      `${op}: the number ${value} cannot join a tensor of ${dtype}; use an integer or cast the tensor to a float type`,
    );
  }
  if (value < lo || value > hi)
    throw new DTypeError(`${op}: the number ${value} is outside the range of ${dtype}, ${lo} to ${hi}`);
}

/** Bytes in the device's format for the elements of `data`. */
export function encode(data: ArrayLike<number>, dtype: DType): Uint8Array {
  if (dtype === "f32") return bytes(data instanceof Float32Array ? data : Float32Array.from(data));
  if (dtype === "f64") return bytes(data instanceof Float64Array ? data : Float64Array.from(data));
  if (dtype === "i32") return bytes(data instanceof Int32Array ? data : Int32Array.from(data));
  if (dtype === "u8") return data instanceof Uint8Array ? data : Uint8Array.from(data);
  if (dtype === "bool") return Uint8Array.from(data, (x) => (x ? 1 : 0));
  const out = new Uint16Array(data.length);
  const convert = dtype === "bf16" ? toBf16 : toF16;
  for (let i = 0; i < out.length; i++) out[i] = convert(data[i] as number);
  return bytes(out);
}

const word = new Float64Array(1);
/** The first bytes of the word as an element of each type. */
const firstOf: Readonly<Record<DType, DataArray | Uint16Array>> = {
  f32: new Float32Array(word.buffer),
  f64: word,
  bf16: new Uint16Array(word.buffer),
  f16: new Uint16Array(word.buffer),
  i32: new Int32Array(word.buffer),
  u8: new Uint8Array(word.buffer),
  bool: new Uint8Array(word.buffer),
};

/** A double whose first bytes are those of an element in the device's format, the others zero. */
export function encodeWord(value: number, dtype: DType): number {
  word[0] = 0;
  firstOf[dtype][0] = dtype === "bf16" ? toBf16(value) : dtype === "f16" ? toF16(value) : value;
  return word[0];
}

/** The elements that bytes of the device's format stand for. The buffer is used, not copied, where possible. */
export function decode(buffer: ArrayBuffer, dtype: DType): DataArray {
  if (dtype === "f32") return new Float32Array(buffer);
  if (dtype === "f64") return new Float64Array(buffer);
  if (dtype === "i32") return new Int32Array(buffer);
  if (dtype === "u8" || dtype === "bool") return new Uint8Array(buffer);
  const bits = new Uint16Array(buffer);
  return Float32Array.from(bits, dtype === "bf16" ? fromBf16 : fromF16);
}

/** A float type of 16 bits, whose elements JavaScript sees as f32 numbers or as bits. */
export type HalfType = "bf16" | "f16";

/** Whether the type is bf16 or f16. */
export const isHalf = (dtype: DType): dtype is HalfType => dtype === "bf16" || dtype === "f16";

/** The type that kernels compute in for operands of this type. */
export const computeType = (dtype: DType): DType => (isHalf(dtype) ? "f32" : dtype);

/** The one NaN of the 16-bit types: rounding, in JavaScript and in native code, gives no other. */
export const nanBits: Readonly<Record<HalfType, number>> = { bf16: 0x7fc0, f16: 0x7e00 };

const bytes = (array: Float32Array | Float64Array | Int32Array | Uint16Array): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);

const bitsOf = (value: number): number => {
  f32[0] = value;
  return u32[0] as number;
};
const fromBits = (bits: number): number => {
  u32[0] = bits >>> 0;
  return f32[0] as number;
};

/** Rounds to the nearest bf16, ties to even, by way of f32. Denormals are kept; every NaN becomes {@link nanBits}. */
export function toBf16(value: number): number {
  const bits = bitsOf(value);
  if (Number.isNaN(value)) return nanBits.bf16;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** The value of a bf16 bit pattern. */
export const fromBf16 = (bits: number): number => fromBits(bits << 16);

/**
 * Rounds to the nearest f16, ties to even, by way of f32; overflow gives infinity. Denormals are kept; every NaN becomes
 * {@link nanBits}.
 */
export function toF16(value: number): number {
  const bits = bitsOf(value);
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return nanBits.f16;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude < 0x38800000) {
    // Subnormal in f16: adding 0.5 aligns the mantissa so that the hardware rounds for us.
    return sign | (bitsOf(fromBits(magnitude) + 0.5) - 0x3f000000);
  }
  return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
}

/** The value of an f16 bit pattern. */
export function fromF16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 31;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** A number as an element of a 16-bit type holds it; as it is for other types. */
export const roundedTo = (dtype: DType, value: number): number =>
  dtype === "bf16" ? fromBf16(toBf16(value)) : dtype === "f16" ? fromF16(toF16(value)) : value;
