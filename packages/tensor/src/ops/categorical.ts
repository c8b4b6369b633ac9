// Draws of categories with the probabilities of softmax, by inversion: the first place where the running sum of the
// weights passes a uniform number times their total. The kernels compute weights by one polynomial and add them in one
// order, so that every machine draws the same. Rng in core wraps the state.

import { apply } from "../core/apply.js";
import { composed } from "../core/scope.js";
import type { Tensor } from "../core/tensor.js";
import { isFloat } from "../dtype.js";
import { DTypeError, ShapeError } from "../errors.js";
import type { Aval } from "../ir/graph.js";
import { checkShape, type Shape, showShape, sizeOf } from "../shape.js";
import { cast } from "./cast.js";
import { checkTensor, expectCount, expectDType } from "./checks.js";
import { defineOp, nativeSchema, type OpDef, type Sample } from "./definition.js";
import { advancedState, fineUniformStream } from "./philox.js";
import { expectState, type RandomAttrs, stateSample, stateWords } from "./random.js";

const categoricalSchema = nativeSchema("randomCategorical", { rows: "i64", cols: "i64", draws: "i64" });

/** Words of the stream that a draw takes. */
const wordsPerDraw = 2;

const cases: readonly (readonly [Shape, Shape])[] = [
  [[1], []],
  [[7], []],
  [[3, 10], []],
  [[2, 3, 40], [2]],
  [[5, 1000], [3]],
  [[2, 5003], [7]],
  [[1, 300], [4001]],
];

export const randomCategoricalDef: OpDef<RandomAttrs> = defineOp<RandomAttrs>({
  name: "randomCategorical",
  effect: "random",
  nondifferentiable: true,
  canFail: true,
  infer: (inputs, { shape }) => {
    const op = "categorical";
    expectCount(op, inputs, 2);
    const [logits, state] = inputs as readonly [Aval, Aval];
    expectDType(op, "logits", logits, "f32");
    expectState(op, state);
    if (logits.shape.length < 1)
      throw new ShapeError(`${op}: logits must be [..., categories], got shape ${showShape(logits.shape)}`);
    if (logits.shape.at(-1) === 0) throw new ShapeError(`${op}: logits ${showShape(logits.shape)} have no categories`);
    const drawn = [...shape, ...logits.shape.slice(0, -1)];
    checkShape(op, drawn);
    return [{ shape: drawn, dtype: "i32" }, state];
  },
  lower: {
    kind: "kernel",
    call: (node, { shape }) => {
      const logits = (node.inputs[0] as Aval).shape;
      const [draws, rows, cols] = [sizeOf(shape), sizeOf(logits.slice(0, -1)), logits.at(-1) as number];
      return {
        schema: categoricalSchema,
        params: { rows, cols, draws },
        inputs: [
          { index: 0, dims: [rows, cols] },
          { index: 1, dims: [stateWords] },
        ],
        outputs: [
          { index: 0, dims: [draws, rows] },
          { index: 1, dims: [stateWords] },
        ],
      };
    },
  },
  inPlace: () => [[1, 1]],
  reference: ([logits, state], [aval], { shape }) => {
    const cols = (aval as Aval).shape.at(-1) as number;
    const rows = (logits as Float64Array).length / cols;
    const sample = fineUniformStream(state as Float64Array, sizeOf(shape) * rows).map((u, e) => {
      const start = (e % rows) * cols;
      const row = (logits as Float64Array).subarray(start, start + cols);
      const highest = row.reduce((a, b) => Math.max(a, b));
      const weights = row.map((x) => Math.exp(x - highest));
      const target = u * weights.reduce((a, b) => a + b, 0);
      let running = 0;
      return weights.findIndex((weight) => {
        running += weight;
        return running > target;
      });
    });
    return [sample, advancedState(state as Float64Array, wordsPerDraw * sample.length)];
  },
  samples: (): Sample<RandomAttrs>[] =>
    cases.map(([logits, shape]) => ({ inputs: [{ shape: logits, dtype: "f32" }, stateSample], attrs: { shape } })),
});

/**
 * Categories drawn with probabilities softmax(logits).
 *
 * @param logits [..., C] of a float type; computed in f32.
 * @param state i32 [4]: key (low, high) and counter (low, high).
 * @param shape of the independent draws for each row.
 * @returns the sample, i32 [...shape, ...], and the state after it.
 * @example
 * const [sample, next] = randomCategorical(zeros([2, 3]), state, [5]);
 */
export function randomCategorical(logits: Tensor, state: Tensor, shape: Shape): readonly [Tensor, Tensor] {
  checkTensor("categorical", "logits", logits);
  checkTensor("categorical", "state", state);
  checkShape("categorical", shape);
  if (!isFloat(logits.dtype))
    throw new DTypeError(`categorical: logits must be floats, got ${logits.dtype} ${showShape(logits.shape)}`);
  return composed(() => {
    const [sample, next] = apply(randomCategoricalDef, [cast(logits, "f32"), state], { shape: [...shape] });
    return [sample as Tensor, next as Tensor] as const;
  });
}
