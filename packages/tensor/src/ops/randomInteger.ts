// Random whole numbers in a range. philox.ts specifies the stream; Rng in core wraps the state.

import { apply } from "../core/apply.js";
import type { Tensor } from "../core/tensor.js";
import { ShapeError } from "../errors.js";
import type { Aval } from "../ir/graph.js";
import { checkShape, type Shape, show, sizeOf } from "../shape.js";
import { checkTensor, expectCount } from "./checks.js";
import { defineOp, nativeSchema, type OpDef, type Sample } from "./definition.js";
import { advancedState, integerStream } from "./philox.js";
import { expectState, stateSample, stateWords } from "./random.js";

const integerSchema = nativeSchema("randomInteger", { count: "i64", lo: "i64", hi: "i64" });

/** The shape of the sample, and the range [lo, hi). */
export type RandomIntegerAttrs = { readonly shape: Shape; readonly lo: number; readonly hi: number };

const [least, past] = [-(2 ** 31), 2 ** 31];
/** Words of the stream that a number takes. */
const wordsPerNumber = 2;

const cases: readonly (readonly [Shape, number, number])[] = [
  [[1], 0, 1],
  [[3], -5, 5],
  [[2, 17], 0, 1000],
  [[1000], least, past],
  [[4099], 1, 2 ** 31 - 1],
];

export const randomIntegerDef: OpDef<RandomIntegerAttrs> = defineOp<RandomIntegerAttrs>({
  name: "randomInteger",
  effect: "random",
  nondifferentiable: true,
  infer: (inputs, { shape, lo, hi }) => {
    const op = "randint";
    expectCount(op, inputs, 1);
    const state = inputs[0] as Aval;
    expectState(op, state);
    checkShape(op, shape);
    if (!Number.isInteger(lo) || !Number.isInteger(hi) || lo < least || hi > past || lo >= hi)
      throw new ShapeError(`${op}: expected integers −2³¹ ≤ lo < hi ≤ 2³¹, got ${show(lo)} and ${show(hi)}`);
    return [{ shape, dtype: "i32" }, state];
  },
  lower: {
    kind: "kernel",
    call: (_node, { shape, lo, hi }) => {
      const count = sizeOf(shape);
      return {
        schema: integerSchema,
        params: { count, lo, hi },
        inputs: [{ index: 0, dims: [stateWords] }],
        outputs: [
          { index: 0, dims: [count] },
          { index: 1, dims: [stateWords] },
        ],
      };
    },
  },
  inPlace: () => [[1, 0]],
  reference: ([state], _avals, { shape, lo, hi }) => [
    integerStream(state as Float64Array, sizeOf(shape), lo, hi),
    advancedState(state as Float64Array, wordsPerNumber * sizeOf(shape)),
  ],
  samples: (): Sample<RandomIntegerAttrs>[] =>
    cases.map(([shape, lo, hi]) => ({ inputs: [stateSample], attrs: { shape, lo, hi } })),
});

/**
 * Whole numbers in [lo, hi).
 *
 * @param state i32 [4]: key (low, high) and counter (low, high).
 * @returns the sample, i32 of `shape`, and the state after it.
 * @example
 * const [sample, next] = randomInteger(state, [2, 3], 0, 10);
 */
export function randomInteger(state: Tensor, shape: Shape, lo: number, hi: number): readonly [Tensor, Tensor] {
  checkTensor("randint", "state", state);
  checkShape("randint", shape);
  return apply(randomIntegerDef, [state], { shape: [...shape], lo, hi }) as readonly [Tensor, Tensor];
}
