// Padding with what is there: the reflection of the tensor at its borders, or its border elements. Compositions of
// slices, flips and concatenations, whose derivatives are exact transposes at every order.

import { composed } from "../core/scope.js";
import type { Tensor } from "../core/tensor.js";
import { ShapeError } from "../errors.js";
import { checkShape, show, showShape } from "../shape.js";
import { checkTensor } from "./checks.js";
import { flip } from "./flip.js";
import { broadcastTo, concat } from "./movement.js";
import { slice } from "./slicing.js";

function checkAmounts(op: string, x: Tensor, lo: readonly number[], hi: readonly number[]): void {
  checkTensor(op, "x", x);
  checkShape(op, lo);
  checkShape(op, hi);
  if (lo.length !== x.rank || hi.length !== x.rank)
    throw new ShapeError(
      `${op}: expected ${x.rank} amounts before and after for shape ${showShape(x.shape)}, got ${show(lo)} and ${show(hi)}`,
    );
}

/** Elements [from, from + size) along one axis. */
const span = (x: Tensor, axis: number, from: number, size: number): Tensor =>
  slice(
    x,
    x.shape.map((_, i) => (i === axis ? from : 0)),
    x.shape.map((d, i) => (i === axis ? size : d)),
  );

/** Joins what stands before x, x, and what stands after it, for each axis in turn. */
function extend(
  x: Tensor,
  lo: readonly number[],
  hi: readonly number[],
  border: (y: Tensor, axis: number, after: boolean, size: number) => Tensor,
): Tensor {
  return composed(() =>
    x.shape.reduce((y: Tensor, _, axis) => {
      const [before, after] = [lo[axis] as number, hi[axis] as number];
      const parts = [
        ...(before > 0 ? [border(y, axis, false, before)] : []),
        y,
        ...(after > 0 ? [border(y, axis, true, after)] : []),
      ];
      return parts.length > 1 ? concat(parts, axis) : y;
    }, x.clone()),
  );
}

/**
 * Adds `lo[i]` elements before and `hi[i]` after along each axis: the tensor's own, reflected at its first and last
 * element, which are not repeated (PyTorch's "reflect"). At most extent − 1 on each side.
 *
 * @throws ShapeError when there is not enough to reflect.
 * @example
 * reflectPad(tensor([1, 2, 3]), [2], [1]); // 3, 2, 1, 2, 3, 2
 */
export function reflectPad(x: Tensor, lo: readonly number[], hi: readonly number[]): Tensor {
  checkAmounts("reflectPad", x, lo, hi);
  x.shape.forEach((d, axis) => {
    const most = Math.max(lo[axis] as number, hi[axis] as number);
    if (most > Math.max(0, d - 1)) {
      throw new ShapeError(
        `reflectPad: axis ${axis} of ${showShape(x.shape)} has ${Math.max(0, d - 1)} elements beside the border to reflect, not ${most}`,
      );
    }
  });
  return extend(x, lo, hi, (y, axis, after, size) =>
    flip(span(y, axis, after ? y.dim(axis) - 1 - size : 1, size), axis),
  );
}

/**
 * Adds `lo[i]` elements before and `hi[i]` after along each axis: copies of the first and of the last one (PyTorch's
 * "replicate").
 *
 * @throws ShapeError when an axis that is padded is empty.
 * @example
 * edgePad(tensor([1, 2, 3]), [2], [1]); // 1, 1, 1, 2, 3, 3
 */
export function edgePad(x: Tensor, lo: readonly number[], hi: readonly number[]): Tensor {
  checkAmounts("edgePad", x, lo, hi);
  x.shape.forEach((d, axis) => {
    if (d === 0 && (lo[axis] as number) + (hi[axis] as number) > 0)
      throw new ShapeError(`edgePad: axis ${axis} of ${showShape(x.shape)} is empty and has no border to repeat`);
  });
  return extend(x, lo, hi, (y, axis, after, size) => {
    const edge = span(y, axis, after ? y.dim(axis) - 1 : 0, 1);
    return broadcastTo(
      edge,
      y.shape.map((d, i) => (i === axis ? size : d)),
    );
  });
}
