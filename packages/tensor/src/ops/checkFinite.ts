// A check that stops a program before it changes anything: every element of the given values must be finite.

import { apply } from "../core/apply.js";
import { untaped } from "../core/tape.js";
import type { Tensor } from "../core/tensor.js";
import { isPlainObject } from "../core/tree.js";
import { isFloat } from "../dtype.js";
import { DTypeError, UsageError } from "../errors.js";
import { show } from "../shape.js";
import { checkTensor } from "./checks.js";
import { defineOp, nativeSchema, type OpDef } from "./definition.js";

const schema = nativeSchema("checkFinite", { count: "i32" }, true);

/** The names of the operands, for the message. */
export type CheckFiniteAttrs = { readonly names: readonly string[] };

const shapeSets = [[[1]], [[7], [3, 5], []], [[33, 65], [0, 4], [1000]], [[16_384], [16_385, 3]]];

export const checkFiniteDef: OpDef<CheckFiniteAttrs> = defineOp<CheckFiniteAttrs>({
  name: "checkFinite",
  effect: "check",
  nondifferentiable: true,
  infer: (inputs, { names }) => {
    inputs.forEach(({ dtype }, i) => {
      if (!isFloat(dtype)) throw new DTypeError(`checkFinite: ${names[i]} is ${dtype}, expected a float type`);
    });
    return [];
  },
  lower: {
    kind: "kernel",
    call: (node, { names }) => ({
      schema,
      params: { count: node.inputs.length },
      tail: new TextEncoder().encode(names.map((name) => `${name.replaceAll("\0", " ")}\0`).join("")),
      inputs: node.inputs.map(({ shape }, index) => ({ index, dims: shape })),
      outputs: [],
    }),
  },
  reference: () => [],
  samples: () =>
    shapeSets.map((shapes) => ({
      inputs: shapes.map((shape) => ({ shape })),
      attrs: { names: shapes.map((_, i) => `x${i}`) },
    })),
});

/**
 * Fails when an element of a tensor is NaN or infinite: inside a compiled function before any cell is written, so that
 * state is as it was, and whoever reads a result of the call gets the error; outside at the next read or `settled()`.
 * Costs one reading of the data.
 *
 * @param values tensors of float types, of any shapes, by the name that the error calls them.
 * @throws (later) NonFiniteError naming the first element that is not finite, in the order of the names.
 * @throws DTypeError for other types; UsageError for anything but an object of tensors.
 * @example
 * checkFinite({ temperatures: tensor([20.5, 21]) });
 * await settled();
 */
export function checkFinite(values: Readonly<Record<string, Tensor>>): void {
  if (!isPlainObject(values)) throw new UsageError(`checkFinite: expected an object of tensors, got ${show(values)}`);
  const names = Object.keys(values);
  for (const name of names) checkTensor("checkFinite", name, values[name] as Tensor);
  if (names.length > 0) untaped(() => apply(checkFiniteDef, Object.values(values), { names }));
}
