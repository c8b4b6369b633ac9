// Truth values: and, or, xor and not of bool tensors, and the classes of floats. They are other operations
// read as logic, so they cost one instruction each.

import { applyOne, noAttrs } from "../core/apply.js";
import { composed } from "../core/scope.js";
import { Tensor } from "../core/tensor.js";
import { isFloat } from "../dtype.js";
import { DTypeError } from "../errors.js";
import type { Attrs } from "../ir/graph.js";
import { show } from "../shape.js";
import { maximum, maximumDef, minimumDef, neg } from "./arithmetic.js";
import { eq, lt, ne, neDef } from "./comparison.js";
import type { OpDef } from "./definition.js";

function requireBool(op: string, x: Tensor): Tensor {
  if (!(x instanceof Tensor) || x.dtype !== "bool")
    throw new DTypeError(
      `${op}: expected a bool tensor, got ${x instanceof Tensor ? x.dtype : show(x)}; make it with a comparison such as x.ne(0)`,
    );
  return x;
}

const ofBools = (op: string, def: OpDef<Attrs>, a: Tensor, b: Tensor): Tensor =>
  applyOne(def, [requireBool(op, a), requireBool(op, b)], noAttrs);

/**
 * Whether both hold; bool tensors, broadcast.
 *
 * @example
 * logicalAnd(gt(tensor([1, 2]), 1), lt(tensor([1, 2]), 3)).cast("i32").sum(); // 1
 */
export const logicalAnd = (a: Tensor, b: Tensor): Tensor => ofBools("logicalAnd", minimumDef, a, b);
/**
 * Whether one or both hold; bool tensors, broadcast.
 *
 * @example
 * logicalOr(gt(tensor([1, 2]), 1), lt(tensor([1, 2]), 3)).cast("i32").sum(); // 2
 */
export const logicalOr = (a: Tensor, b: Tensor): Tensor => ofBools("logicalOr", maximumDef, a, b);
/**
 * Whether exactly one holds; bool tensors, broadcast.
 *
 * @example
 * logicalXor(gt(tensor([1, 2]), 1), lt(tensor([1, 2]), 3)).cast("i32").sum(); // 1
 */
export const logicalXor = (a: Tensor, b: Tensor): Tensor => ofBools("logicalXor", neDef, a, b);
/**
 * Whether a bool tensor does not hold.
 *
 * @example
 * logicalNot(gt(tensor([1, 2]), 1)).cast("i32").at(0); // 1
 */
export const logicalNot = (x: Tensor): Tensor => composed(() => eq(requireBool("logicalNot", x), 0));
/**
 * Where x is not a number, as bool; nowhere for integers.
 *
 * @example
 * isNaN(tensor([1, Number.NaN])).cast("i32").sum(); // 1
 */
function nan(x: Tensor): Tensor {
  return ne(x, x);
}
/**
 * Where x is neither infinite nor NaN, as bool.
 *
 * @example
 * isFinite(tensor([1, Number.NaN, Number.POSITIVE_INFINITY])).cast("i32").sum(); // 1
 */
function finite(x: Tensor): Tensor {
  return composed(() => (isFloat(x.dtype) ? lt(maximum(x, neg(x)), Number.POSITIVE_INFINITY) : eq(x, x)));
}

export { finite as isFinite, nan as isNaN };
