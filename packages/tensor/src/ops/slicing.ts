// Strided boxes: taken out of a tensor by slice, put into one by pad. Each is the other's derivative.

import { applyOne } from "../core/apply.js";
import type { Tensor } from "../core/tensor.js";
import { checkNumber } from "../dtype.js";
import { ShapeError } from "../errors.js";
import type { Aval } from "../ir/graph.js";
import { checkShape, resolveAxis, type Shape, show, showShape } from "../shape.js";
import { checkInteger, checkTensor } from "./checks.js";
import { defineOp, type OpDef, type View } from "./definition.js";
import { gatherView, placeBoxes, wholeView } from "./views.js";

/** The element at `starts`, and `sizes` elements along each axis, `steps` apart (default 1). */
export type SliceAttrs = {
  readonly starts: readonly number[];
  readonly sizes: readonly number[];
  readonly steps?: readonly number[];
};

/** Elements of `value` before, after and (default none) between those of each axis. */
export type PadAttrs = {
  readonly lo: readonly number[];
  readonly hi: readonly number[];
  readonly interior?: readonly number[];
  readonly value: number;
};

const first = (inputs: readonly Aval[]): Aval => inputs[0] as Aval;

/** How far apart the first and the last of `size` elements lie, counting both. */
const extentOf = (size: number, step: number): number => (size === 0 ? 0 : (size - 1) * step + 1);

const sliceView = ({ offset, strides }: View, { starts, sizes, steps }: SliceAttrs): View => ({
  shape: sizes,
  // An empty box may start one past the end, where there is no memory.
  offset: sizes.includes(0) ? offset : starts.reduce((sum, start, i) => sum + start * (strides[i] as number), offset),
  strides: steps ? strides.map((stride, i) => stride * (steps[i] as number)) : strides,
});

export const sliceDef: OpDef<SliceAttrs> = defineOp<SliceAttrs>({
  name: "slice",
  effect: "pure",
  infer: (inputs, { starts, sizes, steps }) => {
    const { shape, dtype } = first(inputs);
    const fits =
      starts.length === shape.length &&
      sizes.length === shape.length &&
      (steps === undefined || (steps.length === shape.length && steps.every((step) => step >= 1))) &&
      shape.every((d, i) => {
        const start = starts[i] as number;
        return start >= 0 && start + extentOf(sizes[i] as number, steps?.[i] ?? 1) <= d;
      });
    if (!fits)
      throw new ShapeError(
        `slice: starts ${showShape(starts)} with sizes ${showShape(sizes)}${steps ? ` and steps ${showShape(steps)}` : ""} leave the shape ${showShape(shape)}`,
      );
    return [{ shape: sizes, dtype }];
  },
  vjp: ({ inputs, cotangent, attrs: { starts, sizes, steps } }) => {
    const { shape } = inputs[0] as Tensor;
    const hi = shape.map((d, i) => d - (starts[i] as number) - extentOf(sizes[i] as number, steps?.[i] ?? 1));
    return [
      pad(
        cotangent(),
        starts,
        hi,
        0,
        steps?.map((step) => step - 1),
      ),
    ];
  },
  lower: { kind: "view", view: (input, _node, attrs) => sliceView(input, attrs) },
  reference: ([x], [aval], attrs) => [gatherView(x as Float64Array, sliceView(wholeView(aval as Aval), attrs))],
  samples: () => [
    { inputs: [{ shape: [7] }], attrs: { starts: [2], sizes: [3] } },
    { inputs: [{ shape: [4, 5, 3] }], attrs: { starts: [1, 0, 2], sizes: [2, 5, 1] } },
    { inputs: [{ shape: [11] }], attrs: { starts: [1], sizes: [4], steps: [3] } },
    { inputs: [{ shape: [5, 7, 3] }], attrs: { starts: [0, 2, 1], sizes: [3, 2, 2], steps: [2, 4, 1] } },
    { inputs: [{ shape: [3, 4] }], attrs: { starts: [3, 1], sizes: [0, 2], steps: [5, 2] } },
  ],
});

export const padDef: OpDef<PadAttrs> = defineOp<PadAttrs>({
  name: "pad",
  effect: "pure",
  infer: (inputs, { lo, hi, interior }) => {
    const { shape, dtype } = first(inputs);
    const valid = [lo, hi, interior ?? lo].every(
      (list) => list.length === shape.length && list.every((n) => Number.isInteger(n) && n >= 0),
    );
    if (!valid)
      throw new ShapeError(
        `pad: expected ${shape.length} amounts ≥ 0 before${interior ? ", after and between" : " and after"} for shape ${showShape(shape)}, got ${show(lo)} and ${show(hi)}${interior ? ` and ${show(interior)}` : ""}`,
      );
    const padded = shape.map((d, i) => (lo[i] as number) + extentOf(d, 1 + (interior?.[i] ?? 0)) + (hi[i] as number));
    checkShape("pad", padded);
    return [{ shape: padded, dtype }];
  },
  vjp: ({ inputs, cotangent, attrs: { lo, interior } }) => [
    slice(
      cotangent(),
      lo,
      (inputs[0] as Tensor).shape,
      interior?.map((n) => n + 1),
    ),
  ],
  lower: {
    kind: "assemble",
    plan: (_node, { lo, interior, value }) => ({
      fill: value,
      starts: [lo],
      ...(interior && { steps: [interior.map((n) => n + 1)] }),
    }),
  },
  reference: ([x], [aval], attrs) => {
    const { shape } = aval as Aval;
    const [padded] = padDef.infer([aval as Aval], attrs) as readonly [Aval];
    const steps = attrs.interior?.map((n) => n + 1);
    return [placeBoxes(padded.shape, attrs.value, [{ data: x as Float64Array, shape, start: attrs.lo, steps }])];
  },
  samples: () => [
    { inputs: [{ shape: [3] }], attrs: { lo: [2], hi: [1], value: 0.5 } },
    { inputs: [{ shape: [2, 3, 1] }], attrs: { lo: [0, 1, 2], hi: [1, 0, 0], value: 0 } },
    { inputs: [{ shape: [4] }], attrs: { lo: [1], hi: [0], interior: [2], value: -0.5 } },
    { inputs: [{ shape: [3, 4, 2] }], attrs: { lo: [0, 1, 0], hi: [1, 0, 0], interior: [1, 2, 3], value: 0 } },
    { inputs: [{ shape: [0, 2] }], attrs: { lo: [1, 0], hi: [0, 1], interior: [3, 1], value: 1 } },
  ],
});

/** Amounts along each axis as an attribute: left out where all are the default. */
const unless = (list: readonly number[] | undefined, usual: number): readonly number[] | undefined =>
  list?.some((n) => n !== usual) ? [...list] : undefined;

/**
 * The box of `sizes` elements along each axis, from `starts` on, `steps` apart (default: neighbours). A view: it costs
 * no copy inside compiled functions. For the opposite order see {@link flip}.
 *
 * @throws ShapeError when the box leaves x.
 * @example
 * slice(ones([4, 4]), [1, 0], [2, 4]); // [2, 4]
 * slice(tensor([0, 1, 2, 3, 4]), [0], [3], [2]).at(2); // 4
 */
export function slice(
  x: Tensor,
  starts: readonly number[],
  sizes: readonly number[],
  steps?: readonly number[],
): Tensor {
  checkTensor("slice", "x", x);
  checkShape("slice", starts);
  checkShape("slice", sizes);
  if (steps !== undefined) checkAmounts("slice", "steps", steps, x.rank, 1);
  const strided = unless(steps, 1);
  return applyOne(sliceDef, [x], { starts: [...starts], sizes: [...sizes], ...(strided && { steps: strided }) });
}

function checkAmounts(op: string, name: string, list: unknown, rank: number, lo: number): void {
  if (!Array.isArray(list) || list.length !== rank)
    throw new ShapeError(`${op}: expected ${name} for ${rank} axes, got ${show(list)}`);
  for (const n of list as unknown[]) checkInteger(op, name, n, lo);
}

/**
 * Adds `lo[i]` elements before and `hi[i]` after along each axis, and `interior[i]` (default none) between neighbours,
 * all equal to `value`.
 *
 * @throws ShapeError for amounts that are no integers ≥ 0, one for each axis.
 * @example
 * pad(ones([2, 2]), [1, 0], [1, 0]); // [4, 2]
 * pad(ones([3]), [0], [0], 0, [1]); // [5]: 1, 0, 1, 0, 1
 */
export function pad(
  x: Tensor,
  lo: readonly number[],
  hi: readonly number[],
  value = 0,
  interior?: readonly number[],
): Tensor {
  checkTensor("pad", "x", x);
  checkShape("pad", lo);
  checkShape("pad", hi);
  if (interior !== undefined) checkAmounts("pad", "interior", interior, x.rank, 0);
  checkNumber("pad", value, x.dtype);
  const between = unless(interior, 0);
  return applyOne(padDef, [x], { lo: [...lo], hi: [...hi], ...(between && { interior: between }), value });
}

/**
 * Cuts a tensor along an axis into `parts`: a number of equal ones, or a list of their extents.
 *
 * @throws ShapeError when the axis does not divide into so many parts, or the extents do not add up to its own.
 * @example
 * const [a, b] = split(ones([4, 6]), 2, 1); // two of [4, 3]
 * split(ones([5]), [2, 3]).length; // 2
 */
export function split(x: Tensor, parts: number | readonly number[], axis = 0): Tensor[] {
  checkTensor("split", "x", x);
  const along = resolveAxis("split", axis, x.rank);
  const extent = x.shape[along] as number;
  const extents = extentsOf(parts, extent, along, x.shape);
  let at = 0;
  return extents.map((size) => {
    const start = at;
    at += size;
    return slice(
      x,
      x.shape.map((_, i) => (i === along ? start : 0)),
      x.shape.map((d, i) => (i === along ? size : d)),
    );
  });
}

function extentsOf(parts: unknown, extent: number, axis: number, shape: Shape): number[] {
  if (!Array.isArray(parts)) {
    checkInteger("split", "the number of parts", parts, 1);
    if (extent % parts !== 0)
      throw new ShapeError(`split: axis ${axis} of ${showShape(shape)} does not divide into ${parts} equal parts`);
    return new Array<number>(parts).fill(extent / parts);
  }
  for (const size of parts as unknown[]) checkInteger("split", "an extent", size, 0);
  const sizes = parts as number[];
  if (sizes.reduce((sum, size) => sum + size, 0) !== extent)
    throw new ShapeError(`split: the extents ${show(sizes)} do not add up to axis ${axis} of ${showShape(shape)}`);
  return sizes;
}
