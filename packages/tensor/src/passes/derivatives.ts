// Derivatives of ReLU and leaky ReLU as passes recognise them: by the activation's result, whose sign is its argument's.

import type { Node, Value } from "../ir/graph.js";
import type { NormActivationAttrs } from "../ops/activation.js";
import { followedBy } from "../ops/affineNorm.js";
import { constantOf } from "./fold.js";

/** A cotangent before an activation, in terms of the one after it and of the activation's result. */
export interface Derivative {
  readonly attrs: NormActivationAttrs;
  readonly result: Value;
  readonly cotangent: Value;
}

/** The operand of a node beside another one. */
export const beside = (node: Node, value: Value): Value | undefined => node.inputs[node.inputs[0] === value ? 1 : 0];

/** What `relu` and `leakyRelu` trace as their derivatives; a slope below 0 would be of a result that does not tell the sign. */
export function derivativeOf({ node }: Value): Derivative | undefined {
  if (node?.def.name !== "select") return undefined;
  const [condition, a, b] = node.inputs as readonly [Value, Value, Value];
  const [result, zero] = condition.node?.inputs ?? [];
  if (!result || constantOf(zero) !== 0) return undefined;
  const by = condition.node?.def.name;
  if (by === "le" && constantOf(a) === 0) return { attrs: followedBy("relu"), result, cotangent: b };
  if (by !== "gt" || b.node?.def.name !== "mul" || !b.node.inputs.includes(a)) return undefined;
  const slope = constantOf(beside(b.node, a));
  return slope !== undefined && slope >= 0
    ? { attrs: followedBy("leakyRelu", slope), result, cotangent: a }
    : undefined;
}
