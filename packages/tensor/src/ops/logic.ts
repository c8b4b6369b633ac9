// Truth values: and, or, xor and not of bool tensors, and the classes of floats. They are other operations
// read as logic, so they cost one instruction each.

import { applyOne, noAttrs } from "../core/apply.js";
import { composed } from "../core/scope.js";
import { Tensor } from "../core/tensor.js";
import { isFloat } from "../dtype.js";
import { DTypeError } from "../errors.js";
import type { Attrs } from "../ir/graph.js";
import { show } from "../shape.js";
import type { OpDef } from "./definition.js";
import { elementwiseDefs, eq, lt, maximum, ne, neg } from "./elementwise.js";

function requireBool(op: string, x: Tensor): Tensor {
  if (!(x instanceof Tensor) || x.dtype !== "bool")
    throw new DTypeError(
      `${op}: expected a bool tensor, got ${x instanceof Tensor ? x.dtype : show(x)}; make it with a comparison such as x.ne(0)`,
    );
  return x;
}

const ofBools = (op: string, def: OpDef<Attrs>, a: Tensor, b: Tensor): Tensor =>
  applyOne(def, [requireBool(op, a), requireBool(op, b)], noAttrs);

/** Whether both hold; bool tensors, broadcast. */
export const logicalAnd = (a: Tensor, b: Tensor): Tensor => ofBools("logicalAnd", elementwiseDefs.minimum, a, b);
/** Whether one or both hold; bool tensors, broadcast. */
export const logicalOr = (a: Tensor, b: Tensor): Tensor => ofBools("logicalOr", elementwiseDefs.maximum, a, b);
/** Whether exactly one holds; bool tensors, broadcast. */
export const logicalXor = (a: Tensor, b: Tensor): Tensor => ofBools("logicalXor", elementwiseDefs.ne, a, b);
/** Whether a bool tensor does not hold. */
export const logicalNot = (x: Tensor): Tensor => composed(() => eq(requireBool("logicalNot", x), 0));
/** Where x is not a number, as bool; nowhere for integers. */
const nan = (x: Tensor): Tensor => ne(x, x);
/** Where x is neither infinite nor NaN, as bool. */
const finite = (x: Tensor): Tensor =>
  composed(() => (isFloat(x.dtype) ? lt(maximum(x, neg(x)), Number.POSITIVE_INFINITY) : eq(x, x)));

export { finite as isFinite, nan as isNaN };
