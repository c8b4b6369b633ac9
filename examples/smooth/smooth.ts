// The operation of smooth.cpp for TypeScript: shape rule, derivative, specification and samples.

import {
  type Aval,
  applyOne,
  DTypeError,
  defineOp,
  loadKernels,
  nativeSchema,
  type OpDef,
  type Shape,
  ShapeError,
  showShape,
  type Tensor,
  UsageError,
} from "@figment/tensor";

/** Opens the library that smooth.cpp was built into; once, before the first call. */
export const loadSmooth = (path: string): void => void loadKernels(path);

export const smoothSchema = nativeSchema("smooth", { rows: "i64", cols: "i64", decay: "f64", reverse: "i32" });

type SmoothAttrs = { readonly decay: number; readonly reverse: boolean };

const sizes = (shape: Shape): { rows: number; cols: number } => ({
  rows: shape.slice(0, -1).reduce((a, b) => a * b, 1),
  cols: shape.at(-1) as number,
});

export const smoothDef: OpDef<SmoothAttrs> = defineOp<SmoothAttrs>({
  name: "smooth",
  effect: "pure",
  infer: (inputs) => {
    const { shape, dtype } = inputs[0] as Aval;
    if (shape.length === 0) throw new ShapeError(`smooth: expected [..., T], got shape ${showShape(shape)}`);
    if (dtype !== "f32" && dtype !== "f64") throw new DTypeError(`smooth: expected f32 or f64, got ${dtype}`);
    return [{ shape, dtype }];
  },
  // The map is linear, and its transpose is the same recurrence from the other end.
  vjp: ({ attrs, cotangent }) => [applyOne(smoothDef, [cotangent()], { ...attrs, reverse: !attrs.reverse })],
  lower: {
    kind: "kernel",
    call: ({ inputs }, { decay, reverse }) => {
      const { rows, cols } = sizes((inputs[0] as Aval).shape);
      const operand = { index: 0, dims: [rows, cols] };
      return {
        schema: smoothSchema,
        params: { rows, cols, decay, reverse: reverse ? 1 : 0 },
        inputs: [operand],
        outputs: [operand],
      };
    },
  },
  inPlace: () => [[0, 0]],
  reference: ([x], [aval], { decay, reverse }) => {
    const { rows, cols } = sizes((aval as Aval).shape);
    const out = new Float64Array(rows * cols);
    for (let r = 0; r < rows; r++) {
      let state = 0;
      for (let i = 0; i < cols; i++) {
        const at = r * cols + (reverse ? cols - 1 - i : i);
        state = decay * state + (1 - decay) * ((x as Float64Array)[at] as number);
        out[at] = state;
      }
    }
    return [out];
  },
  samples: () =>
    [[1], [7], [3, 5], [2, 3, 4], [33, 129]].flatMap((shape) =>
      [false, true].map((reverse) => ({ inputs: [{ shape }], attrs: { decay: 0.8, reverse } })),
    ),
});

/**
 * Exponential smoothing along the last axis: y[t] = decay·y[t−1] + (1−decay)·x[t].
 *
 * @param x [..., T], f32 or f64.
 * @param decay in [0, 1).
 */
export function smooth(x: Tensor, decay: number): Tensor {
  if (!(decay >= 0 && decay < 1)) throw new UsageError(`smooth: decay is ${decay}; expected a number in [0, 1)`);
  return applyOne(smoothDef, [x], { decay, reverse: false });
}
