// Elements picked by an index for each place: takeAlong, and its transpose scatterAddAlong, which adds
// elements into the places that indices name. Each is the other's derivative with respect to the values.

import { applyOne } from "../core/apply.js";
import { composed } from "../core/scope.js";
import type { Tensor } from "../core/tensor.js";
import { ShapeError } from "../errors.js";
import type { Aval, Node, Value } from "../ir/graph.js";
import { broadcastShapes, checkShape, resolveAxis, type Shape, sameShape, showShape, sizeOf } from "../shape.js";
import { checkInteger, checkTensor, expectCompute, expectCount, expectDType, expectShape } from "./checks.js";
import { defineOp, type KernelCall, nativeSchema, type OpDef, type Sample } from "./definition.js";
import { indexOperand } from "./indexing.js";
import { broadcastTo, reshape } from "./movement.js";

const fields = { outer: "i64", axis: "i64", inner: "i64", count: "i64" } as const;
const takeAlongSchema = nativeSchema("takeAlong", fields);
const scatterAddAlongSchema = nativeSchema("scatterAddAlong", fields);

/** The axis along which indices count. */
export type AlongAttrs = { readonly axis: number };
/** The axis of the result that is indexed, and its extent. */
export type ScatterAlongAttrs = { readonly axis: number; readonly size: number };

/** `full` is the shape with the indexed axis, `picked` that of the indices. */
function alongCall(
  schema: KernelCall["schema"],
  node: Node,
  axis: number,
  full: Shape,
  picked: Shape,
  scatters: boolean,
): KernelCall {
  const outer = sizeOf(full.slice(0, axis));
  const inner = sizeOf(full.slice(axis + 1));
  const [extent, count] = [full[axis] as number, picked[axis] as number];
  const [whole, part] = [
    [outer, extent, inner],
    [outer, count, inner],
  ];
  return {
    schema,
    params: { outer, axis: extent, inner, count },
    inputs: node.inputs.map((_, index) => ({ index, dims: index === 0 && !scatters ? whole : part })),
    outputs: [{ index: 0, dims: scatters ? whole : part }],
  };
}

/** Visits each picked element with the one of the full tensor that its index names. */
function eachPicked(
  full: Shape,
  picked: Shape,
  axis: number,
  indices: Float64Array,
  visit: (full: number, picked: number) => void,
): void {
  const inner = sizeOf(full.slice(axis + 1));
  const row = (picked[axis] as number) * inner;
  for (let e = 0; e < indices.length; e++) {
    visit((Math.floor(e / row) * (full[axis] as number) + (indices[e] as number)) * inner + (e % inner), e);
  }
}

/** The full shape, the axis, and the extent of the indices along it. */
const cases: readonly (readonly [Shape, number, number])[] = [
  [[5], 0, 3],
  [[2, 4], 1, 1],
  [[3, 4], 0, 5],
  [[2, 5, 3], 1, 4],
  [[1, 6], 1, 11],
  [[64, 33], 0, 17],
  [[37, 129], 1, 40],
  [[3, 20, 301], 1, 7],
];

const samplesOf = <A>(sample: (shape: Shape, picked: Shape, axis: number) => Sample<A>): Sample<A>[] =>
  cases.map(([shape, axis, count]) => sample(shape, shape.with(axis, count), axis));

export const takeAlongDef: OpDef<AlongAttrs> = defineOp<AlongAttrs>({
  name: "takeAlong",
  effect: "pure",
  canFail: true,
  infer: (inputs, { axis }) => {
    const op = "takeAlong";
    expectCount(op, inputs, 2);
    const [x, indices] = inputs as readonly [Aval, Aval];
    expectDType(op, "indices", indices, "i32");
    resolveAxis(op, axis, x.shape.length);
    if (indices.shape.length !== x.shape.length || !sameShape(indices.shape.with(axis, 0), x.shape.with(axis, 0))) {
      throw new ShapeError(
        `${op}: indices ${showShape(indices.shape)} must have the shape of x, ${showShape(x.shape)}, except along axis ${axis}`,
      );
    }
    if (x.shape[axis] === 0 && sizeOf(indices.shape) > 0)
      throw new ShapeError(`${op}: axis ${axis} of ${showShape(x.shape)} is empty, so no index is in range`);
    return [{ shape: indices.shape, dtype: x.dtype }];
  },
  vjp: ({ inputs, attrs: { axis }, cotangent, needs }) => {
    const [x, indices] = inputs as readonly [Tensor, Tensor];
    return [needs(0) ? applyOne(scatterAddAlongDef, [cotangent(), indices], { axis, size: x.dim(axis) }) : undefined];
  },
  lower: {
    kind: "kernel",
    call: (node, { axis }) => {
      const [x, indices] = node.inputs as readonly [Value, Value];
      return alongCall(takeAlongSchema, node, axis, x.shape, indices.shape, false);
    },
  },
  reference: ([x, indices], avals, { axis }) => {
    const [full, picks] = avals as readonly [Aval, Aval];
    const out = new Float64Array(sizeOf(picks.shape));
    eachPicked(full.shape, picks.shape, axis, indices as Float64Array, (from, to) => {
      out[to] = (x as Float64Array)[from] as number;
    });
    return [out];
  },
  samples: () =>
    samplesOf((shape, picked, axis) => ({
      inputs: [{ shape }, { shape: picked, dtype: "i32", range: [0, shape[axis] as number] }],
      attrs: { axis },
    })),
});

export const scatterAddAlongDef: OpDef<ScatterAlongAttrs> = defineOp<ScatterAlongAttrs>({
  name: "scatterAddAlong",
  effect: "pure",
  canFail: true,
  infer: (inputs, { axis, size }) => {
    const op = "scatterAddAlong";
    expectCount(op, inputs, 2);
    const [updates, indices] = inputs as readonly [Aval, Aval];
    const dtype = expectCompute(op, { updates });
    expectDType(op, "indices", indices, "i32");
    resolveAxis(op, axis, updates.shape.length);
    expectShape(op, "indices", indices, updates.shape);
    const shape = updates.shape.with(axis, size);
    checkShape(op, shape);
    if (size === 0 && sizeOf(indices.shape) > 0)
      throw new ShapeError(
        `${op}: a result of extent 0 along axis ${axis} has no place for ${showShape(updates.shape)}`,
      );
    return [{ shape, dtype }];
  },
  vjp: ({ inputs, attrs: { axis }, cotangent, needs }) => [
    needs(0) ? applyOne(takeAlongDef, [cotangent(), inputs[1] as Tensor], { axis }) : undefined,
  ],
  lower: {
    kind: "kernel",
    call: (node, { axis }) => {
      const [full, picked] = [(node.outputs[0] as Aval).shape, (node.inputs[1] as Aval).shape];
      return alongCall(scatterAddAlongSchema, node, axis, full, picked, true);
    },
  },
  reference: ([updates, indices], avals, { axis, size }) => {
    const { shape } = avals[0] as Aval;
    const full = shape.with(axis, size);
    const out = new Float64Array(sizeOf(full));
    eachPicked(full, shape, axis, indices as Float64Array, (to, from) => {
      out[to] = (out[to] as number) + ((updates as Float64Array)[from] as number);
    });
    return [out];
  },
  samples: () =>
    samplesOf((shape, picked, axis) => ({
      inputs: [{ shape: picked }, { shape: picked, dtype: "i32", range: [0, shape[axis] as number] }],
      attrs: { axis, size: shape[axis] as number },
    })),
});

/**
 * Picks an element for each index along an axis: out[…, j, …] = x[…, indices[…, j, …], …].
 *
 * @param x any dtype, at least one dimension.
 * @param indices i32, each in [0, x.dim(axis)). Either of x's rank, its other axes broadcast against x's; or without
 * the axis, for one element each: the result then has no such axis.
 * @param axis negative counts from the end. Default −1.
 * @returns the indices' shape, broadcast.
 * @throws ShapeError when the shapes do not fit; DTypeError when the indices are not integers. An index out of range
 * makes reading the result fail with code ERR_FIGMENT_INDEX.
 * @example
 * const x = tensor([[1, 2, 3], [4, 5, 6]]);
 * takeAlong(x, tensor(Int32Array.of(2, 0))).at(1); // 4
 * takeAlong(x, argmax(x, 1, { keepDims: true })); // [2, 1]
 */
export function takeAlong(x: Tensor, indices: Tensor, axis = -1): Tensor {
  const op = "takeAlong";
  checkTensor(op, "x", x);
  const attrs = { axis: resolveAxis(op, axis, x.rank) };
  return composed(() => {
    const places = indexOperand(op, indices);
    const drops = places.rank === x.rank - 1;
    if (!drops && places.rank !== x.rank) {
      throw new ShapeError(
        `${op}: indices ${showShape(places.shape)} must have the rank of x, ${showShape(x.shape)}, or one less`,
      );
    }
    const kept = drops ? reshape(places, places.shape.toSpliced(attrs.axis, 0, 1)) : places;
    const others = broadcastShapes(op, x.shape.with(attrs.axis, 1), kept.shape.with(attrs.axis, 1));
    const picked = applyOne(
      takeAlongDef,
      [
        broadcastTo(x, others.with(attrs.axis, x.dim(attrs.axis))),
        broadcastTo(kept, others.with(attrs.axis, kept.dim(attrs.axis))),
      ],
      attrs,
    );
    return drops ? reshape(picked, others.toSpliced(attrs.axis, 1)) : picked;
  });
}

/**
 * Adds elements into a tensor of zeros along an axis: out[…, indices[…, j, …], …] += updates[…, j, …], in the order
 * of j. The transpose of {@link takeAlong}.
 *
 * @param updates of a float type, at least one dimension.
 * @param indices i32 of updates' shape, each in [0, size).
 * @param size extent of the result along the axis.
 * @param axis negative counts from the end. Default −1.
 * @returns updates' shape with extent `size` along the axis.
 * @throws ShapeError when the shapes do not fit; DTypeError when the indices are not integers. An index out of range
 * makes reading the result fail with code ERR_FIGMENT_INDEX.
 * @example
 * scatterAddAlong(tensor([1, 2, 3]), tensor(Int32Array.of(0, 1, 0)), 2).at(0); // 4
 */
export function scatterAddAlong(updates: Tensor, indices: Tensor, size: number, axis = -1): Tensor {
  checkTensor("scatterAddAlong", "updates", updates);
  checkInteger("scatterAddAlong", "size", size, 0);
  const attrs = { axis: resolveAxis("scatterAddAlong", axis, updates.rank), size };
  return composed(() => applyOne(scatterAddAlongDef, [updates, indexOperand("scatterAddAlong", indices)], attrs));
}
