// Strided views: what they reach, whether that is allowed, and their elements in row-major order.

import { sizeOf } from "@figment/tensor";
import { bytesOfElements, type FileType } from "./types.js";

/** More dimensions than PyTorch allows. */
const maxRank = 64;

/** Views that repeat elements, as expanded tensors do, may have this many; beyond it they are attempts on memory. */
const maxRepeated = 2 ** 26;

/** Elements from the first to the last of a view that is not empty, both included. */
export function reach(shape: readonly number[], strides: readonly number[]): number {
  return shape.reduce((last, extent, i) => last + (extent - 1) * (strides[i] as number), 1);
}

/** Whether a view's elements lie in row-major order without gaps. */
export function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    const extent = shape[i] as number;
    if (extent !== 1 && strides[i] !== expected) return false;
    expected *= extent;
  }
  return true;
}

/** Says what is wrong with a view of a storage of `byteLength` bytes, or nothing. */
export function checkView(
  type: FileType,
  offset: number,
  shape: readonly number[],
  strides: readonly number[],
  byteLength: number,
): string | undefined {
  if (shape.length !== strides.length) return `${shape.length} sizes, but ${strides.length} strides`;
  if (shape.length > maxRank) return `${shape.length} dimensions; at most ${maxRank} are read`;
  const isCount = (value: number) => Number.isSafeInteger(value) && value >= 0;
  if (!isCount(offset)) return `a storage offset of ${offset}`;
  if (!shape.every(isCount)) return `the shape [${shape.slice(0, 8)}]`;
  if (!strides.every(isCount)) return `the strides [${strides.slice(0, 8)}]`;
  if (!Number.isSafeInteger(sizeOf(shape.map((extent) => Math.max(1, extent)))))
    return `the shape [${shape.slice(0, 8)}], with too many elements`;
  if (shape.includes(0)) return undefined;
  const held = Math.floor(byteLength / bytesOfElements(type, 1));
  const last = offset + reach(shape, strides);
  if (!(last <= held)) {
    return `a view of shape [${shape}], strides [${strides}] and offset ${offset}, which reaches element ${last} of a storage of ${held}`;
  }
  if (sizeOf(shape) > Math.max(held, maxRepeated)) return `a view of shape [${shape}] that repeats ${held} elements`;
  return undefined;
}

/** The elements of a view in row-major order; `buffer` begins with its first one. */
export function gather(
  buffer: ArrayBuffer,
  itemBytes: number,
  shape: readonly number[],
  strides: readonly number[],
): ArrayBuffer {
  const Words = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array, 8: BigUint64Array }[itemBytes];
  if (!Words) throw new TypeError(`elements of ${itemBytes} bytes cannot be gathered`);
  const from = new Words(buffer);
  const into = new Words(sizeOf(shape));
  const rank = shape.length;
  const [width, step] = [shape[rank - 1] as number, strides[rank - 1] as number];
  const index = new Array<number>(rank - 1).fill(0);
  let start = 0;
  for (let at = 0; at < into.length; at += width) {
    for (let i = 0; i < width; i++) into[at + i] = from[start + i * step] as number & bigint;
    for (let axis = rank - 2; axis >= 0; axis--) {
      start += strides[axis] as number;
      index[axis] = (index[axis] as number) + 1;
      if ((index[axis] as number) < (shape[axis] as number)) break;
      start -= (shape[axis] as number) * (strides[axis] as number);
      index[axis] = 0;
    }
  }
  return into.buffer as ArrayBuffer;
}
