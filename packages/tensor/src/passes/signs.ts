// Signs of what is also rounded to bf16, which has the range of f32, are those of the rounded numbers. Derivatives of ReLU and
// leaky ReLU ask for signs alone: the cast is then all that reads the result of f32, and what makes that stores it rounded.
// Positive numbers up to 2⁻¹³⁴ round to 0, so that comparisons for anything else stay as they are.

import { type Graph, type Node, rewriteGraph, type Value } from "../ir/graph.js";
import { readersOf } from "../ir/readers.js";
import { castDef } from "../ops/cast.js";
import { derivativeOf } from "./derivatives.js";
import { castNode } from "./formats.js";

/** Compares with 0 what is rounded to bf16 in place of what it is rounded from, in derivatives of activations. */
export function signsOfRounded(graph: Graph): Graph {
  const readers = readersOf(graph);
  const isRounding = ({ def, attrs, inputs: [x] }: Node): boolean =>
    def === castDef && attrs.dtype === "bf16" && x?.dtype === "f32";
  const rounded = new Set(graph.nodes.filter(isRounding).map(({ inputs }) => inputs[0] as Value));
  const asksForSign = ({ inputs: [x], outputs: [sign] }: Node): boolean =>
    (readers.get(sign as Value) ?? []).every((reader) => {
      const derivative = reader?.inputs[0] === sign ? derivativeOf(reader?.outputs[0] as Value) : undefined;
      return derivative?.result === x && derivative?.cotangent !== x;
    });
  const narrow = new Map<Value, Value>();
  return rewriteGraph(graph, (node, inputs, builder) => {
    const { def, attrs, outputs, path } = node;
    const [own] = node.inputs;
    const [x, zero] = inputs;
    if (!own?.node || !x || !rounded.has(own)) return undefined;
    const isSign = zero !== undefined && (def.name === "gt" || def.name === "le") && asksForSign(node);
    if (!isSign && !isRounding(node)) return undefined;
    const cast = narrow.get(own) ?? castNode(builder, x, "bf16", path);
    narrow.set(own, cast);
    return isSign
      ? builder.node(def, [castNode(builder, cast, "f32", path), zero], attrs, outputs, path).outputs
      : [cast];
  });
}
