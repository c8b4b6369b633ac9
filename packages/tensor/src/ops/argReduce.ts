// Where along an axis the greatest or the least element stands.

import { applyOne } from "../core/apply.js";
import { composed } from "../core/scope.js";
import type { Tensor } from "../core/tensor.js";
import { isFloat } from "../dtype.js";
import { DTypeError, ShapeError } from "../errors.js";
import type { Aval } from "../ir/graph.js";
import { checkShape, resolveAxis, rowMajor, type Shape, showShape, sizeOf } from "../shape.js";
import { cast } from "./cast.js";
import { checkBoolean, checkOptions, checkTensor, expectCount } from "./checks.js";
import { defineOp, nativeSchema, type OpDef, type Sample } from "./definition.js";
import { reshape } from "./movement.js";
import type { ReduceOptions } from "./reduce.js";

const argReduceSchema = nativeSchema("argReduce", { outer: "i64", axis: "i64", inner: "i64", kind: "i32" });

/** The axis along which places are counted; it is removed. */
export type ArgReduceAttrs = { readonly axis: number };

/** A tensor seen as [outer, axis, inner]. */
const extentsOf = (shape: Shape, axis: number) => ({
  outer: sizeOf(shape.slice(0, axis)),
  axis: shape[axis] as number,
  inner: sizeOf(shape.slice(axis + 1)),
});

const without = (shape: Shape, axis: number): Shape => [...shape.slice(0, axis), ...shape.slice(axis + 1)];

function inferArg(op: string, inputs: readonly Aval[], { axis }: ArgReduceAttrs): Aval[] {
  expectCount(op, inputs, 1);
  const { shape, dtype } = inputs[0] as Aval;
  resolveAxis(op, axis, shape.length);
  if (!isFloat(dtype) && dtype !== "i32") {
    throw new DTypeError(`${op} compares floats or i32, got ${dtype} ${showShape(shape)}: cast it first`);
  }
  if (shape[axis] === 0) {
    throw new ShapeError(
      `${op}: axis ${axis} of ${showShape(shape)} has no elements, so none is the ${op.slice(3)}imum`,
    );
  }
  return [{ shape: without(shape, axis), dtype: "i32" }];
}

const cases: readonly (readonly [Shape, number])[] = [
  [[1], 0],
  [[7], 0],
  [[3, 5], 1],
  [[3, 5], 0],
  [[2, 3, 4], 1],
  [[64, 10], 1],
  [[5, 37, 67], 1],
  [[3, 5003], 1],
  [[2, 150001], 1],
  [[257, 33], 0],
];

function argDef(name: "argmax" | "argmin", kind: number): OpDef<ArgReduceAttrs> {
  const better = kind === 0 ? (a: number, b: number) => a > b : (a: number, b: number) => a < b;
  return defineOp<ArgReduceAttrs>({
    name,
    effect: "pure",
    nondifferentiable: true,
    infer: (inputs, attrs) => inferArg(name, inputs, attrs),
    lower: {
      kind: "kernel",
      call: (node, attrs) => {
        const e = extentsOf((node.inputs[0] as Aval).shape, attrs.axis);
        return {
          schema: argReduceSchema,
          params: { ...e, kind },
          inputs: [{ index: 0, dims: [e.outer, e.axis, e.inner] }],
          outputs: [{ index: 0, dims: [e.outer, e.inner] }],
        };
      },
    },
    reference: ([x], [aval], { axis }) => {
      const { shape } = aval as Aval;
      const step = rowMajor(shape)[axis] as number;
      const e = extentsOf(shape, axis);
      return [
        Float64Array.from({ length: e.outer * e.inner }, (_, o) => {
          const start = Math.floor(o / e.inner) * e.axis * e.inner + (o % e.inner);
          const at = (k: number): number => (x as Float64Array)[start + k * step] as number;
          let best = 0;
          for (let k = 1; k < e.axis && !Number.isNaN(at(best)); k++)
            if (Number.isNaN(at(k)) || better(at(k), at(best))) best = k;
          return best;
        }),
      ];
    },
    samples: (): Sample<ArgReduceAttrs>[] => [
      ...cases.map(([shape, axis]) => ({ inputs: [{ shape }], attrs: { axis } })),
      // Few values, so that there are ties.
      ...cases.map(([shape, axis]) => ({
        inputs: [{ shape, dtype: "i32" as const, range: [0, 4] as const }],
        attrs: { axis },
      })),
    ],
  });
}

export const argmaxDef = argDef("argmax", 0);
export const argminDef = argDef("argmin", 1);

function argReduce(def: OpDef<ArgReduceAttrs>, x: Tensor, axis: number | undefined, options: ReduceOptions): Tensor {
  const op = def.name;
  checkTensor(op, "x", x);
  checkOptions(op, options, ["keepDims"]);
  const { keepDims = false } = options;
  checkBoolean(op, "keepDims", keepDims);
  return composed(() => {
    const exact = isFloat(x.dtype) || x.dtype === "i32";
    const operand = exact ? x : cast(x, "i32");
    if (axis === undefined) {
      checkShape(op, [x.size]);
      const place = applyOne(def, [reshape(operand, [x.size])], { axis: 0 });
      return keepDims ? reshape(place, new Array(x.rank).fill(1)) : place;
    }
    const resolved = resolveAxis(op, axis, x.rank);
    const place = applyOne(def, [operand], { axis: resolved });
    return keepDims ? reshape(place, x.shape.with(resolved, 1)) : place;
  });
}

/**
 * The place of the greatest element along an axis: the first of several, and the first NaN where there is one, as in
 * NumPy.
 *
 * @param axis negative counts from the end; the place in the flattened tensor when omitted.
 * @returns i32, x's shape without the axis, or with extent 1 there when `keepDims` is set.
 * @throws ShapeError when the axis is out of range or has no elements.
 * @example
 * argmax(tensor([[1, 5, 5], [3, 2, 1]]), 1).at(0); // 1
 */
export const argmax = (x: Tensor, axis?: number, options: ReduceOptions = {}): Tensor =>
  argReduce(argmaxDef, x, axis, options);

/**
 * The place of the least element along an axis: the first of several, and the first NaN where there is one, as in
 * NumPy.
 *
 * @param axis negative counts from the end; the place in the flattened tensor when omitted.
 * @returns i32, x's shape without the axis, or with extent 1 there when `keepDims` is set.
 * @throws ShapeError when the axis is out of range or has no elements.
 * @example
 * argmin(tensor([[4, 5, 6], [3, 2, 1]])); // 5
 */
export const argmin = (x: Tensor, axis?: number, options: ReduceOptions = {}): Tensor =>
  argReduce(argminDef, x, axis, options);
