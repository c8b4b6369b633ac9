// The single door through which every operation goes: into the graph while a function is traced, to
// the device otherwise; and onto the tapes in both cases.

import type { Attrs } from "../ir/graph.js";
import type { OpDef } from "../ops/definition.js";
import { runEager } from "../runtime/eager.js";
import { withPrecisionAttr } from "./precision.js";
import { recordOp } from "./tape.js";
import type { Tensor } from "./tensor.js";
import { currentTrace } from "./trace.js";

/** Attributes of ops that have none. */
export const noAttrs: Attrs = Object.freeze({});

/**
 * Applies an op to tensors and gives its outputs; the way in which functions of operations are made from
 * {@link defineOp}'s definitions.
 *
 * @throws ShapeError or DTypeError of the op's shape rule.
 * @example
 * const rootDef = defineOp({
 *   name: "root",
 *   effect: "pure",
 *   infer: ([x]) => [x as Aval],
 *   vjp: ({ outputs, cotangent }) => [cotangent().div((outputs[0] as Tensor).mul(2))],
 *   lower: { kind: "elementwise", opcode: "sqrt" },
 * });
 * const [y] = apply(rootDef, [tensor([4, 9])], {});
 */
export function apply<A extends Attrs>(def: OpDef<A>, inputs: readonly Tensor[], attrs: A): readonly Tensor[] {
  const trace = currentTrace();
  const own = withPrecisionAttr(def, attrs);
  const outputs = trace ? trace.apply(def, inputs, own) : runEager(def, inputs, own);
  recordOp(def, inputs, own, outputs);
  return outputs;
}

/**
 * Applies an op that has one output: see {@link apply}.
 *
 * @example
 * const logarithmDef = defineOp({
 *   name: "logarithm",
 *   effect: "pure",
 *   infer: ([x]) => [x as Aval],
 *   vjp: ({ inputs, cotangent }) => [cotangent().div(inputs[0] as Tensor)],
 *   lower: { kind: "elementwise", opcode: "log" },
 * });
 * applyOne(logarithmDef, [tensor([2, 4])], {}); // [2]
 */
export function applyOne<A extends Attrs>(def: OpDef<A>, inputs: readonly Tensor[], attrs: A): Tensor {
  return apply(def, inputs, attrs)[0] as Tensor;
}
