// Making tensors: from numbers, nested arrays and typed arrays, filled, and from image bytes.

import { checkDType, checkNumber, type DType, encode, encodeWord, isHalf, roundedTo } from "../dtype.js";
import { DTypeError, ShapeError } from "../errors.js";
import { defineOp } from "../ops/definition.js";
import { currentDevice, onDevice, upload } from "../runtime/device.js";
import { checkRange, checkShape, maxRank, type Shape, sameShape, show, showShape, sizeOf } from "../shape.js";
import { apply, applyOne } from "./apply.js";
import { type NestedArray, Tensor } from "./tensor.js";
import { currentTrace } from "./trace.js";

/** Typed arrays that tensors are made from. */
export type TypedArrayInput = Float32Array | Float64Array | Int32Array | Uint8Array | Uint8ClampedArray;

const noDimensions: Shape = Object.freeze([]);

/** What a tensor can be made from. */
export type TensorData = number | boolean | NestedArray | NestedBooleans | readonly number[] | TypedArrayInput;

/** Nested arrays of booleans, as deep as the tensor has dimensions. */
export type NestedBooleans = readonly (boolean | NestedBooleans)[];

/** How to read the data. */
export interface TensorOptions {
  /** Default: the nesting of the arrays, or one dimension for a typed array. */
  readonly shape?: Shape;
  /** Default: what the typed array holds; "f32" for numbers, "bool" for booleans. */
  readonly dtype?: DType;
}

/**
 * Makes a tensor from a number, nested arrays or a typed array. The data is copied.
 *
 * @throws ShapeError for ragged nesting or when `shape` has another number of elements.
 * @throws DTypeError for an unknown dtype, or fractions in an integer tensor.
 * @example
 * const x = tensor([[1, 2, 3], [4, 5, 6]]); // f32 [2, 3]
 */
export function tensor(data: TensorData, { shape, dtype }: TensorOptions = {}): Tensor {
  if (dtype !== undefined) checkDType("tensor", dtype);
  const flat = flatten(data);
  const type = dtype ?? flat.dtype;
  const extents = shape ?? flat.shape;
  checkShape("tensor", extents);
  if (sizeOf(extents) !== flat.data.length) {
    throw new ShapeError(
      `tensor: shape ${showShape(extents)} holds ${sizeOf(extents)} elements, got ${flat.data.length}`,
    );
  }
  if ((type === "i32" && !(flat.data instanceof Int32Array)) || (type === "u8" && flat.dtype !== "u8"))
    for (let i = 0; i < flat.data.length; i++) checkNumber("tensor", flat.data[i] as number, type);
  return new Tensor([...extents], type, { storage: upload(encode(flat.data, type)) });
}

/**
 * A tensor without dimensions holding one number that varies from call to call of a compiled function,
 * where a plain `number` argument would be frozen into the program. It travels with the call, to whichever device that runs
 * on: it has memory of its own only once a compiled function has captured it.
 *
 * @example
 * scalar(0.5).mul(4); // 2
 */
export function scalar(value: number, dtype: DType = "f32"): Tensor {
  checkDType("scalar", dtype);
  checkNumber("scalar", value, dtype);
  return new Tensor(noDimensions, dtype, { inline: { handle: 0, word: encodeWord(value, dtype) } });
}

/**
 * Makes a tensor of a 16-bit float type from the bits of its elements. The data is copied; NaNs keep their bits.
 *
 * @param bits one number for each element, row-major.
 * @throws DTypeError for another dtype or other data; ShapeError when `shape` has another number of elements.
 * @example
 * fromBits(Uint16Array.of(0x3f80, 0xc020), [2], "bf16").at(1); // -2.5
 */
export function fromBits(bits: Uint16Array, shape: Shape, dtype: "bf16" | "f16"): Tensor {
  if (!(bits instanceof Uint16Array)) throw new DTypeError(`fromBits: expected a Uint16Array, got ${show(bits)}`);
  if (!isHalf(dtype)) throw new DTypeError(`fromBits: dtype must be bf16 or f16, got ${show(dtype)}`);
  checkShape("fromBits", shape);
  if (sizeOf(shape) !== bits.length) {
    throw new ShapeError(`fromBits: shape ${showShape(shape)} holds ${sizeOf(shape)} elements, got ${bits.length}`);
  }
  const bytes = new Uint8Array(bits.buffer, bits.byteOffset, bits.byteLength);
  return new Tensor([...shape], dtype, { storage: upload(bytes) });
}

/** Fills a tensor with one number. */
export const fullDef = defineOp<{ shape: readonly number[]; value: number; dtype: DType }>({
  name: "full",
  effect: "pure",
  infer: (_inputs, { shape, dtype }) => [{ shape, dtype }],
  vjp: () => [],
  lower: { kind: "constant" },
  reference: (_inputs, _avals, { shape, value }) => [new Float64Array(sizeOf(shape)).fill(value)],
});

/**
 * A tensor filled with one number.
 *
 * @example
 * full([2, 3], 7); // [2, 3]
 */
export const full = (shape: Shape, value: number, dtype: DType = "f32"): Tensor => filled("full", shape, value, dtype);

/** A tensor filled with one number, for the function `op`. */
function filled(op: string, shape: Shape, value: number, dtype: DType): Tensor {
  checkShape(op, shape);
  checkDType(op, dtype);
  if (typeof value !== "number") throw new DTypeError(`${op}: expected a number, got ${show(value)}`);
  checkNumber(op, value, dtype);
  return constant(() => applyOne(fullDef, [], { shape: [...shape], value: roundedTo(dtype, value), dtype }));
}

/** A constant, which operations make anew on the device of what it meets. */
function constant(make: () => Tensor): Tensor {
  const made = make();
  if (!made.traced) made.remake = make;
  return made;
}

/**
 * A tensor of zeros.
 *
 * @example
 * zeros([2, 3]).sum(); // 0
 */
export const zeros = (shape: Shape, dtype: DType = "f32"): Tensor => filled("zeros", shape, 0, dtype);

/**
 * A tensor of ones.
 *
 * @example
 * ones([2, 3]).sum(); // 6
 */
export const ones = (shape: Shape, dtype: DType = "f32"): Tensor => filled("ones", shape, 1, dtype);

/** A tensor filled with one number, of the shape, type and device of another. */
export const fullLike = ({ shape, dtype, home }: Tensor, value: number): Tensor =>
  onDevice(home ?? currentDevice(), () => full(shape, value, dtype));

/**
 * 0, 1, …, n − 1.
 *
 * @example
 * arange(4).sum(); // 6
 */
export function arange(n: number, dtype: DType = "f32"): Tensor {
  checkShape("arange", [n]);
  checkDType("arange", dtype);
  if (n > 0) checkNumber("arange", n - 1, dtype);
  return constant(() =>
    tensor(
      Float64Array.from({ length: n }, (_, i) => i),
      { dtype },
    ),
  );
}

/** A number as an operand that meets tensors of `dtype`: a constant in a trace, a 0-d tensor outside. */
export function numberOperand(op: string, value: number, dtype: DType): Tensor {
  checkNumber(op, value, dtype);
  if (currentTrace()) return apply(fullDef, [], { shape: [], value: roundedTo(dtype, value), dtype })[0] as Tensor;
  return scalar(value, dtype);
}

/** Image bytes as they come from and go to image files. */
export interface ImageBytes {
  readonly width: number;
  readonly height: number;
  /** 1 grey, 3 RGB, 4 RGBA. */
  readonly channels: number;
  /** Row-major, channels interleaved. */
  readonly data: Uint8Array | Uint8ClampedArray;
}

/**
 * Image bytes as an f32 tensor [H,W,C]; 0…255 is mapped to `range` (default [-1, 1]).
 *
 * @example
 * const pixel = fromImage({ width: 1, height: 1, channels: 1, data: new Uint8Array([255]) });
 * pixel.at(0, 0, 0); // 1
 */
export function fromImage(
  { width, height, channels, data }: ImageBytes,
  { range = [-1, 1] }: { range?: readonly [number, number] } = {},
): Tensor {
  const shape = [height, width, channels];
  checkShape("fromImage", shape);
  if (data.length !== sizeOf(shape))
    throw new ShapeError(`fromImage: ${width}×${height}×${channels} needs ${sizeOf(shape)} bytes, got ${data.length}`);
  checkRange("fromImage", range);
  const [lo, hi] = range;
  // Not Float32Array.from with a function, which lists all values first: slow, and the end of the process for large images.
  const values = new Float32Array(data.length);
  for (let i = 0; i < data.length; i++) values[i] = lo + ((data[i] as number) * (hi - lo)) / 255;
  return tensor(values, { shape });
}

/**
 * A tensor [H,W,C] or [H,W] as image bytes; `range` (default [-1, 1]) is mapped to 0…255, clipped and rounded.
 *
 * @example
 * const { data } = await toImage(ones([2, 2, 1]));
 * data[0]; // 255
 */
export async function toImage(
  image: Tensor,
  { range = [-1, 1] }: { range?: readonly [number, number] } = {},
): Promise<ImageBytes> {
  if (!(image instanceof Tensor)) throw new DTypeError(`toImage: expected a tensor, got ${show(image)}`);
  if (image.rank !== 2 && image.rank !== 3)
    throw new ShapeError(`toImage: expected [H, W, C] or [H, W], got ${showShape(image.shape)}`);
  const [height = 0, width = 0, channels = 1] = image.shape;
  checkRange("toImage", range);
  const [lo, hi] = range;
  const values = await image.data();
  const data = new Uint8ClampedArray(values.length);
  for (let i = 0; i < values.length; i++) data[i] = (((values[i] as number) - lo) * 255) / (hi - lo);
  return { width, height, channels, data: new Uint8Array(data.buffer) };
}

interface Flat {
  readonly data: ArrayLike<number>;
  readonly shape: Shape;
  readonly dtype: DType;
}

function flatten(data: TensorData): Flat {
  if (data instanceof Float32Array) return { data, shape: [data.length], dtype: "f32" };
  if (data instanceof Float64Array) return { data, shape: [data.length], dtype: "f64" };
  if (data instanceof Int32Array) return { data, shape: [data.length], dtype: "i32" };
  if (data instanceof Uint8Array || data instanceof Uint8ClampedArray)
    return { data, shape: [data.length], dtype: "u8" };
  const shape = nestedShape(data);
  const flat: number[] = [];
  collect(data, shape, 0, flat);
  const dtype = typeof firstLeaf(data) === "boolean" ? "bool" : "f32";
  if (dtype === "bool" && !onlyBooleans(data))
    throw new DTypeError("tensor: booleans and numbers are mixed; use one of them");
  return { data: flat, shape, dtype };
}

function firstLeaf(data: unknown): unknown {
  return Array.isArray(data) ? firstLeaf(data[0]) : data;
}

const onlyBooleans = (data: unknown): boolean =>
  Array.isArray(data) ? data.every(onlyBooleans) : typeof data === "boolean";

/** @throws ShapeError below the depth that tensors have, before an array within itself, or absurdly many, end the stack. */
function nestedShape(data: unknown, depth = 0): number[] {
  if (!Array.isArray(data)) return [];
  if (depth === maxRank)
    throw new ShapeError(
      `tensor: the arrays nest more than ${maxRank} deep; at most ${maxRank} dimensions are supported`,
    );
  return [data.length, ...(data.length > 0 ? nestedShape(data[0], depth + 1) : [])];
}

function collect(data: unknown, shape: Shape, axis: number, into: number[]): void {
  if (Array.isArray(data)) {
    if (axis === shape.length || data.length !== shape[axis]) {
      const lengths = sameShape(nestedShape(data), shape.slice(axis))
        ? ""
        : ` (${data.length} entries where ${shape[axis] ?? "a number"} was expected)`;
      throw new ShapeError(`tensor: the nested arrays are ragged at depth ${axis}${lengths}`);
    }
    for (const item of data) collect(item, shape, axis + 1, into);
    return;
  }
  if (axis !== shape.length)
    throw new ShapeError(`tensor: the nested arrays are ragged at depth ${axis}: a number where an array was expected`);
  if (typeof data === "number") into.push(data);
  else if (typeof data === "boolean") into.push(data ? 1 : 0);
  else throw new DTypeError(`tensor: expected numbers or booleans, got ${show(data)}`);
}
