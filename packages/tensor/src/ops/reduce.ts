// Reductions over axes: sum, max and min as primitives; mean and the Euclidean norm in terms of them.

import { applyOne } from "../core/apply.js";
import { composed } from "../core/scope.js";
import type { Tensor } from "../core/tensor.js";
import { computeType, isFloat } from "../dtype.js";
import { DTypeError, ShapeError } from "../errors.js";
import type { Aval, Node } from "../ir/graph.js";
import { resolveAxes, rowMajor, type Shape, showShape, sizeOf } from "../shape.js";
import { div, mul, sqrt, square } from "./arithmetic.js";
import { cast } from "./cast.js";
import { checkBoolean, checkOptions, checkTensor, expectCount } from "./checks.js";
import { eq, select } from "./comparison.js";
import { defineOp, type KernelCall, nativeSchema, type OpDef, type Sample } from "./definition.js";
import { broadcastTo, reshape } from "./movement.js";

const reduceSchema = nativeSchema("reduce", { kind: "i32", axes: "i32" });

/** Which axes a reduction removes, sorted; with keepDims they stay with extent 1. */
export type ReduceAttrs = { readonly axes: readonly number[]; readonly keepDims: boolean };

/** Axes to reduce: one, several, or all when omitted; negative ones count from the end. */
export type Axes = number | readonly number[];

/** Options of reductions. */
export interface ReduceOptions {
  /** Keep reduced axes with extent 1. Default false. */
  readonly keepDims?: boolean;
}

const kindSum = 0;
const kindMax = 1;
const kindMin = 2;

const keptShape = (shape: Shape, axes: readonly number[]): Shape => shape.map((d, i) => (axes.includes(i) ? 1 : d));

function inferReduce(op: string, inputs: readonly Aval[], { axes, keepDims }: ReduceAttrs): Aval[] {
  expectCount(op, inputs, 1);
  const { shape, dtype } = inputs[0] as Aval;
  resolveAxes(op, axes, shape.length);
  if (!isFloat(dtype) && dtype !== "i32") {
    throw new DTypeError(`${op} computes with floats or i32, got ${dtype} ${showShape(shape)}: cast it first`);
  }
  return [{ shape: keepDims ? keptShape(shape, axes) : shape.filter((_, i) => !axes.includes(i)), dtype }];
}

function reduceCall(kind: number, node: Node, { axes }: ReduceAttrs): KernelCall {
  const { shape } = node.inputs[0] as Aval;
  return {
    schema: reduceSchema,
    params: { kind, axes: axes.reduce((mask, axis) => mask | (1 << axis), 0) },
    inputs: [{ index: 0, dims: shape }],
    outputs: [{ index: 0, dims: keptShape(shape, axes) }],
  };
}

function reduceReference(
  x: Float64Array,
  { shape }: Aval,
  { axes }: ReduceAttrs,
  initial: number,
  combine: (a: number, b: number) => number,
): Float64Array {
  const kept = keptShape(shape, axes);
  const out = new Float64Array(sizeOf(kept)).fill(initial);
  const from = rowMajor(shape);
  const to = rowMajor(kept);
  for (let i = 0; i < x.length; i++) {
    let at = 0;
    for (const [axis, extent] of shape.entries()) {
      if (!axes.includes(axis)) at += (Math.floor(i / (from[axis] as number)) % extent) * (to[axis] as number);
    }
    out[at] = combine(out[at] as number, x[i] as number);
  }
  return out;
}

const reduceSamples = (): Sample<ReduceAttrs>[] =>
  (
    [
      [[7], [0], false],
      [[1], [0], true],
      [[3, 5], [1], false],
      [[3, 5], [0], true],
      [[2, 3, 4, 5], [1, 2], false],
      [[2, 3, 4, 5], [0, 3], true],
      [[1, 13, 1], [0, 1, 2], false],
      [[37, 129], [1], false],
      [[129, 67], [0], false],
      [[4, 31, 33], [0, 2], false],
      [[3, 10007], [1], false],
      [[4099, 5], [0], false],
      [[2, 53, 59, 8], [0, 1, 2], false],
    ] as const
  ).map(([shape, axes, keepDims]) => ({ inputs: [{ shape }], attrs: { axes, keepDims } }));

export const sumDef: OpDef<ReduceAttrs> = defineOp({
  name: "sum",
  effect: "pure",
  infer: (inputs, attrs) => inferReduce("sum", inputs, attrs),
  vjp: ({ inputs: [x], attrs, cotangent }) => {
    const { shape } = x as Tensor;
    return [broadcastTo(reshape(cotangent(), keptShape(shape, attrs.axes)), shape)];
  },
  lower: { kind: "kernel", call: (node, attrs) => reduceCall(kindSum, node, attrs) },
  reference: ([x], [aval], attrs) => [reduceReference(x as Float64Array, aval as Aval, attrs, 0, (a, b) => a + b)],
  samples: reduceSamples,
});

/** The greatest or least element. */
function extremeDef(name: "max" | "min", kind: number, start: number, combine: (a: number, b: number) => number) {
  return defineOp<ReduceAttrs>({
    name,
    effect: "pure",
    infer: (inputs, attrs) => {
      const avals = inferReduce(name, inputs, attrs);
      const { shape } = inputs[0] as Aval;
      if (attrs.axes.some((axis) => shape[axis] === 0) && sizeOf((avals[0] as Aval).shape) > 0) {
        throw new ShapeError(
          `${name}: shape ${showShape(shape)} has no elements along the reduced axes, so no ${name}imum`,
        );
      }
      return avals;
    },
    // Elements that tie share the cotangent equally.
    vjp: ({ inputs, outputs, attrs: { axes }, cotangent }) => {
      const x = inputs[0] as Tensor;
      const kept = keptShape(x.shape, axes);
      const chosen = cast(eq(x, reshape(outputs[0] as Tensor, kept)), x.dtype);
      const ties = sum(chosen, axes, { keepDims: true });
      return [mul(chosen, div(reshape(cotangent(), kept), ties))];
    },
    lower: { kind: "kernel", call: (node, attrs) => reduceCall(kind, node, attrs) },
    reference: ([x], [aval], attrs) => [reduceReference(x as Float64Array, aval as Aval, attrs, start, combine)],
    samples: reduceSamples,
  });
}

export const maxDef = extremeDef("max", kindMax, Number.NEGATIVE_INFINITY, Math.max);
export const minDef = extremeDef("min", kindMin, Number.POSITIVE_INFINITY, Math.min);

function reduce(def: OpDef<ReduceAttrs>, x: Tensor, axes: Axes | undefined, options: ReduceOptions): Tensor {
  const op = def.name;
  checkTensor(op, "x", x);
  checkOptions(op, options, ["keepDims"]);
  const { keepDims = false } = options;
  checkBoolean(op, "keepDims", keepDims);
  const resolved = resolveAxes(op, axes, x.rank);
  if (resolved.length === 0) return reshape(x, x.shape);
  const operand = x.dtype === "u8" || x.dtype === "bool" ? cast(x, "i32") : x;
  return applyOne(def, [operand], { axes: resolved, keepDims });
}

/**
 * The sum over axes. bf16 and f16 are summed in f32; u8 and bool give i32.
 *
 * @param axes one axis, several, or all when omitted; negative ones count from the end.
 * @returns x without those axes, or with extent 1 there when `keepDims` is set.
 * @throws ShapeError when an axis is out of range or named twice.
 * @example
 * sum(tensor([[1, 2], [3, 4]]), 0).at(1); // 6
 */
export const sum = (x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor => reduce(sumDef, x, axes, options);

/**
 * The maximum over axes; NaN where an element is NaN. Equal maxima share the derivative equally.
 *
 * @param axes one axis, several, or all when omitted; negative ones count from the end.
 * @throws ShapeError when an axis is out of range or named twice, or when there is nothing to take a maximum of.
 * @example
 * max(tensor([[1, 5], [3, 4]]), 1).at(0); // 5
 */
export const max = (x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor => reduce(maxDef, x, axes, options);

/**
 * The minimum over axes; NaN where an element is NaN. Equal minima share the derivative equally.
 *
 * @param axes one axis, several, or all when omitted; negative ones count from the end.
 * @throws ShapeError when an axis is out of range or named twice, or when there is nothing to take a minimum of.
 * @example
 * min(tensor([[1, 5], [3, 4]]), 1).at(1); // 3
 */
export const min = (x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor => reduce(minDef, x, axes, options);

/**
 * The arithmetic mean over axes.
 *
 * @param axes one axis, several, or all when omitted; negative ones count from the end.
 * @throws ShapeError when an axis is out of range or named twice; DTypeError for integers.
 * @example
 * mean(tensor([[1, 2], [3, 4]])); // 2.5
 */
export function mean(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  checkFloat("mean", x);
  const count = resolveAxes("mean", axes, x.rank).reduce((n, axis) => n * (x.shape[axis] as number), 1);
  return composed(() => {
    // Rounded once, and no sum of f16 overflows.
    const total = sum(cast(x, computeType(x.dtype)), axes, options);
    return cast(div(total, count), x.dtype);
  });
}

/**
 * The Euclidean norm √Σx² over axes. Its derivative at x = 0, where it does not exist, is taken as 0, so that
 * gradient penalties stay finite.
 *
 * @param axes one axis, several, or all when omitted; negative ones count from the end.
 * @throws ShapeError when an axis is out of range or named twice; DTypeError for integers.
 * @example
 * norm(tensor([3, 4])); // 5
 */
export function norm(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  checkFloat("norm", x);
  return composed(() => {
    const squares = sum(square(cast(x, computeType(x.dtype))), axes, options);
    const isZero = eq(squares, 0);
    return cast(select(isZero, 0, sqrt(select(isZero, 1, squares))), x.dtype);
  });
}

/** Checks that an argument is a tensor of a float type. */
export function checkFloat(op: string, x: unknown): asserts x is Tensor {
  checkTensor(op, "x", x);
  if (!isFloat(x.dtype)) {
    throw new DTypeError(`${op}: expected a float tensor, got ${x.dtype} ${showShape(x.shape)}: cast it first`);
  }
}
