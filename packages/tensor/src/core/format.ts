// Showing tensors as text, and flat data as nested arrays.

import { type DType, isFloat } from "../dtype.js";
import { rowMajor, type Shape } from "../shape.js";
import type { NestedArray } from "./tensor.js";

/** Entries shown at each end of a long axis. */
const edge = 3;
/** Axes longer than this are abbreviated. */
const longest = 8;

/** Flat row-major data as nested arrays. */
export function nest(data: ArrayLike<number>, shape: Shape, axis = 0, offset = 0): NestedArray {
  if (axis === shape.length) return data[offset] as number;
  const step = rowMajor(shape)[axis] as number;
  return Array.from({ length: shape[axis] as number }, (_, i) => nest(data, shape, axis + 1, offset + i * step));
}

/** Flat row-major data as text in brackets, with long axes abbreviated. */
export function formatNested(data: ArrayLike<number>, shape: Shape, dtype: DType): string {
  const strides = rowMajor(shape);
  const show = (axis: number, offset: number): string => {
    if (axis === shape.length) return formatElement(data[offset] as number, dtype);
    const length = shape[axis] as number;
    const at = (i: number): string => show(axis + 1, offset + i * (strides[axis] as number));
    const indices = Array.from({ length }, (_, i) => i);
    const parts =
      length <= longest ? indices.map(at) : [...indices.slice(0, edge).map(at), "…", ...indices.slice(-edge).map(at)];
    const innermost = axis === shape.length - 1;
    return `[${parts.join(innermost ? ", " : `,\n${" ".repeat(axis + 1)}`)}]`;
  };
  return show(0, 0);
}

function formatElement(x: number, dtype: DType): string {
  if (dtype === "bool") return x ? "true" : "false";
  return isFloat(dtype) ? formatFloat(x) : String(x);
}

function formatFloat(x: number): string {
  if (Object.is(x, -0)) return "-0";
  if (Number.isInteger(x) && Math.abs(x) < 1e7) return String(x);
  const size = Math.abs(x);
  return size >= 1e-3 && size < 1e6 ? String(Number(x.toPrecision(5))) : x.toExponential(3);
}
