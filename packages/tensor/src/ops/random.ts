// Random draws: functions of a state (key and counter) that give numbers and the state after them. The
// same bits on every machine and thread count. philox.ts specifies the stream; Rng in core wraps the state.

import { apply } from "../core/apply.js";
import type { Tensor } from "../core/tensor.js";
import type { Aval } from "../ir/graph.js";
import { checkShape, type Shape, sizeOf } from "../shape.js";
import { checkTensor, expectCount, expectDType, expectShape } from "./checks.js";
import { defineOp, nativeSchema, type OpDef, type Sample } from "./definition.js";
import { advancedState, normalStream, uniformStream } from "./philox.js";

const schemas = {
  randomUniform: nativeSchema("randomUniform", { count: "i64" }),
  randomNormal: nativeSchema("randomNormal", { count: "i64" }),
};

/** The shape of the sample. */
export type RandomAttrs = { readonly shape: Shape };

/** Words of a state: key low, key high, counter low, counter high. */
export const stateWords = 4;

/** Checks a random state among the operands of a shape rule. */
export function expectState(op: string, state: Aval): void {
  expectDType(op, "state", state, "i32");
  expectShape(op, "state", state, [stateWords]);
}

/** A state as a sample's input; any words are a valid key and counter. */
export const stateSample = { shape: [stateWords], dtype: "i32", range: [-(2 ** 31), 2 ** 31] } as const;

const randomSamples = (): Sample<RandomAttrs>[] =>
  [[1], [3], [8], [2, 17], [5, 7, 3], [1000], [4099]].map((shape) => ({ inputs: [stateSample], attrs: { shape } }));

function randomDef(
  name: "randomUniform" | "randomNormal",
  stream: (state: ArrayLike<number>, count: number) => Float64Array,
): OpDef<RandomAttrs> {
  return defineOp<RandomAttrs>({
    name,
    effect: "random",
    nondifferentiable: true,
    infer: (inputs, { shape }) => {
      expectCount(name, inputs, 1);
      const state = inputs[0] as Aval;
      expectState(name, state);
      checkShape(name, shape);
      return [{ shape, dtype: "f32" }, state];
    },
    lower: {
      kind: "kernel",
      call: (_node, { shape }) => {
        const count = sizeOf(shape);
        return {
          schema: schemas[name],
          params: { count },
          inputs: [{ index: 0, dims: [stateWords] }],
          outputs: [
            { index: 0, dims: [count] },
            { index: 1, dims: [stateWords] },
          ],
        };
      },
    },
    inPlace: () => [[1, 0]],
    reference: ([state], _avals, { shape }) => [
      stream(state as Float64Array, sizeOf(shape)),
      advancedState(state as Float64Array, sizeOf(shape)),
    ],
    samples: randomSamples,
  });
}

export const randomUniformDef = randomDef("randomUniform", uniformStream);
export const randomNormalDef = randomDef("randomNormal", normalStream);

function draw(def: OpDef<RandomAttrs>, state: Tensor, shape: Shape): readonly [Tensor, Tensor] {
  checkTensor(def.name, "state", state);
  checkShape(def.name, shape);
  return apply(def, [state], { shape: [...shape] }) as readonly [Tensor, Tensor];
}

/**
 * Uniform numbers in [0, 1), multiples of 2⁻²⁴.
 *
 * @param state i32 [4]: key (low, high) and counter (low, high).
 * @returns the sample, f32 of `shape`, and the state after it.
 * @example
 * const [sample, next] = randomUniform(state, [2, 3]);
 */
export const randomUniform = (state: Tensor, shape: Shape): readonly [Tensor, Tensor] =>
  draw(randomUniformDef, state, shape);

/**
 * Standard normal numbers.
 *
 * @param state i32 [4]: key (low, high) and counter (low, high).
 * @returns the sample, f32 of `shape`, and the state after it.
 * @example
 * const [sample, next] = randomNormal(state, [2, 3]);
 */
export const randomNormal = (state: Tensor, shape: Shape): readonly [Tensor, Tensor] =>
  draw(randomNormalDef, state, shape);
