// Cross entropy of class scores, from logits: loss = log Σ exp(logits) − logits[label], with its gradient.

import { apply, applyOne, noAttrs } from "../core/apply.js";
import { arange } from "../core/create.js";
import { composed } from "../core/scope.js";
import type { Tensor } from "../core/tensor.js";
import { computeType } from "../dtype.js";
import { DTypeError, ShapeError } from "../errors.js";
import type { Attrs, Aval, Node } from "../ir/graph.js";
import { type Shape, showShape, sizeOf } from "../shape.js";
import { add, exp, log, mul, sub } from "./arithmetic.js";
import { cast } from "./cast.js";
import { checkTensor, expectCompute, expectCount, expectDType, expectShape } from "./checks.js";
import { eq, select } from "./comparison.js";
import { defineOp, type KernelCall, nativeSchema, type OpDef, type SampleInput } from "./definition.js";
import { reshape } from "./movement.js";
import { max, sum } from "./reduce.js";
import { softmax } from "./softmax.js";

const rowFields = { rows: "i64", cols: "i64" } as const;
const crossEntropySchema = nativeSchema("crossEntropy", rowFields);
const crossEntropyGradSchema = nativeSchema("crossEntropyGrad", rowFields);

function inferRows(op: string, logits: Aval, labels: Aval): Aval {
  const dtype = expectCompute(op, { logits });
  expectDType(op, "labels", labels, "i32");
  if (logits.shape.length < 1)
    throw new ShapeError(`${op}: logits must be [..., classes], got shape ${showShape(logits.shape)}`);
  const shape = logits.shape.slice(0, -1);
  expectShape(op, `labels for logits ${showShape(logits.shape)}`, labels, shape);
  if (logits.shape.at(-1) === 0 && sizeOf(shape) > 0)
    throw new ShapeError(`${op}: logits ${showShape(logits.shape)} have no classes`);
  return { shape, dtype };
}

function rowCall(schema: KernelCall["schema"], node: Node): KernelCall {
  const { shape } = node.inputs[0] as Aval;
  const [rows, cols] = [sizeOf(shape.slice(0, -1)), shape.at(-1) as number];
  const fold = (avals: readonly Aval[]) =>
    avals.map((aval, index) => ({ index, dims: aval.shape.length === shape.length ? [rows, cols] : [rows] }));
  return { schema, params: { rows, cols }, inputs: fold(node.inputs), outputs: fold(node.outputs) };
}

/** True where the class is the label: bool of the logits' shape. */
const isLabel = (logits: Tensor, labels: Tensor): Tensor =>
  eq(reshape(labels, [...labels.shape, 1]), arange(logits.dim(-1), "i32"));

/** Log-sum-exp and loss of each row in float64. */
function rowLosses(logits: Float64Array, labels: Float64Array, cols: number): [Float64Array, Float64Array] {
  const losses = new Float64Array(labels.length);
  const lse = losses.map((_, r) => {
    const row = logits.subarray(r * cols, (r + 1) * cols);
    const highest = row.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
    return highest + Math.log(row.reduce((total, x) => total + Math.exp(x - highest), 0));
  });
  for (let r = 0; r < losses.length; r++)
    losses[r] = (lse[r] as number) - (logits[r * cols + (labels[r] as number)] as number);
  return [losses, lse];
}

const shapes: readonly Shape[] = [[1, 1], [3, 5], [7, 10], [2, 3, 4], [6], [33, 129], [3, 1000], [1021, 10]];

const primalSamples = (shape: Shape): SampleInput[] => [
  { shape },
  { shape: shape.slice(0, -1), dtype: "i32", range: [0, shape.at(-1) as number] },
];

export const crossEntropyDef: OpDef<Attrs> = defineOp<Attrs>({
  name: "crossEntropy",
  effect: "pure",
  residuals: [1],
  canFail: true,
  infer: (inputs) => {
    expectCount("crossEntropy", inputs, 2);
    const [logits, labels] = inputs as readonly [Aval, Aval];
    const row = inferRows("crossEntropy", logits, labels);
    return [row, { ...row, dtype: computeType(row.dtype) }];
  },
  vjp: ({ inputs, outputs, cotangent }) => [
    applyOne(crossEntropyGradDef, [...inputs, outputs[1] as Tensor, cotangent()], noAttrs),
  ],
  decompose: ([logits, labels]) => {
    const highest = max(logits as Tensor, -1, { keepDims: true }).alias();
    const total = log(sum(exp(sub(logits as Tensor, highest)), -1));
    const lse = add(total, reshape(highest, total.shape));
    const picked = sum(select(isLabel(logits as Tensor, labels as Tensor), logits as Tensor, 0), -1);
    return [sub(lse, picked), lse];
  },
  lower: { kind: "kernel", halves: true, call: (node) => rowCall(crossEntropySchema, node) },
  reference: ([logits, labels], [aval]) =>
    rowLosses(logits as Float64Array, labels as Float64Array, (aval as Aval).shape.at(-1) as number),
  samples: () => shapes.map((shape) => ({ inputs: primalSamples(shape), attrs: noAttrs })),
});

/** dlogits = (softmax(logits) − onehot(label)) · dloss; the row log-sum-exp is a hint. */
export const crossEntropyGradDef: OpDef<Attrs> = defineOp<Attrs>({
  name: "crossEntropyGrad",
  effect: "pure",
  canFail: true,
  hints: [2],
  infer: (inputs) => {
    const op = "crossEntropyGrad";
    expectCount(op, inputs, 4);
    const [logits, labels, lse, dloss] = inputs as readonly [Aval, Aval, Aval, Aval];
    const row = inferRows(op, logits, labels);
    expectCompute(op, { logits, dloss });
    expectDType(op, "lse", lse, computeType(row.dtype));
    expectShape(op, "lse", lse, row.shape);
    expectShape(op, "dloss", dloss, row.shape);
    return [{ shape: logits.shape, dtype: row.dtype }];
  },
  decompose: ([logits, labels, , dloss]) => {
    const excess = sub(
      softmax(logits as Tensor),
      cast(isLabel(logits as Tensor, labels as Tensor), (logits as Tensor).dtype),
    );
    return [mul(excess, reshape(dloss as Tensor, [...(dloss as Tensor).shape, 1]))];
  },
  lower: { kind: "kernel", halves: true, call: (node) => rowCall(crossEntropyGradSchema, node) },
  inPlace: () => [[0, 0]],
  reference: ([logits, labels, lse, dloss], [aval]) => {
    const cols = (aval as Aval).shape.at(-1) as number;
    return [
      (logits as Float64Array).map((x, i) => {
        const r = Math.floor(i / cols);
        const probability = Math.exp(x - ((lse as Float64Array)[r] as number));
        return (
          (probability - Number((labels as Float64Array)[r] === i % cols)) * ((dloss as Float64Array)[r] as number)
        );
      }),
    ];
  },
  samples: () =>
    shapes.map((shape) => {
      const row = shape.slice(0, -1);
      const lse: SampleInput = {
        shape: row,
        derive: (inputs) => apply(crossEntropyDef, inputs.slice(0, 2), noAttrs)[1] as Tensor,
      };
      return { inputs: [...primalSamples(shape), lse, { shape: row }], attrs: noAttrs };
    }),
});

/**
 * Cross entropy of each row: −log softmax(logits)[label], computed without overflow.
 *
 * @param logits [..., classes], of a float type.
 * @param labels [...], i32, each in [0, classes).
 * @returns the loss of each row, [...]; take its mean for a training loss.
 * @throws ShapeError when labels do not fit the logits; DTypeError when they are not integers. A label out of range
 * makes reading the result fail with code ERR_FIGMENT_INDEX.
 * @example
 * mean(crossEntropy(zeros([2, 10]), tensor(Int32Array.of(3, 7)))); // 2.302585
 */
export function crossEntropy(logits: Tensor, labels: Tensor): Tensor {
  checkTensor("crossEntropy", "logits", logits);
  checkTensor("crossEntropy", "labels", labels);
  if (labels.dtype !== "i32" && labels.dtype !== "u8") {
    throw new DTypeError(
      `crossEntropy: labels must be i32, got ${labels.dtype} ${showShape(labels.shape)}: cast them first`,
    );
  }
  return composed(() => {
    const classes = labels.dtype === "u8" ? cast(labels, "i32") : labels;
    return apply(crossEntropyDef, [logits, classes], noAttrs)[0] as Tensor;
  });
}
