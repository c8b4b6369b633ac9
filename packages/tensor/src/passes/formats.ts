// Formats: kernels that do not take 16-bit floats get them as f32, and give f32 that is rounded again. The casts are
// nodes like any other: regions take them in, and explain() shows those that are left.

import { isHalf } from "../dtype.js";
import { type Graph, type GraphBuilder, type Node, rewriteGraph, type Value } from "../ir/graph.js";
import { castDef } from "../ops/cast.js";

/** Casts 16-bit floats to f32 around kernels that do not take them. */
export function widenFormats(graph: Graph): Graph {
  const wide = new Map<Value, Value>();
  return rewriteGraph(graph, (node, inputs, builder) => {
    if (!needsWider(node)) return undefined;
    const { def, attrs, path } = node;
    const operands = inputs.map((value) => {
      if (!isHalf(value.dtype)) return value;
      const known = wide.get(value) ?? castNode(builder, value, "f32", path);
      wide.set(value, known);
      return known;
    });
    const results = builder.node(def, operands, attrs, def.infer(operands, attrs), path).outputs;
    return results.map((value, i) => castNode(builder, value, (node.outputs[i] as Value).dtype, path));
  });
}

function needsWider({ def, inputs, outputs }: Node): boolean {
  if (def.lower.kind !== "kernel" || def.lower.halves) return false;
  return [...inputs, ...outputs].some(({ dtype }) => isHalf(dtype));
}

/** The value as another type; itself if it has that type. */
export function castNode(builder: GraphBuilder, value: Value, dtype: Value["dtype"], path: string): Value {
  if (value.dtype === dtype) return value;
  const { shape } = value;
  return builder.node(castDef, [value], { dtype }, [{ shape, dtype }], path).outputs[0] as Value;
}
