// What training does besides its network: updates of parameters and averages, the norm of all gradients, the check
// for finite numbers, the loss of a classifier. The peer trains nothing.

import {
  adamUpdate,
  Cell,
  checkFinite,
  crossEntropy,
  emaUpdate,
  grad,
  rmspropUpdate,
  scope,
  sgdUpdate,
  sumSquares,
  type Tensor,
  tensor,
} from "@figment/tensor";
import { bytesPerFloat, type KernelCase, ourContestant, product, randomTensor, randomValues } from "../case.js";
import type { Contestant } from "../race.js";
import { compiledContestant } from "./compiled.js";

/** The parameters of a small network: large matrices among short vectors. */
const shapes = [[1024, 1024], [1024], [512, 3, 3, 128], [512], [64, 64], [64]] as const;
const parameters = shapes.reduce((sum, shape) => sum + product(shape), 0);
const size = `${(parameters / 1e6).toFixed(1)} M parameters`;
const update = { lr: 1e-3, gradScale: 1, weightDecay: 0.01 } as const;

const cellsOf = (seed: number): Cell[] =>
  shapes.map((shape, i) => {
    // Second moments are positive.
    const initial = (): Float32Array => randomValues(product(shape), seed + i).map(Math.abs);
    return new Cell({ shape, name: `benchmark.${i}`, initial });
  });

/** A case that reads and writes so many numbers for each parameter. */
function updateCase(op: string, name: string, numbers: number, ours: () => Contestant): KernelCase {
  return { name: `${name}, ${size}`, op, bytes: numbers * bytesPerFloat * parameters, bound: "copy", ours };
}

type Step = (cells: readonly Cell[], grads: readonly Tensor[], states: readonly (readonly Cell[])[]) => void;

/** An update of cells with `count` states. */
const stepped = (count: number, step: Step) => (): Contestant => {
  const cells = cellsOf(1);
  const grads = shapes.map((shape, i) => randomTensor(shape, 10 + i));
  const states = Array.from({ length: count }, (_, s) => cellsOf(20 + s));
  return ourContestant([...cells, ...grads, ...states.flat()], () => {
    step(cells, grads, states);
    return [];
  });
};

const gradientsOnly = (operation: (grads: readonly Tensor[]) => readonly Tensor[]) => (): Contestant => {
  const grads = shapes.map((shape, i) => randomTensor(shape, 10 + i));
  return ourContestant(grads, () => operation(grads));
};

const updates: readonly KernelCase[] = [
  updateCase(
    "adam",
    "adam",
    7,
    stepped(2, (cells, grads, [m, v]) => adamUpdate({ ...update, cells, grads, m: m!, v: v!, step: 3 })),
  ),
  updateCase(
    "sgd",
    "sgd, momentum",
    5,
    stepped(1, (cells, grads, [buffers]) => sgdUpdate({ ...update, cells, grads, momentum: 0.9, buffers: buffers! })),
  ),
  updateCase(
    "rmsprop",
    "rmsprop",
    5,
    stepped(1, (cells, grads, [squares]) =>
      rmspropUpdate({ ...update, cells, grads, alpha: 0.99, eps: 1e-8, squares: squares! }),
    ),
  ),
  updateCase(
    "emaUpdate",
    "moving average",
    3,
    stepped(0, (cells, grads) => emaUpdate(0.999, cells, grads)),
  ),
  updateCase(
    "sumSquares",
    "sum of squares",
    1,
    gradientsOnly((grads) => [sumSquares(grads)]),
  ),
  updateCase(
    "checkFinite",
    "checkFinite",
    1,
    gradientsOnly((grads) => {
      scope(() => checkFinite(Object.fromEntries(grads.map((gradient, i) => [String(i), gradient]))));
      return [];
    }),
  ),
];

const [rows, classes] = [4096, 1000] as const;

const labels = (): Tensor => tensor(Int32Array.from({ length: rows }, (_, i) => (i * 37) % classes));

const losses: readonly KernelCase[] = [
  {
    name: `crossEntropy ${rows}×${classes}`,
    op: "crossEntropy",
    bytes: bytesPerFloat * rows * classes,
    bound: "copy",
    ours() {
      const inputs = [randomTensor([rows, classes], 1), labels()] as const;
      return ourContestant(inputs, () => crossEntropy(...inputs));
    },
  },
  {
    name: `crossEntropy ${rows}×${classes} forward+backward`,
    op: "crossEntropyGrad",
    bytes: 3 * bytesPerFloat * rows * classes,
    bound: "copy",
    ours: () =>
      compiledContestant([randomTensor([rows, classes], 1), labels()], (x, y) =>
        grad((logits: Tensor) => crossEntropy(logits, y as Tensor).sum())(x as Tensor),
      ),
  },
];

export const trainingCases: readonly KernelCase[] = [...updates, ...losses];
