// Indexing by tensors of integers: gather takes slices along an axis, scatterAdd adds slices into an
// axis. Each is the other's transpose with respect to the values.

import { applyOne } from "../core/apply.js";
import { composed } from "../core/scope.js";
import type { Tensor } from "../core/tensor.js";
import { DTypeError, ShapeError } from "../errors.js";
import type { Aval, Value } from "../ir/graph.js";
import { checkShape, resolveAxis, type Shape, sameShape, showShape, sizeOf } from "../shape.js";
import { cast } from "./cast.js";
import { checkInteger, checkTensor, expectCompute, expectCount, expectDType } from "./checks.js";
import { defineOp, nativeSchema, type OpDef, type Sample } from "./definition.js";

const indexFields = { outer: "i64", axis: "i64", inner: "i64", count: "i64" } as const;
const gatherSchema = nativeSchema("gather", indexFields);
const scatterAddSchema = nativeSchema("scatterAdd", indexFields);

/** The axis that is indexed, counted from the front. */
export type GatherAttrs = { readonly axis: number };
/** The axis of the result that is indexed, and its extent. */
export type ScatterAttrs = { readonly axis: number; readonly size: number };

/** A tensor seen as [outer, axis, inner], with `count` indices. */
interface Extents {
  readonly outer: number;
  readonly axis: number;
  readonly inner: number;
  readonly count: number;
}

const extentsOf = (full: Shape, axis: number, indices: Shape): Extents => ({
  outer: sizeOf(full.slice(0, axis)),
  axis: full[axis] as number,
  inner: sizeOf(full.slice(axis + 1)),
  count: sizeOf(indices),
});

/** `full` with the indexed axis replaced by the axes of the indices. */
const pickedShape = (full: Shape, axis: number, indices: Shape): Shape => [
  ...full.slice(0, axis),
  ...indices,
  ...full.slice(axis + 1),
];

const scatteredShape = (updates: Shape, indices: Shape, { axis, size }: ScatterAttrs): Shape => [
  ...updates.slice(0, axis),
  size,
  ...updates.slice(axis + indices.length),
];

function inferGather(inputs: readonly Aval[], { axis }: GatherAttrs): Aval[] {
  expectCount("gather", inputs, 2);
  const [x, indices] = inputs as readonly [Aval, Aval];
  expectDType("gather", "indices", indices, "i32");
  resolveAxis("gather", axis, x.shape.length);
  const shape = pickedShape(x.shape, axis, indices.shape);
  checkShape("gather", shape);
  if (x.shape[axis] === 0 && sizeOf(indices.shape) > 0) {
    throw new ShapeError(`gather: axis ${axis} of ${showShape(x.shape)} is empty, so no index is in range`);
  }
  return [{ shape, dtype: x.dtype }];
}

function inferScatter(inputs: readonly Aval[], attrs: ScatterAttrs): Aval[] {
  expectCount("scatterAdd", inputs, 2);
  const [updates, indices] = inputs as readonly [Aval, Aval];
  const dtype = expectCompute("scatterAdd", { updates });
  expectDType("scatterAdd", "indices", indices, "i32");
  const { axis } = attrs;
  const here = updates.shape.slice(axis, axis + indices.shape.length);
  if (axis < 0 || !sameShape(here, indices.shape)) {
    throw new ShapeError(
      `scatterAdd: updates ${showShape(updates.shape)} must have the axes of the indices ${showShape(indices.shape)} at axis ${axis}`,
    );
  }
  const shape = scatteredShape(updates.shape, indices.shape, attrs);
  checkShape("scatterAdd", shape);
  return [{ shape, dtype }];
}

/** Visits each element of the picked tensor with the element of the full one that its index names. */
function eachPicked(
  { outer, axis, inner, count }: Extents,
  indices: Float64Array,
  visit: (full: number, picked: number) => void,
): void {
  for (let o = 0; o < outer; o++) {
    for (let k = 0; k < count; k++) {
      const at = (o * axis + (indices[k] as number)) * inner;
      for (let i = 0; i < inner; i++) visit(at + i, (o * count + k) * inner + i);
    }
  }
}

/** Shapes of the full tensor and of the indices, and the indexed axis. */
const cases: readonly (readonly [Shape, Shape, number])[] = [
  [[5], [1], 0],
  [[7], [3], 0],
  [[5, 3], [4], 0],
  [[2, 5, 3], [2, 2], 1],
  [[2, 3, 4], [], 2],
  [[1, 6], [11], 1],
  [[64, 33], [129], 0],
  [[3, 100, 5], [17], 1],
];

export const gatherDef: OpDef<GatherAttrs> = defineOp({
  name: "gather",
  effect: "pure",
  canFail: true,
  infer: inferGather,
  vjp: ({ inputs, attrs: { axis }, cotangent, needs }) => {
    const [x, indices] = inputs as readonly [Tensor, Tensor];
    return [needs(0) ? applyOne(scatterAddDef, [cotangent(), indices], { axis, size: x.dim(axis) }) : undefined];
  },
  lower: {
    kind: "kernel",
    halves: true,
    call: (node, { axis }) => {
      const [x, indices] = node.inputs as readonly [Value, Value];
      const e = extentsOf(x.shape, axis, indices.shape);
      return {
        schema: gatherSchema,
        params: { ...e },
        inputs: [
          { index: 0, dims: [e.outer, e.axis, e.inner] },
          { index: 1, dims: [e.count] },
        ],
        outputs: [{ index: 0, dims: [e.outer, e.count, e.inner] }],
      };
    },
  },
  reference: ([x, indices], avals, { axis }) => {
    const [full, picks] = avals as readonly [Aval, Aval];
    const out = new Float64Array(sizeOf(pickedShape(full.shape, axis, picks.shape)));
    eachPicked(extentsOf(full.shape, axis, picks.shape), indices as Float64Array, (from, to) => {
      out[to] = (x as Float64Array)[from] as number;
    });
    return [out];
  },
  samples: (): Sample<GatherAttrs>[] =>
    cases.map(([shape, indices, axis]) => ({
      inputs: [{ shape }, { shape: indices, dtype: "i32", range: [0, shape[axis] as number] }],
      attrs: { axis },
    })),
});

export const scatterAddDef: OpDef<ScatterAttrs> = defineOp({
  name: "scatterAdd",
  effect: "pure",
  canFail: true,
  infer: inferScatter,
  vjp: ({ inputs, attrs: { axis }, cotangent, needs }) => [
    needs(0) ? applyOne(gatherDef, [cotangent(), inputs[1] as Tensor], { axis }) : undefined,
  ],
  lower: {
    kind: "kernel",
    call: (node, { axis }) => {
      const indices = node.inputs[1] as Aval;
      const e = extentsOf((node.outputs[0] as Aval).shape, axis, indices.shape);
      return {
        schema: scatterAddSchema,
        params: { ...e },
        inputs: [
          { index: 0, dims: [e.outer, e.count, e.inner] },
          { index: 1, dims: [e.count] },
        ],
        outputs: [{ index: 0, dims: [e.outer, e.axis, e.inner] }],
      };
    },
  },
  reference: ([updates, indices], avals, attrs) => {
    const [picked, picks] = avals as readonly [Aval, Aval];
    const shape = scatteredShape(picked.shape, picks.shape, attrs);
    const out = new Float64Array(sizeOf(shape));
    eachPicked(extentsOf(shape, attrs.axis, picks.shape), indices as Float64Array, (to, from) => {
      out[to] = (out[to] as number) + ((updates as Float64Array)[from] as number);
    });
    return [out];
  },
  samples: (): Sample<ScatterAttrs>[] =>
    cases.map(([shape, indices, axis]) => ({
      inputs: [
        { shape: pickedShape(shape, axis, indices) },
        { shape: indices, dtype: "i32", range: [0, shape[axis] as number] },
      ],
      attrs: { axis, size: shape[axis] as number },
    })),
});

/** Indices as i32. */
export function indexOperand(op: string, indices: unknown): Tensor {
  checkTensor(op, "indices", indices);
  if (indices.dtype === "u8") return cast(indices, "i32");
  if (indices.dtype === "i32") return indices;
  throw new DTypeError(`${op}: indices must be i32, got ${indices.dtype} ${showShape(indices.shape)}: cast them first`);
}

/**
 * Takes slices along an axis: out[…, j…, …] = x[…, indices[j…], …].
 *
 * @param indices i32 of any shape, each in [0, x.dim(axis)).
 * @returns x's shape with the axis replaced by the indices' axes.
 * @throws ShapeError when the axis is out of range; DTypeError when the indices are not integers. An index out of
 * range makes reading the result fail with code ERR_FIGMENT_INDEX.
 * @example
 * gather(ones([5, 4]), tensor(Int32Array.of(2, 0, 2))); // [3, 4]
 */
export function gather(x: Tensor, indices: Tensor, axis = 0): Tensor {
  checkTensor("gather", "x", x);
  const attrs = { axis: resolveAxis("gather", axis, x.rank) };
  return composed(() => applyOne(gatherDef, [x, indexOperand("gather", indices)], attrs));
}

/**
 * Adds slices into a tensor of zeros: out[…, indices[j…], …] += updates[…, j…, …], in the order of j.
 *
 * @param updates of a float type, with the indices' axes at `axis`.
 * @param indices i32 of any shape, each in [0, size).
 * @param size extent of the result along `axis`.
 * @param axis of the result; negative counts from its end.
 * @returns updates' shape with the indices' axes replaced by one of extent `size`.
 * @throws ShapeError when updates and indices do not fit; DTypeError when the indices are not integers. An index out
 * of range makes reading the result fail with code ERR_FIGMENT_INDEX.
 * @example
 * scatterAdd(tensor([1, 2, 3]), tensor(Int32Array.of(0, 1, 0)), 2).at(0); // 4
 */
export function scatterAdd(updates: Tensor, indices: Tensor, size: number, axis = 0): Tensor {
  checkTensor("scatterAdd", "updates", updates);
  checkTensor("scatterAdd", "indices", indices);
  checkInteger("scatterAdd", "size", size, 0);
  const rank = updates.rank - indices.rank + 1;
  const attrs = { axis: resolveAxis("scatterAdd", axis, Math.max(rank, 0)), size };
  return composed(() => applyOne(scatterAddDef, [updates, indexOperand("scatterAdd", indices)], attrs));
}
