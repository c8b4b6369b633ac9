// Signs of what is also rounded to bf16, which has the range of f32, are those of the rounded numbers. Derivatives of ReLU and
// leaky ReLU ask for signs alone: the cast is then all that reads the result of f32, and what makes that stores it rounded.
// Positive numbers up to 2⁻¹³⁴ round to 0.

import { type Graph, rewriteGraph, type Value } from "../ir/graph.js";
import { castDef } from "../ops/cast.js";
import { constantOf } from "./fold.js";
import { castNode } from "./formats.js";

/** Compares with 0 what has been rounded to bf16 in place of what it was rounded from. */
export function signsOfRounded(graph: Graph): Graph {
  const rounded = new Map<Value, Value>();
  return rewriteGraph(graph, ({ def, attrs, outputs, path }, inputs, builder) => {
    const [x, zero] = inputs as [Value, ...Value[]];
    if (def === castDef && x.dtype === "f32" && attrs.dtype === "bf16") {
      const made = builder.node(def, inputs, attrs, outputs, path).outputs;
      rounded.set(x, made[0] as Value);
      return made;
    }
    const narrow = rounded.get(x);
    if (!narrow || !zero || !(def.name === "gt" || def.name === "le") || constantOf(zero) !== 0) return undefined;
    return builder.node(def, [castNode(builder, narrow, "f32", path), zero], attrs, outputs, path).outputs;
  });
}
