// Strided looks at flat row-major data, and boxes laid out in it: what the references of the ops that move elements
// are written with.

import type { Aval } from "../ir/graph.js";
import { rowMajor, type Shape, sizeOf } from "../shape.js";
import type { View } from "./definition.js";

/** Reads a strided view of flat data in row-major order: the reference of every view op. */
export function gatherView(data: Float64Array, { shape, offset, strides }: View): Float64Array {
  const out = new Float64Array(sizeOf(shape));
  const index = new Array<number>(shape.length).fill(0);
  let at = offset;
  for (let i = 0; i < out.length; i++) {
    out[i] = data[at] as number;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      at += strides[axis] as number;
      index[axis] = (index[axis] as number) + 1;
      if ((index[axis] as number) < (shape[axis] as number)) break;
      at -= (index[axis] as number) * (strides[axis] as number);
      index[axis] = 0;
    }
  }
  return out;
}

/** All of a tensor. */
export const wholeView = ({ shape }: Aval): View => ({ shape, offset: 0, strides: rowMajor(shape) });

/** Data whose element at the origin lies at `start`, its neighbours `steps` (default 1) apart. */
interface Box {
  readonly data: Float64Array;
  readonly shape: Shape;
  readonly start: readonly number[];
  readonly steps?: readonly number[] | undefined;
}

/** A tensor of `fill` with boxes laid out in it. */
export function placeBoxes(shape: Shape, fill: number, boxes: readonly Box[]): Float64Array {
  const out = new Float64Array(sizeOf(shape)).fill(fill);
  const strides = rowMajor(shape);
  for (const box of boxes) {
    const own = rowMajor(box.shape);
    box.data.forEach((x, i) => {
      let at = 0;
      own.forEach((step, axis) => {
        const index = Math.floor(i / step) % (box.shape[axis] as number);
        at += ((box.start[axis] as number) + index * (box.steps?.[axis] ?? 1)) * (strides[axis] as number);
      });
      out[at] = x;
    });
  }
  return out;
}
