// Reversing the order along axes. Operands of kernels never have negative strides, so this is a copy, which is its
// own inverse and its own derivative.

import { applyOne } from "../core/apply.js";
import type { Tensor } from "../core/tensor.js";
import type { Aval } from "../ir/graph.js";
import { resolveAxes, sizeOf } from "../shape.js";
import { checkTensor, expectCount } from "./checks.js";
import { defineOp, nativeSchema, type OpDef } from "./definition.js";

const flipSchema = nativeSchema("flip", { axes: "i32" }); // bit i: axis i

/** The axes that are reversed, ascending. */
export type FlipAttrs = { readonly axes: readonly number[] };

export const flipDef: OpDef<FlipAttrs> = defineOp({
  name: "flip",
  effect: "pure",
  infer: (inputs) => {
    expectCount("flip", inputs, 1);
    const { shape, dtype } = inputs[0] as Aval;
    return [{ shape, dtype }];
  },
  vjp: ({ cotangent, attrs }) => [applyOne(flipDef, [cotangent()], attrs)],
  lower: {
    kind: "kernel",
    call: (node, { axes }) => {
      const operand = [{ index: 0, dims: (node.inputs[0] as Aval).shape }];
      const params = { axes: axes.reduce((bits, axis) => bits | (1 << axis), 0) };
      return { schema: flipSchema, params, inputs: operand, outputs: operand };
    },
  },
  reference: ([x], [aval], { axes }) => {
    const { shape } = aval as Aval;
    return [
      Float64Array.from({ length: sizeOf(shape) }, (_, i) => {
        let [rest, from, stride] = [i, 0, 1];
        for (let axis = shape.length - 1; axis >= 0; axis--) {
          const d = shape[axis] as number;
          const place = rest % d;
          from += (axes.includes(axis) ? d - 1 - place : place) * stride;
          rest = Math.floor(rest / d);
          stride *= d;
        }
        return (x as Float64Array)[from] as number;
      }),
    ];
  },
  samples: () => [
    { inputs: [{ shape: [] }], attrs: { axes: [] } },
    { inputs: [{ shape: [37] }], attrs: { axes: [0] } },
    { inputs: [{ shape: [3, 5] }], attrs: { axes: [0, 1] } },
    { inputs: [{ shape: [2, 3, 4, 5] }], attrs: { axes: [1, 2] } },
    { inputs: [{ shape: [3, 4, 1, 7] }], attrs: { axes: [0, 3] } },
    { inputs: [{ shape: [6, 5], dtype: "u8", range: [0, 256] }], attrs: { axes: [1] } },
    { inputs: [{ shape: [2, 40_000] }], attrs: { axes: [1] } },
  ],
});

/**
 * Reverses the order of the elements along `axes` (default: all of them), negative ones counted from the end.
 *
 * @throws ShapeError for an axis that x does not have, or one given twice.
 * @example
 * flip(tensor([[1, 2], [3, 4]]), 1).at(0, 0); // 2
 */
export function flip(x: Tensor, axes?: number | readonly number[]): Tensor {
  checkTensor("flip", "x", x);
  return applyOne(flipDef, [x], { axes: resolveAxes("flip", axes, x.rank) });
}
