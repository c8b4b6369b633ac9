// Conversion between element types.

import { applyOne } from "../core/apply.js";
import { follow } from "../core/tape.js";
import type { Tensor } from "../core/tensor.js";
import { checkDType, type DType, isFloat } from "../dtype.js";
import type { Attrs, Aval } from "../ir/graph.js";
import { checkTensor } from "./checks.js";
import { defineOp, type OpDef } from "./definition.js";

export const castDef = defineOp<{ dtype: DType }>({
  name: "cast",
  effect: "pure",
  infer: ([x], { dtype }) => [{ shape: (x as Aval).shape, dtype }],
  vjp: ({ inputs, cotangent }) => {
    const [x] = inputs as [Tensor];
    return [isFloat(x.dtype) ? cast(cotangent(), x.dtype) : undefined];
  },
  lower: { kind: "elementwise", opcode: "cast" },
});

/** Copies memory; what the runtime uses to move contents, never part of a user's graph. */
export const identityDef: OpDef<Attrs> = {
  name: "identity",
  effect: "pure",
  infer: ([x]) => [x as Aval],
  lower: { kind: "elementwise", opcode: "cast" },
};

/**
 * Converts the element type. Floats become integers by truncation toward zero; anything non-zero becomes true.
 * To its own type a tensor is another handle of the same memory.
 *
 * @example
 * cast(tensor([1.7]), "i32").at(0); // 1
 */
export function cast(x: Tensor, dtype: DType): Tensor {
  checkDType("cast", dtype);
  checkTensor("cast", "x", x);
  return x.dtype === dtype ? follow(x) : applyOne(castDef, [x], { dtype });
}
