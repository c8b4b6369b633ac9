// Reductions in terms of others: products, log-sum-exp, variance and standard deviation, and whether any or
// all elements are true.

import { full } from "../core/create.js";
import { composed } from "../core/scope.js";
import type { Tensor } from "../core/tensor.js";
import { DTypeError, UsageError } from "../errors.js";
import { resolveAxes, show, showShape } from "../shape.js";
import { add, div, exp, log, mul, sqrt, square, sub } from "./arithmetic.js";
import { cast } from "./cast.js";
import { checkBoolean, checkOptions, checkTensor } from "./checks.js";
import { eq, ne, select } from "./comparison.js";
import { isFinite as finite } from "./logic.js";
import { concat, reshape } from "./movement.js";
import { type Axes, checkFloat, max, mean, min, type ReduceOptions, sum } from "./reduce.js";
import { slice } from "./slicing.js";

/** Options of variance and standard deviation. */
export interface VarianceOptions extends ReduceOptions {
  /** What is taken from the number of elements in the divisor: 0, or 1 for an unbiased estimate. Default 0. */
  readonly correction?: number;
}

const reducedShape = (x: Tensor, axes: readonly number[], keepDims: boolean): number[] =>
  x.shape.flatMap((d, i) => (!axes.includes(i) ? [d] : keepDims ? [1] : []));

const countOf = (x: Tensor, axes: readonly number[]): number => axes.reduce((n, axis) => n * x.dim(axis), 1);

/** Checks the operands that all reductions share. */
function checkReduce(op: string, x: Tensor, axes: Axes | undefined, options: ReduceOptions, known = ["keepDims"]) {
  checkTensor(op, "x", x);
  checkOptions(op, options, known);
  const { keepDims = false } = options;
  checkBoolean(op, "keepDims", keepDims);
  const resolved = resolveAxes(op, axes, x.rank);
  return { resolved, keepDims, shape: reducedShape(x, resolved, keepDims) };
}

/** The product along one axis, by halves, so that its derivative is made of products too: no division by zero. */
function productAlong(x: Tensor, axis: number): Tensor {
  const extent = x.dim(axis);
  if (extent === 0) return full(x.shape.with(axis, 1), 1, x.dtype);
  if (extent === 1) return x;
  const half = Math.ceil(extent / 2);
  const part = (start: number, size: number): Tensor =>
    slice(
      x,
      x.shape.map((_, i) => (i === axis ? start : 0)),
      x.shape.with(axis, size),
    );
  const rest = extent - half;
  const product = mul(part(0, rest), part(half, rest));
  return productAlong(rest === half ? product : concat([product, part(rest, 1)], axis), axis);
}

/**
 * The product over axes; 1 where there is nothing to multiply. Its derivatives are right where elements are 0. bf16 and
 * f16 are multiplied in f32; u8 and bool give i32.
 *
 * @param axes one axis, several, or all when omitted; negative ones count from the end.
 * @returns x without those axes, or with extent 1 there when `keepDims` is set.
 * @throws ShapeError when an axis is out of range or named twice.
 * @example
 * prod(tensor([[1, 2], [3, 4]]), 0).at(1); // 8
 */
export function prod(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  const { resolved, shape } = checkReduce("prod", x, axes, options);
  return composed(() => {
    if (x.dtype === "bf16" || x.dtype === "f16") return cast(prod(cast(x, "f32"), axes, options), x.dtype);
    const operand = x.dtype === "u8" || x.dtype === "bool" ? cast(x, "i32") : x;
    return reshape(resolved.reduce(productAlong, operand), shape);
  });
}

/**
 * log Σ exp(x) over axes, without overflow: −∞ where all elements are −∞ (or there are none), +∞ where one is +∞. Its
 * derivative is softmax's weights, and 0 where all elements are −∞.
 *
 * @param x of a float type; bf16 and f16 are summed in f32.
 * @param axes one axis, several, or all when omitted; negative ones count from the end.
 * @returns x without those axes, or with extent 1 there when `keepDims` is set.
 * @throws ShapeError when an axis is out of range or named twice; DTypeError for integers.
 * @example
 * logsumexp(tensor([1000, 1000])); // 1000.693147
 */
export function logsumexp(x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor {
  checkFloat("logsumexp", x);
  const { resolved, shape } = checkReduce("logsumexp", x, axes, options);
  return composed(() => {
    if (x.dtype === "bf16" || x.dtype === "f16") return cast(logsumexp(cast(x, "f32"), axes, options), x.dtype);
    if (countOf(x, resolved) === 0) return full(shape, Number.NEGATIVE_INFINITY, x.dtype);
    // No derivative needs to follow the shift: the result does not depend on it.
    const highest = max(x, resolved, { keepDims: true }).alias();
    const shift = select(finite(highest), highest, 0);
    const total = sum(exp(sub(x, shift)), resolved, { keepDims: true });
    const isNone = eq(total, 0);
    const logTotal = select(isNone, Number.NEGATIVE_INFINITY, log(select(isNone, 1, total)));
    return reshape(add(logTotal, shift), shape);
  });
}

/**
 * The variance over axes: the mean of (x − mean(x))².
 *
 * @param axes one axis, several, or all when omitted; negative ones count from the end.
 * @throws ShapeError when an axis is out of range or named twice; DTypeError for integers; UsageError for a correction
 * that is no number ≥ 0.
 * @example
 * variance(tensor([1, 3])); // 1
 * variance(tensor([1, 3]), 0, { correction: 1 }); // 2
 */
export function variance(x: Tensor, axes?: Axes, options: VarianceOptions = {}): Tensor {
  checkFloat("variance", x);
  const { resolved, shape } = checkReduce("variance", x, axes, options, ["keepDims", "correction"]);
  const { correction = 0 } = options;
  if (typeof correction !== "number" || !(correction >= 0))
    throw new UsageError(`variance: correction must be a number ≥ 0, got ${show(correction)}`);
  return composed(() => {
    if (x.dtype === "bf16" || x.dtype === "f16") return cast(variance(cast(x, "f32"), axes, options), x.dtype);
    const squares = sum(square(sub(x, mean(x, resolved, { keepDims: true }))), resolved);
    return reshape(div(squares, Math.max(0, countOf(x, resolved) - correction)), shape);
  });
}

/**
 * The standard deviation over axes: the root of {@link variance}. Its derivative where the variance is 0, where it does
 * not exist, is taken as 0.
 *
 * @param axes one axis, several, or all when omitted; negative ones count from the end.
 * @throws ShapeError when an axis is out of range or named twice; DTypeError for integers; UsageError for a correction
 * that is no number ≥ 0.
 * @example
 * std(tensor([1, 5])); // 2
 */
export function std(x: Tensor, axes?: Axes, options: VarianceOptions = {}): Tensor {
  checkFloat("std", x);
  return composed(() => {
    const spread = variance(x, axes, options);
    const isZero = eq(spread, 0);
    return select(isZero, 0, sqrt(select(isZero, 1, spread)));
  });
}

function truth(op: "any" | "all", x: Tensor, axes: Axes | undefined, options: ReduceOptions): Tensor {
  const { resolved, shape } = checkReduce(op, x, axes, options);
  if (x.dtype !== "bool")
    throw new DTypeError(
      `${op}: expected a bool tensor, got ${x.dtype} ${showShape(x.shape)}; make it with a comparison such as x.ne(0)`,
    );
  return composed(() => {
    if (countOf(x, resolved) === 0) return full(shape, Number(op === "all"), "bool");
    return reshape(ne((op === "any" ? max : min)(x, resolved), 0), shape);
  });
}

/**
 * Whether any element is true, over axes; false where there is none.
 *
 * @param x bool.
 * @param axes one axis, several, or all when omitted; negative ones count from the end.
 * @returns bool: x without those axes, or with extent 1 there when `keepDims` is set.
 * @throws ShapeError when an axis is out of range or named twice; DTypeError for other types.
 * @example
 * any(tensor([1, 2]).gt(1)).cast("i32"); // 1
 */
export const any = (x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor => truth("any", x, axes, options);

/**
 * Whether all elements are true, over axes; true where there is none.
 *
 * @param x bool.
 * @param axes one axis, several, or all when omitted; negative ones count from the end.
 * @returns bool: x without those axes, or with extent 1 there when `keepDims` is set.
 * @throws ShapeError when an axis is out of range or named twice; DTypeError for other types.
 * @example
 * all(tensor([1, 2]).gt(1)).cast("i32"); // 0
 */
export const all = (x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor => truth("all", x, axes, options);
