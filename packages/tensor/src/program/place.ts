// Where values lie while a graph is lowered: memory that becomes a slot, and strided looks at it.

import { bytesOf, type DType } from "../dtype.js";
import type { View } from "../ops/definition.js";
import { rowMajor, type Shape, sizeOf } from "../shape.js";
import type { SlotSpec } from "./blob.js";

/** Memory that records read and write; becomes a slot. */
export interface Buffer {
  readonly kind: SlotSpec["kind"];
  readonly ordinal: number;
  readonly bytes: number;
  /** First and last record that touch it; for arena buffers. */
  first: number;
  last: number;
  /** A buffer whose memory this one takes over when that one dies. */
  host: Buffer | null;
  /** Whether any record writes it. */
  written: boolean;
}

/** Where a value lies. */
export interface Place extends View {
  readonly buffer: Buffer;
  readonly dtype: DType;
}

/** All of a buffer. */
export const whole = (buffer: Buffer, { shape, dtype }: { shape: Shape; dtype: DType }): Place => ({
  buffer,
  dtype,
  shape,
  offset: 0,
  strides: rowMajor(shape),
});

/** A contiguous place seen with other dimensions. */
export const reshaped = (place: Place, dims: Shape): Place => ({ ...place, shape: dims, strides: rowMajor(dims) });

/** The box of a place that starts at `start` along each axis, its elements `steps` (default 1) apart. */
export function box(place: Place, start: readonly number[], shape: Shape, steps?: readonly number[]): Place {
  const offset = start.reduce((sum, s, i) => sum + s * (place.strides[i] as number), place.offset);
  const strides = steps ? place.strides.map((stride, i) => stride * (steps[i] as number)) : place.strides;
  return { ...place, shape, offset, strides };
}

/** A place seen with a larger shape that it broadcasts to. */
export function broadcast(place: Place, shape: Shape): Place {
  const lead = shape.length - place.shape.length;
  const strides = shape.map((_, i) =>
    i < lead || place.shape[i - lead] === 1 ? 0 : (place.strides[i - lead] as number),
  );
  return { ...place, shape, strides };
}

/** Whether the elements of a view lie in row-major order without gaps. */
export function isContiguous({ shape, strides }: View): boolean {
  let expected = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    const extent = shape[i] as number;
    if (extent !== 1 && strides[i] !== expected) return false;
    expected *= extent;
  }
  return true;
}

/** Whether a place is all of a buffer, in row-major order. */
export const fills = (place: Place, buffer: Buffer): boolean =>
  place.buffer === buffer &&
  place.offset === 0 &&
  isContiguous(place) &&
  sizeOf(place.shape) * bytesOf[place.dtype] === buffer.bytes;
