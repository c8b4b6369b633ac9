// Rows: reductions over long and short ones and down columns, places of extremes, running sums, orders, softmax
// and its logarithm; and draws of categories. The peer has each as one node where it has it.

import {
  argmax,
  cumsum,
  logSoftmax,
  max,
  rng,
  softmax,
  sort,
  sum,
  type Tensor,
  takeAlong,
  tensor,
  topk,
} from "@figment/tensor";
import { bytesPerFloat, type KernelCase, ourContestant, product, randomTensor, randomValues } from "../case.js";
import type { OnnxGraph } from "../onnx.js";

type Peer = (graph: { readonly shape: readonly number[] }) => OnnxGraph;

/** An op of one tensor; `written` numbers come out. */
function rowCase(
  op: string,
  name: string,
  shape: readonly number[],
  written: number,
  ours: (x: Tensor) => Tensor | readonly Tensor[],
  peer?: Peer,
): KernelCase {
  const count = product(shape);
  return {
    name: `${name} ${shape.join("×")}`,
    op,
    bytes: bytesPerFloat * (count + written),
    bound: "copy",
    ours() {
      const x = randomTensor(shape, 1);
      return ourContestant([x], () => ours(x));
    },
    ...(peer && { onnx: () => ({ graph: peer({ shape }), data: { x: randomValues(count, 1) } }) }),
  };
}

/** A graph of one node that takes x. */
const node =
  (op: string, outputs: readonly (readonly number[])[], ints: Record<string, number | readonly number[]>): Peer =>
  ({ shape }) => ({
    inputs: [{ name: "x", shape }],
    outputs: outputs.map((out, i) => ({ name: `y${i}`, shape: out })),
    nodes: [{ op, inputs: ["x"], outputs: outputs.map((_, i) => `y${i}`), ints }],
  });

const logits = [1024, 10] as const;
const table = [4096, 256] as const;
const vocabulary = [16, 50257] as const;
const largest = 40;
const [rows, cols] = table;

const sums: readonly KernelCase[] = [
  rowCase("reduce", "sum over rows", [65536, 10], 65536, (x) => sum(x, 1)),
  rowCase("reduce", "sum over rows", table, rows, (x) => sum(x, 1)),
  rowCase("reduce", "sum over columns", table, cols, (x) => sum(x, 0)),
  rowCase("reduce", "max over columns", table, cols, (x) => max(x, 0)),
];

const picked: KernelCase = {
  name: "takeAlong 4096×256 by 64",
  op: "takeAlong",
  bytes: bytesPerFloat * 3 * rows * 64,
  bound: "copy",
  ours() {
    const x = randomTensor(table, 1);
    const indices = tensor(
      Int32Array.from({ length: rows * 64 }, (_, i) => (i * 37) % cols),
      { shape: [rows, 64] },
    );
    return ourContestant([x, indices], () => takeAlong(x, indices));
  },
};

const drawn: KernelCase = {
  name: "categorical 16×50257",
  op: "randomCategorical",
  bytes: bytesPerFloat * product(vocabulary),
  bound: "copy",
  ours() {
    const random = rng(1);
    const x = randomTensor(vocabulary, 1);
    return ourContestant([random, x], () => random.categorical(x));
  },
};

export const rowCases: readonly KernelCase[] = [
  ...sums,
  rowCase("argReduce", "argmax", table, rows, (x) => argmax(x, 1)),
  rowCase("cumsum", "cumsum", table, product(table), (x) => cumsum(x)),
  rowCase("cumsum", "cumsum", [2 ** 22], 2 ** 22, (x) => cumsum(x)),
  rowCase(
    "logSoftmax",
    "logSoftmax",
    logits,
    product(logits),
    (x) => logSoftmax(x),
    node("LogSoftmax", [logits], { axis: -1 }),
  ),
  rowCase(
    "logSoftmax",
    "logSoftmax",
    table,
    product(table),
    (x) => logSoftmax(x),
    node("LogSoftmax", [table], { axis: -1 }),
  ),
  rowCase("softmax", "softmax", table, product(table), (x) => softmax(x), node("Softmax", [table], { axis: -1 })),
  rowCase("sort", "sort", table, 2 * product(table), (x) => Object.values(sort(x)) as Tensor[]),
  rowCase("sort", "sort", [2 ** 20], 2 ** 21, (x) => Object.values(sort(x)) as Tensor[]),
  rowCase(
    "sort",
    `topk ${largest} of`,
    vocabulary,
    2 * 16 * largest,
    (x) => Object.values(topk(x, largest)) as Tensor[],
  ),
  picked,
  drawn,
];
