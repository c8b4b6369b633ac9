// Mixed precision: nodes that ask for precision "bf16" or "f16" get f32 factors rounded to it; sums, biases and results stay
// f32. Rounding is a cast that is there to be seen; regions take it into the store of the value. Nodes that ask for "fast"
// or "tf32" keep asking, for their kernels are told; those with other factors than f32 are at "highest".

import { precisionOf } from "../core/precision.js";
import type { HalfType } from "../dtype.js";
import { type Graph, type GraphBuilder, type Node, rewriteGraph, type Value } from "../ir/graph.js";
import { castDef } from "../ops/cast.js";
import { concatDef } from "../ops/movement.js";
import { sizeOf } from "../shape.js";

/** Values already rounded. */
type Narrow = Readonly<Record<HalfType, Map<Value, Value>>>;

/** Rounds the factors of products as the precision that their nodes ask for says. */
export function mixPrecision(graph: Graph): Graph {
  const narrow: Narrow = { bf16: new Map(), f16: new Map() };
  return rewriteGraph(graph, ({ def, attrs, outputs, path }, inputs, builder) => {
    const precision = precisionOf(attrs);
    if (precision === "highest") return undefined;
    const factors = def.factors ?? [];
    const single = factors.every((i) => inputs[i]?.dtype === "f32");
    const half = precision === "bf16" || precision === "f16" ? precision : undefined;
    if (single && !half) return undefined;
    const { precision: _, ...rest } = attrs;
    if (!single || !half) return builder.node(def, inputs, rest, outputs, path).outputs;
    const operands = inputs.map((value, i) =>
      factors.includes(i) ? rounded(value, half, path, builder, narrow) : value,
    );
    return builder.node(def, operands, { ...rest, result: "f32" }, outputs, path).outputs;
  });
}

/**
 * The value in 16 bits, made once. Views that do not shrink are taken of the rounded value, so that it is stored so, and what
 * elementwise nodes make to be joined is joined rounded, for they store it so beside f32; a part that others make takes the
 * cast that the whole would take.
 */
function rounded(value: Value, dtype: HalfType, path: string, builder: GraphBuilder, narrow: Narrow): Value {
  const known = narrow[dtype].get(value);
  if (known) return known;
  const { node, shape } = value;
  const widened = node?.def === castDef ? node.inputs[0] : undefined;
  if (widened?.dtype === dtype) return widened;
  const made =
    node && goesThrough(node)
      ? builder.node(
          node.def,
          node.inputs.map((source) => rounded(source, dtype, path, builder, narrow)),
          node.attrs,
          [{ shape, dtype }],
          node.path,
        )
      : builder.node(castDef, [value], { dtype }, [{ shape, dtype }], node?.path ?? path);
  narrow[dtype].set(value, made.outputs[0] as Value);
  return made.outputs[0] as Value;
}

/** Whether what a node makes is rounded by rounding what it is made of. */
function goesThrough({ def, inputs, outputs }: Node): boolean {
  if (def.lower.kind === "view") return sizeOf((inputs[0] as Value).shape) <= sizeOf((outputs[0] as Value).shape);
  return def === concatDef && inputs.filter(({ node }) => node?.def.lower.kind !== "elementwise").length < 2;
}
