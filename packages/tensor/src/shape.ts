// Shapes: validation, NumPy broadcasting, strides, axes. Everything that needs no tensor.

import { ShapeError, UsageError } from "./errors.js";

/** The extent of each dimension; a scalar has none. At most 8 dimensions, each below 2³¹. */
export type Shape = readonly number[];

/** The most dimensions a tensor may have. */
export const maxRank = 8;

/**
 * Number of elements.
 *
 * @example
 * sizeOf([2, 3, 4]); // 24
 */
export const sizeOf = (shape: Shape): number => shape.reduce((n, d) => n * d, 1);

/**
 * A shape as it is shown in messages: [2, 3].
 *
 * @example
 * showShape([2, 3]); // the text "[2, 3]"
 */
export const showShape = (shape: Shape): string => `[${shape.join(", ")}]`;

/** Whether two shapes are the same. */
export function sameShape(a: Shape, b: Shape): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Checks that `shape` is a list of at most 8 non-negative integers below 2³¹. */
export function checkShape(op: string, shape: unknown): asserts shape is Shape {
  const valid = Array.isArray(shape) && shape.every((d) => Number.isInteger(d) && d >= 0);
  if (valid && shape.some((d) => d >= 2 ** 31))
    throw new ShapeError(`${op}: every extent must be below 2³¹, got ${showShape(shape)}`);
  if (!valid) throw new ShapeError(`${op}: expected a shape of integers ≥ 0 such as [2, 3], got ${show(shape)}`);
  if (shape.length > maxRank)
    throw new ShapeError(
      `${op}: shape ${showShape(shape)} has ${shape.length} dimensions; at most ${maxRank} are supported`,
    );
  if (sizeOf(shape) > Number.MAX_SAFE_INTEGER)
    throw new ShapeError(`${op}: shape ${showShape(shape)} has too many elements`);
}

/** Row-major strides in elements. */
export function rowMajor(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= shape[i] as number;
  }
  return strides;
}

/**
 * The common shape of operands under NumPy's rule: aligned at the right, each pair of extents equal or one of them 1.
 *
 * @throws ShapeError naming the op, the shapes and the first axis that does not fit.
 */
export function broadcastShapes(op: string, ...shapes: readonly Shape[]): Shape {
  const rank = Math.max(0, ...shapes.map((s) => s.length));
  const out = new Array<number>(rank).fill(1);
  for (const shape of shapes) {
    const lead = rank - shape.length;
    for (let i = 0; i < shape.length; i++) {
      const d = shape[i] as number;
      const at = out[lead + i] as number;
      if (d === at || d === 1) continue;
      if (at !== 1) {
        throw new ShapeError(
          `${op}: shapes ${shapes.map(showShape).join(" and ")} do not broadcast: axis ${lead + i - rank} has extents ${at} and ${d}, expected equal or 1`,
        );
      }
      out[lead + i] = d;
    }
  }
  return out;
}

/** Resolves one axis, counting from the end when negative. */
export function resolveAxis(op: string, axis: number, rank: number): number {
  if (!Number.isInteger(axis) || axis < -rank || axis >= rank) {
    throw new ShapeError(`${op}: axis ${show(axis)} is out of range for ${rank} dimension${rank === 1 ? "" : "s"}`);
  }
  return axis < 0 ? axis + rank : axis;
}

/** Resolves axes to sorted, distinct, non-negative ones; undefined means all. */
export function resolveAxes(op: string, axes: number | readonly number[] | undefined, rank: number): number[] {
  if (axes === undefined) return Array.from({ length: rank }, (_, i) => i);
  const list = (typeof axes === "number" ? [axes] : [...axes]).map((axis) => resolveAxis(op, axis, rank));
  if (new Set(list).size !== list.length) throw new ShapeError(`${op}: axes ${show(axes)} name an axis twice`);
  return list.sort((a, b) => a - b);
}

/**
 * Checks that a range is two finite numbers of which the second is larger: the values of black and white.
 *
 * @throws UsageError saying whose range it is, and what it is.
 * @example
 * checkRange("loadPicture", [0, 1]);
 */
export function checkRange(owner: string, range: unknown): asserts range is readonly [number, number] {
  if (!Array.isArray(range) || range.length !== 2 || !range.every(Number.isFinite) || range[0] >= range[1])
    throw new UsageError(`${owner}: range must be two ascending numbers, got ${show(range)}`);
}

/**
 * A value as it is shown in messages: texts in quotes, objects by their class.
 *
 * @example
 * show(["a", 1, tensor([2])]); // the text ["a", 1, a Tensor]
 */
export function show(x: unknown): string {
  if (Array.isArray(x)) return `[${x.map(show).join(", ")}]`;
  if (typeof x === "string") return JSON.stringify(x);
  if (typeof x === "function") return "a function";
  if (x !== null && typeof x === "object")
    return x.constructor?.name === "Object" ? "an object" : `a ${x.constructor?.name ?? "object"}`;
  return String(x);
}
