// Boxes whose place is data: dynamicSlice reads one, dynamicUpdateSlice replaces one. Starts that would
// leave the tensor are clamped, as in XLA, so that an index computed on the device can never be out of range.

import { applyOne } from "../core/apply.js";
import { full, zeros } from "../core/create.js";
import { composed } from "../core/scope.js";
import { Tensor } from "../core/tensor.js";
import { DTypeError, ShapeError } from "../errors.js";
import type { Aval } from "../ir/graph.js";
import { checkShape, rowMajor, type Shape, show, showShape, sizeOf } from "../shape.js";
import { cast } from "./cast.js";
import { checkInteger, checkTensor, expectCount, expectDType, expectShape } from "./checks.js";
import { defineOp, nativeSchema, type OpDef, type Sample } from "./definition.js";
import { concat, reshape } from "./movement.js";
import { slice } from "./slicing.js";

const dynamicSliceSchema = nativeSchema("dynamicSlice", { rank: "i32" });
const dynamicUpdateSliceSchema = nativeSchema("dynamicUpdateSlice", { rank: "i32" });

/** Where a box starts: an i32 tensor [rank], or for each axis a number or an i32 tensor of one element. */
export type Starts = Tensor | readonly (number | Tensor)[];

/** The extents of the box. */
export type DynamicSliceAttrs = { readonly sizes: Shape };
/** None: the shapes of the operands say everything. */
export type DynamicUpdateSliceAttrs = Readonly<Record<string, never>>;

function expectBox(op: string, x: Aval, sizes: Shape, starts: Aval): void {
  expectDType(op, "starts", starts, "i32");
  expectShape(op, "starts", starts, [x.shape.length]);
  if (sizes.length !== x.shape.length || x.shape.some((d, i) => (sizes[i] as number) > d)) {
    throw new ShapeError(`${op}: a box of ${showShape(sizes)} does not fit into ${showShape(x.shape)}`);
  }
}

/** Visits each element of a box with the element of the whole that it lies at. */
function eachInBox(
  whole: Shape,
  sizes: Shape,
  starts: Float64Array,
  visit: (full: number, part: number) => void,
): void {
  const [strides, own] = [rowMajor(whole), rowMajor(sizes)];
  const clamped = whole.map((d, i) => Math.min(Math.max(starts[i] as number, 0), d - (sizes[i] as number)));
  for (let e = 0; e < sizeOf(sizes); e++) {
    let at = 0;
    sizes.forEach((size, i) => {
      at += ((Math.floor(e / (own[i] as number)) % size) + (clamped[i] as number)) * (strides[i] as number);
    });
    visit(at, e);
  }
}

/** Shapes of the whole and of the box; starts are drawn beyond the ends too. */
const cases: readonly (readonly [Shape, Shape])[] = [
  [[5], [1]],
  [[7], [7]],
  [
    [4, 3],
    [0, 3],
  ],
  [
    [5, 3],
    [2, 3],
  ],
  [
    [2, 5, 3],
    [1, 2, 2],
  ],
  [
    [3, 4, 5, 2],
    [2, 4, 5, 2],
  ],
  [
    [2, 67, 3, 17],
    [2, 1, 3, 17],
  ],
  [
    [3, 70001],
    [2, 65537],
  ],
];
const startRange = [-2, 9] as const;

export const dynamicSliceDef: OpDef<DynamicSliceAttrs> = defineOp({
  name: "dynamicSlice",
  effect: "pure",
  infer: (inputs, { sizes }) => {
    expectCount("dynamicSlice", inputs, 2);
    const [x, starts] = inputs as readonly [Aval, Aval];
    expectBox("dynamicSlice", x, sizes, starts);
    return [{ shape: sizes, dtype: x.dtype }];
  },
  vjp: ({ inputs, cotangent, needs }) => {
    const [x, starts] = inputs as readonly [Tensor, Tensor];
    return [needs(0) ? applyOne(dynamicUpdateSliceDef, [zeros(x.shape, x.dtype), cotangent(), starts], {}) : undefined];
  },
  lower: {
    kind: "kernel",
    halves: true,
    call: (node) => ({
      schema: dynamicSliceSchema,
      params: { rank: (node.inputs[0] as Aval).shape.length },
      inputs: node.inputs.map(({ shape }, index) => ({ index, dims: shape })),
      outputs: node.outputs.map(({ shape }, index) => ({ index, dims: shape })),
    }),
  },
  reference: ([x, starts], [whole], { sizes }) => {
    const out = new Float64Array(sizeOf(sizes));
    eachInBox((whole as Aval).shape, sizes, starts as Float64Array, (from, to) => {
      out[to] = (x as Float64Array)[from] as number;
    });
    return [out];
  },
  samples: (): Sample<DynamicSliceAttrs>[] =>
    cases.map(([shape, sizes]) => ({
      inputs: [{ shape }, { shape: [shape.length], dtype: "i32", range: startRange }],
      attrs: { sizes },
    })),
});

export const dynamicUpdateSliceDef: OpDef<DynamicUpdateSliceAttrs> = defineOp({
  name: "dynamicUpdateSlice",
  effect: "pure",
  infer: (inputs) => {
    const op = "dynamicUpdateSlice";
    expectCount(op, inputs, 3);
    const [x, update, starts] = inputs as readonly [Aval, Aval, Aval];
    expectBox(op, x, update.shape, starts);
    if (update.dtype !== x.dtype) {
      throw new DTypeError(`${op}: x is ${x.dtype} and update is ${update.dtype}: cast one of them`);
    }
    return [{ shape: x.shape, dtype: x.dtype }];
  },
  vjp: ({ inputs, cotangent, needs }) => {
    const [, update, starts] = inputs as readonly [Tensor, Tensor, Tensor];
    return [
      needs(0)
        ? applyOne(dynamicUpdateSliceDef, [cotangent(), zeros(update.shape, update.dtype), starts], {})
        : undefined,
      needs(1) ? applyOne(dynamicSliceDef, [cotangent(), starts], { sizes: update.shape }) : undefined,
    ];
  },
  lower: {
    kind: "kernel",
    halves: true,
    call: (node) => ({
      schema: dynamicUpdateSliceSchema,
      params: { rank: (node.inputs[0] as Aval).shape.length },
      inputs: node.inputs.map(({ shape }, index) => ({ index, dims: shape })),
      outputs: node.outputs.map(({ shape }, index) => ({ index, dims: shape })),
    }),
  },
  inPlace: () => [[0, 0]],
  reference: ([x, update, starts], [whole, part]) => {
    const out = (x as Float64Array).slice();
    eachInBox((whole as Aval).shape, (part as Aval).shape, starts as Float64Array, (to, from) => {
      out[to] = (update as Float64Array)[from] as number;
    });
    return [out];
  },
  samples: (): Sample<DynamicUpdateSliceAttrs>[] =>
    cases.map(([shape, sizes]) => ({
      inputs: [{ shape }, { shape: sizes }, { shape: [shape.length], dtype: "i32", range: startRange }],
      attrs: {},
    })),
});

/** Starts as one i32 tensor. */
function startsOf(op: string, starts: unknown, rank: number): Tensor {
  if (starts instanceof Tensor) return starts;
  if (!Array.isArray(starts) || starts.length !== rank) {
    throw new ShapeError(`${op}: expected starts for ${rank} axes, got ${show(starts)}`);
  }
  if (rank === 0) return zeros([0], "i32");
  return concat(starts.map((start, i) => startOf(op, start, i)));
}

function startOf(op: string, start: unknown, axis: number): Tensor {
  if (!(start instanceof Tensor)) {
    checkInteger(op, `the start of axis ${axis}`, start, 0);
    return full([1], start, "i32");
  }
  const integer = start.dtype === "u8" ? cast(start, "i32") : start;
  if (integer.dtype !== "i32" || start.size !== 1) {
    throw new DTypeError(
      `${op}: the start of axis ${axis} must be one i32 number, got ${start.dtype} ${showShape(start.shape)}`,
    );
  }
  return reshape(integer, [1]);
}

/**
 * The box of extents `sizes` that starts at a place given by tensors. A start is clamped to
 * [0, x.dim(axis) − size], so that the box lies inside x (the rule of XLA's DynamicSlice).
 *
 * @param x any dtype.
 * @param starts an i32 tensor [rank], or for each axis a number or an i32 tensor of one element.
 * @param sizes extents of the result, at most x's.
 * @throws ShapeError when the box is larger than x; DTypeError when the starts are not i32.
 * @example
 * dynamicSlice(tensor([1, 2, 3, 4]), [scalar(2, "i32")], [2]).at(0); // 3
 */
export function dynamicSlice(x: Tensor, starts: Starts, sizes: Shape): Tensor {
  checkTensor("dynamicSlice", "x", x);
  checkShape("dynamicSlice", sizes);
  return composed(() =>
    applyOne(dynamicSliceDef, [x, startsOf("dynamicSlice", starts, x.rank)], { sizes: [...sizes] }),
  );
}

/**
 * x with a box replaced by `update`, at a place given by tensors, clamped like that of {@link dynamicSlice}.
 * Where x is used by nothing else, and where the result is written to the cell that x was read from, only the
 * box is written.
 *
 * @param update of x's dtype and rank, its extents at most x's.
 * @param starts an i32 tensor [rank], or for each axis a number or an i32 tensor of one element.
 * @throws ShapeError when the update is larger than x; DTypeError when the dtypes do not fit.
 * @example
 * dynamicUpdateSlice(zeros([4]), tensor([7, 8]), [scalar(1, "i32")]).at(2); // 8
 */
export function dynamicUpdateSlice(x: Tensor, update: Tensor, starts: Starts): Tensor {
  const op = "dynamicUpdateSlice";
  checkTensor(op, "x", x);
  checkTensor(op, "update", update);
  return composed(() => applyOne(dynamicUpdateSliceDef, [x, update, startsOf(op, starts, x.rank)], {}));
}

/** A position on an axis, counted from the end when negative. */
function resolveIndex(index: number, axis: number, extent: number): number {
  if (!Number.isInteger(index) || index < -extent || index >= extent)
    throw new ShapeError(`at: index ${show(index)} is out of range for axis ${axis}, which has extent ${extent}`);
  return index < 0 ? index + extent : index;
}

/**
 * The part at a position of the leading axes: `at(x, i)` has one dimension less. A negative number counts from
 * the end; a tensor (i32, one element) is clamped to [0, x.dim(axis) − 1].
 *
 * @example
 * at(tensor([[1, 2], [3, 4]]), scalar(1, "i32"), -1); // 4
 */
export function at(x: Tensor, ...index: (number | Tensor)[]): Tensor {
  checkTensor("at", "x", x);
  if (index.length > x.rank) throw new ShapeError(`at: ${index.length} indices for shape ${showShape(x.shape)}`);
  const starts = x.shape.map((d, i) => {
    const place = i < index.length ? (index[i] as number | Tensor) : 0;
    return place instanceof Tensor || i >= index.length ? place : resolveIndex(place, i, d);
  });
  const sizes = x.shape.map((d, i) => (i < index.length ? 1 : d));
  const fixed = starts.every((start) => typeof start === "number");
  return composed(() => {
    const part = fixed ? slice(x, starts as number[], sizes) : dynamicSlice(x, starts, sizes);
    return reshape(part, x.shape.slice(index.length));
  });
}
