// Folding of constants: what can be computed once and for all, in the very bits that the device would give. Only
// operations that IEEE 754 rounds exactly are folded; a double holds their f32 results before the final rounding.

import { fullDef } from "../core/create.js";
import type { DType } from "../dtype.js";
import type { GraphBuilder, Node, Value } from "../ir/graph.js";

const exact: Readonly<Record<string, (a: number, b: number) => number>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  neg: (a) => -a,
  square: (a) => a * a,
  sqrt: (a) => Math.sqrt(a),
  cast: (a) => a,
};

const rounding: Readonly<Partial<Record<DType, (x: number) => number>>> = { f32: Math.fround, f64: (x) => x };

/** The number that a value is filled with, if it is a constant. */
export const constantOf = (value: Value | undefined): number | undefined =>
  value?.node?.def.lower.kind === "constant" ? Number(value.node.attrs.value) : undefined;

/** The constant that a node gives, if all that it reads is constant: as another constant. */
export function foldConstant(node: Node, inputs: readonly Value[], builder: GraphBuilder): Value | undefined {
  const output = node.outputs[0] as Value;
  if (node.def.effect !== "pure" || inputs.length === 0) return undefined;
  const round = rounding[output.dtype];
  const numbers = inputs.map((input) => {
    const number = constantOf(input);
    const roundInput = rounding[input.dtype];
    return number === undefined || !roundInput ? undefined : roundInput(number);
  });
  if (!round || numbers.includes(undefined)) return undefined;
  const [a, b] = numbers as [number, number];
  // A view of equal numbers shows equal numbers.
  const compute = node.def.lower.kind === "view" ? (x: number): number => x : exact[node.def.name];
  if (!compute) return undefined;
  const { shape, dtype } = output;
  return builder.node(fullDef, [], { shape: [...shape], value: round(compute(a, b)), dtype }, [output], node.path)
    .outputs[0];
}
