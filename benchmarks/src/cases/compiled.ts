// Contestants that are compiled: backward passes, which eager calls would spread over several programs.

import { compile, grad, type Tensor } from "@figment/tensor";
import { ourContestant, randomTensor } from "../case.js";
import type { Contestant } from "../race.js";

/** A compiled function of tensors, which the contestant frees with them. */
export function compiledContestant(
  inputs: readonly Tensor[],
  operation: (...inputs: Tensor[]) => Tensor | readonly Tensor[],
): Contestant {
  const step = compile((...given: Tensor[]) => operation(...given));
  return ourContestant([...inputs, step], () => step(...inputs));
}

/** A compiled function of one tensor that captures the others, as inference has weights. */
export function capturingContestant(
  input: Tensor,
  captured: readonly Tensor[],
  operation: (input: Tensor) => Tensor,
): Contestant {
  const step = compile(operation);
  return ourContestant([input, step, ...captured], () => step(input));
}

/** The derivative of sum(f(…) · direction) with respect to the first input: what a layer's backward pass computes. */
export function backwardContestant(
  shapes: readonly (readonly number[])[],
  f: (...inputs: Tensor[]) => Tensor,
  result: readonly number[],
): Contestant {
  const inputs = [...shapes, result].map((shape, i) => randomTensor(shape, i + 1));
  return compiledContestant(inputs, (...given) => {
    const [x, ...others] = given.slice(0, -1) as [Tensor, ...Tensor[]];
    const direction = given.at(-1) as Tensor;
    return grad((first: Tensor) =>
      f(first, ...others)
        .mul(direction)
        .sum(),
    )(x);
  });
}
