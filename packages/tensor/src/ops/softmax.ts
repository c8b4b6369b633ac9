// Softmax over the last axis and its logarithm, with their gradients.

import { applyOne, noAttrs } from "../core/apply.js";
import type { Tensor } from "../core/tensor.js";
import { ShapeError } from "../errors.js";
import type { Attrs, Aval, Node } from "../ir/graph.js";
import { type Shape, showShape, sizeOf } from "../shape.js";
import { div, exp, log, mul, sub } from "./arithmetic.js";
import { checkTensor, expectCompute, expectCount, expectShape, type StoreAttrs } from "./checks.js";
import { defineOp, type KernelCall, nativeSchema, type OpDef } from "./definition.js";
import { max, sum } from "./reduce.js";

const rowFields = { rows: "i64", cols: "i64" } as const;
const softmaxSchema = nativeSchema("softmax", rowFields);
const softmaxGradSchema = nativeSchema("softmaxGrad", rowFields);
const logSoftmaxSchema = nativeSchema("logSoftmax", rowFields);
const logSoftmaxGradSchema = nativeSchema("logSoftmaxGrad", rowFields);

const lastAxis = { keepDims: true } as const;

const rowsOf = (shape: Shape): { rows: number; cols: number } => ({
  rows: sizeOf(shape.slice(0, -1)),
  cols: shape.at(-1) as number,
});

function expectRows(op: string, { shape }: Aval): void {
  if (shape.length < 1) throw new ShapeError(`${op}: expected [..., C], got shape ${showShape(shape)}`);
}

function rowCall(schema: KernelCall["schema"], node: Node): KernelCall {
  const { rows, cols } = rowsOf((node.inputs[0] as Aval).shape);
  const fold = (avals: readonly Aval[]) => avals.map((_, index) => ({ index, dims: [rows, cols] }));
  return { schema, params: { rows, cols }, inputs: fold(node.inputs), outputs: fold(node.outputs) };
}

function inferGrad(op: string, inputs: readonly Aval[]): Aval[] {
  expectCount(op, inputs, 2);
  const [y, dy] = inputs as readonly [Aval, Aval];
  const dtype = expectCompute(op, { y, dy });
  expectRows(op, y);
  expectShape(op, "dy", dy, y.shape);
  return [{ shape: y.shape, dtype }];
}

/** x minus its row maxima, which no derivative needs to follow: softmax does not change under shifts. */
const shifted = (x: Tensor): Tensor => sub(x, max(x, -1, lastAxis).alias());

/** Applies a float64 function to each row. */
function eachRow(shape: Shape, row: (start: number, end: number) => void): void {
  const { rows, cols } = rowsOf(shape);
  for (let r = 0; r < rows; r++) row(r * cols, (r + 1) * cols);
}

const shapes: readonly Shape[] = [[1], [7], [3, 1], [2, 3, 5], [4, 17], [33, 129], [5, 1000], [3, 5003], [1021, 10]];

export const softmaxDef: OpDef<StoreAttrs> = defineOp<StoreAttrs>({
  name: "softmax",
  effect: "pure",
  infer: (inputs, { result }) => {
    expectCount("softmax", inputs, 1);
    const x = inputs[0] as Aval;
    expectRows("softmax", x);
    const dtype = expectCompute("softmax", { x });
    return [{ shape: x.shape, dtype: result ?? dtype }];
  },
  vjp: ({ outputs, cotangent }) => [applyOne(softmaxGradDef, [outputs[0] as Tensor, cotangent()], noAttrs)],
  decompose: ([x]) => {
    const weights = exp(shifted(x as Tensor));
    return [div(weights, sum(weights, -1, lastAxis))];
  },
  lower: { kind: "kernel", halves: true, call: (node) => rowCall(softmaxSchema, node) },
  stores: true,
  reference: ([x], [aval]) => {
    const out = new Float64Array((x as Float64Array).length);
    eachRow((aval as Aval).shape, (start, end) => {
      const row = (x as Float64Array).subarray(start, end);
      const highest = row.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
      const weights = row.map((value) => Math.exp(value - highest));
      const total = weights.reduce((a, b) => a + b, 0);
      out.set(
        weights.map((weight) => weight / total),
        start,
      );
    });
    return [out];
  },
  samples: () => shapes.map((shape) => ({ inputs: [{ shape }], attrs: noAttrs })),
});

/** dx = y·(dy − Σ y·dy), from softmax's result y. */
export const softmaxGradDef: OpDef<Attrs> = defineOp<Attrs>({
  name: "softmaxGrad",
  effect: "pure",
  infer: (inputs) => inferGrad("softmaxGrad", inputs),
  decompose: ([y, dy]) => [mul(y as Tensor, sub(dy as Tensor, sum(mul(y as Tensor, dy as Tensor), -1, lastAxis)))],
  lower: { kind: "kernel", halves: true, call: (node) => rowCall(softmaxGradSchema, node) },
  reference: ([y, dy], [aval]) => {
    const out = new Float64Array((y as Float64Array).length);
    eachRow((aval as Aval).shape, (start, end) => {
      let inner = 0;
      for (let i = start; i < end; i++)
        inner += ((y as Float64Array)[i] as number) * ((dy as Float64Array)[i] as number);
      for (let i = start; i < end; i++)
        out[i] = ((y as Float64Array)[i] as number) * (((dy as Float64Array)[i] as number) - inner);
    });
    return [out];
  },
  samples: () => shapes.map((shape) => ({ inputs: [{ shape, range: [0, 1] }, { shape }], attrs: noAttrs })),
});

export const logSoftmaxDef: OpDef<Attrs> = defineOp<Attrs>({
  name: "logSoftmax",
  effect: "pure",
  infer: (inputs) => {
    expectCount("logSoftmax", inputs, 1);
    const x = inputs[0] as Aval;
    expectRows("logSoftmax", x);
    return [{ shape: x.shape, dtype: expectCompute("logSoftmax", { x }) }];
  },
  vjp: ({ outputs, cotangent }) => [applyOne(logSoftmaxGradDef, [outputs[0] as Tensor, cotangent()], noAttrs)],
  decompose: ([x]) => {
    const centred = shifted(x as Tensor);
    return [sub(centred, log(sum(exp(centred), -1, lastAxis)))];
  },
  lower: { kind: "kernel", halves: true, call: (node) => rowCall(logSoftmaxSchema, node) },
  inPlace: () => [[0, 0]],
  reference: ([x], [aval]) => {
    const out = new Float64Array((x as Float64Array).length);
    eachRow((aval as Aval).shape, (start, end) => {
      const row = (x as Float64Array).subarray(start, end);
      const highest = row.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
      const logTotal = Math.log(row.reduce((total, value) => total + Math.exp(value - highest), 0));
      out.set(
        row.map((value) => value - highest - logTotal),
        start,
      );
    });
    return [out];
  },
  samples: () => shapes.map((shape) => ({ inputs: [{ shape }], attrs: noAttrs })),
});

/** dx = dy − exp(y)·Σ dy, from logSoftmax's result y. */
export const logSoftmaxGradDef: OpDef<Attrs> = defineOp<Attrs>({
  name: "logSoftmaxGrad",
  effect: "pure",
  infer: (inputs) => inferGrad("logSoftmaxGrad", inputs),
  decompose: ([y, dy]) => [sub(dy as Tensor, mul(exp(y as Tensor), sum(dy as Tensor, -1, lastAxis)))],
  lower: { kind: "kernel", halves: true, call: (node) => rowCall(logSoftmaxGradSchema, node) },
  inPlace: () => [
    [0, 0],
    [0, 1],
  ],
  reference: ([y, dy], [aval]) => {
    const out = new Float64Array((y as Float64Array).length);
    eachRow((aval as Aval).shape, (start, end) => {
      const total = (dy as Float64Array).subarray(start, end).reduce((a, b) => a + b, 0);
      for (let i = start; i < end; i++)
        out[i] = ((dy as Float64Array)[i] as number) - Math.exp((y as Float64Array)[i] as number) * total;
    });
    return [out];
  },
  samples: () => shapes.map((shape) => ({ inputs: [{ shape, range: [-4, 0] }, { shape }], attrs: noAttrs })),
});

/**
 * exp(x) / Σ exp(x) over the last axis, computed without overflow.
 *
 * @param x [..., C], of a float type.
 * @returns x's shape; each row is positive and sums to 1.
 * @throws ShapeError for a tensor without dimensions; DTypeError for other types.
 * @example
 * softmax(tensor([0, Math.log(3)])); // [0.25, 0.75]
 */
export function softmax(x: Tensor): Tensor {
  checkTensor("softmax", "x", x);
  return applyOne(softmaxDef, [x], noAttrs);
}

/**
 * log(softmax(x)) over the last axis, computed without overflow or cancellation.
 *
 * @param x [..., C], of a float type.
 * @returns x's shape; a row of nothing but −∞ gives NaN.
 * @throws ShapeError for a tensor without dimensions; DTypeError for other types.
 * @example
 * logSoftmax(tensor([0, 0])).at(1); // -0.693147
 */
export function logSoftmax(x: Tensor): Tensor {
  checkTensor("logSoftmax", "x", x);
  return applyOne(logSoftmaxDef, [x], noAttrs);
}
