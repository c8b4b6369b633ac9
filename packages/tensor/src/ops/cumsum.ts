// Running sums along an axis. The derivative is the running sum from the other end.

import { applyOne } from "../core/apply.js";
import { composed } from "../core/scope.js";
import type { Tensor } from "../core/tensor.js";
import { isFloat } from "../dtype.js";
import { DTypeError } from "../errors.js";
import type { Aval } from "../ir/graph.js";
import { resolveAxis, type Shape, showShape, sizeOf } from "../shape.js";
import { cast } from "./cast.js";
import { checkBoolean, checkOptions, checkTensor, expectCount } from "./checks.js";
import { defineOp, nativeSchema, type OpDef, type Sample } from "./definition.js";

const cumsumSchema = nativeSchema("cumsum", {
  outer: "i64",
  axis: "i64",
  inner: "i64",
  exclusive: "i32",
  reverse: "i32",
});

/** How running sums are taken. */
export interface CumsumOptions {
  /** Leave the element itself out, so that the first sum is 0. Default false. */
  readonly exclusive?: boolean;
  /** Sum from the end of the axis. Default false. */
  readonly reverse?: boolean;
}

export type CumsumAttrs = { readonly axis: number; readonly exclusive: boolean; readonly reverse: boolean };

const cases: readonly (readonly [Shape, number])[] = [
  [[1], 0],
  [[7], 0],
  [[3, 5], 1],
  [[3, 5], 0],
  [[2, 3, 4], 1],
  [[9, 130], 1],
  [[3, 5003], 1],
  [[2, 70001], 1],
  [[129, 67], 0],
  [[2, 300, 21], 1],
];

export const cumsumDef: OpDef<CumsumAttrs> = defineOp<CumsumAttrs>({
  name: "cumsum",
  effect: "pure",
  infer: (inputs, { axis }) => {
    expectCount("cumsum", inputs, 1);
    const { shape, dtype } = inputs[0] as Aval;
    resolveAxis("cumsum", axis, shape.length);
    if (!isFloat(dtype) && dtype !== "i32")
      throw new DTypeError(`cumsum computes with floats or i32, got ${dtype} ${showShape(shape)}: cast it first`);
    return [{ shape, dtype }];
  },
  vjp: ({ attrs, cotangent }) => [applyOne(cumsumDef, [cotangent()], { ...attrs, reverse: !attrs.reverse })],
  lower: {
    kind: "kernel",
    call: (node, { axis, exclusive, reverse }) => {
      const { shape } = node.inputs[0] as Aval;
      const dims = [sizeOf(shape.slice(0, axis)), shape[axis] as number, sizeOf(shape.slice(axis + 1))] as const;
      return {
        schema: cumsumSchema,
        params: {
          outer: dims[0],
          axis: dims[1],
          inner: dims[2],
          exclusive: Number(exclusive),
          reverse: Number(reverse),
        },
        inputs: [{ index: 0, dims }],
        outputs: [{ index: 0, dims }],
      };
    },
  },
  inPlace: () => [[0, 0]],
  reference: ([x], [aval], { axis, exclusive, reverse }) => {
    const { shape } = aval as Aval;
    const extent = shape[axis] as number;
    const inner = sizeOf(shape.slice(axis + 1));
    const out = new Float64Array((x as Float64Array).length);
    const lines = out.length / Math.max(extent, 1);
    for (let line = 0; line < lines; line++) {
      const start = Math.floor(line / inner) * extent * inner + (line % inner);
      let total = 0;
      for (let k = 0; k < extent; k++) {
        const at = start + (reverse ? extent - 1 - k : k) * inner;
        const before = total;
        total += (x as Float64Array)[at] as number;
        out[at] = exclusive ? before : total;
      }
    }
    return [out];
  },
  samples: (): Sample<CumsumAttrs>[] => [
    ...cases.map(([shape, axis], i) => ({
      inputs: [{ shape }],
      attrs: { axis, exclusive: i % 2 === 1, reverse: i % 4 > 1 },
    })),
    ...cases.map(([shape, axis], i) => ({
      inputs: [{ shape }],
      attrs: { axis, exclusive: i % 4 > 1, reverse: i % 2 === 0 },
    })),
    {
      inputs: [{ shape: [5, 40], dtype: "i32", range: [-9, 9] }],
      attrs: { axis: 1, exclusive: false, reverse: false },
    },
  ],
});

/**
 * Running sums along an axis: out[i] = x[0] + … + x[i]. f32 is summed in f64 and rounded once; bf16 and f16 are
 * summed as f32; u8 and bool give i32.
 *
 * @param x at least one dimension.
 * @param axis negative counts from the end. Default −1.
 * @returns x's shape.
 * @throws ShapeError when the axis is out of range.
 * @example
 * cumsum(tensor([1, 2, 3])).at(2); // 6
 * cumsum(tensor([1, 2, 3]), 0, { exclusive: true, reverse: true }).at(0); // 5
 */
export function cumsum(x: Tensor, axis = -1, options: CumsumOptions = {}): Tensor {
  checkTensor("cumsum", "x", x);
  checkOptions("cumsum", options, ["exclusive", "reverse"]);
  const { exclusive = false, reverse = false } = options;
  checkBoolean("cumsum", "exclusive", exclusive);
  checkBoolean("cumsum", "reverse", reverse);
  const attrs = { axis: resolveAxis("cumsum", axis, x.rank), exclusive, reverse };
  const whole = x.dtype === "u8" || x.dtype === "bool";
  return composed(() => applyOne(cumsumDef, [whole ? cast(x, "i32") : x], attrs));
}
