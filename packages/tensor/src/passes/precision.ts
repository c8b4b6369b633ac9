// Mixed precision: nodes that ask for precision "bf16" get f32 factors rounded to bf16; sums, biases and results stay
// f32. Rounding is a cast that is there to be seen; regions take it into the store of the value. Nodes that ask for "fast"
// or "tf32" keep asking, for their kernels are told; those with other factors than f32 are at "highest".

import { precisionOf } from "../core/precision.js";
import { type Graph, type GraphBuilder, rewriteGraph, type Value } from "../ir/graph.js";
import { castDef } from "../ops/cast.js";
import { sizeOf } from "../shape.js";

/** Rounds the factors of products as the precision that their nodes ask for says. */
export function mixPrecision(graph: Graph): Graph {
  const narrow = new Map<Value, Value>();
  return rewriteGraph(graph, ({ def, attrs, outputs, path }, inputs, builder) => {
    const precision = precisionOf(attrs);
    if (precision === "highest") return undefined;
    const factors = def.factors ?? [];
    const single = factors.every((i) => inputs[i]?.dtype === "f32");
    if (single && precision !== "bf16") return undefined;
    const { precision: _, ...rest } = attrs;
    if (!single) return builder.node(def, inputs, rest, outputs, path).outputs;
    const operands = inputs.map((value, i) => (factors.includes(i) ? rounded(value, path, builder, narrow) : value));
    return builder.node(def, operands, { ...rest, result: "f32" }, outputs, path).outputs;
  });
}

/** The value in bf16, made once. Views that do not shrink are taken of the rounded value, so that it is stored as bf16. */
function rounded(value: Value, path: string, builder: GraphBuilder, narrow: Map<Value, Value>): Value {
  const known = narrow.get(value);
  if (known) return known;
  const { node, shape } = value;
  const widened = node?.def === castDef ? node.inputs[0] : undefined;
  if (widened?.dtype === "bf16") return widened;
  const source = node?.def.lower.kind === "view" ? (node.inputs[0] as Value) : undefined;
  const made =
    node && source && sizeOf(source.shape) <= sizeOf(shape)
      ? builder.node(
          node.def,
          [rounded(source, path, builder, narrow)],
          node.attrs,
          [{ shape, dtype: "bf16" }],
          node.path,
        )
      : builder.node(castDef, [value], { dtype: "bf16" }, [{ shape, dtype: "bf16" }], node?.path ?? path);
  narrow.set(value, made.outputs[0] as Value);
  return made.outputs[0] as Value;
}
