// Mixed precision: nodes that ask for precision "bf16" get f32 factors rounded to bf16; sums, biases and results stay
// f32. Rounding is a cast that is there to be seen; regions take it into the store of the value. Nodes that ask for "fast"
// get, where there are matrix tiles, factors split into two bf16 parts each: with x = x₁ + x₂ and w = w₁ + w₂,
//   x·w ≈ x₁·w₁ + x₁·w₂ + x₂·w₁ = [x₁ x₁ x₂]·[w₁ w₂ w₁],
// one product whose sums are three times as long.

import { precisionOf } from "../core/precision.js";
import { type Graph, type GraphBuilder, rewriteGraph, type Value } from "../ir/graph.js";
import { subDef } from "../ops/arithmetic.js";
import { castDef } from "../ops/cast.js";
import { concatDef } from "../ops/movement.js";
import { native } from "../runtime/device.js";
import { sizeOf } from "../shape.js";
import { castNode } from "./formats.js";

/** Whether programs loaded from now on may use bf16 matrix tiles. */
const hasMatrixTiles = (): boolean => native().cpu().isa === "amx";

/** Rounds or splits the factors of products as the precision that their nodes ask for says. */
export function mixPrecision(graph: Graph, splits: () => boolean = hasMatrixTiles): Graph {
  const narrow = new Map<Value, Value>();
  return rewriteGraph(graph, ({ def, attrs, outputs, path }, inputs, builder) => {
    const precision = precisionOf(attrs);
    if (precision === "highest") return undefined;
    const { precision: _, ...rest } = attrs;
    const factors = def.factors ?? [];
    const axes = precision === "fast" && splits() ? def.sumAxes?.(inputs, attrs) : undefined;
    if (!factors.every((i) => inputs[i]?.dtype === "f32") || (precision === "fast" && !axes)) {
      return builder.node(def, inputs, rest, outputs, path).outputs;
    }
    if (axes) {
      const [x, w, ...others] = inputs as [Value, Value, ...Value[]];
      const [xs, ws] = [parts(x, path, builder, narrow), parts(w, path, builder, narrow)];
      // All but the product of the lower parts.
      const pairs = xs.flatMap((a, i) => ws.flatMap((b, j) => (i + j < 2 ? [[a, b] as const] : [])));
      const long = [0, 1].map((i) =>
        joined(
          pairs.map((pair) => pair[i as 0 | 1]),
          axes[i] as number,
          path,
          builder,
        ),
      );
      return builder.node(def, [...long, ...others], { ...rest, result: "f32" }, outputs, path).outputs;
    }
    const operands = inputs.map((value, i) => (factors.includes(i) ? rounded(value, path, builder, narrow) : value));
    return builder.node(def, operands, { ...rest, result: "f32" }, outputs, path).outputs;
  });
}

/** The value rounded to bf16, and what that leaves, if it can leave anything. */
function parts(value: Value, path: string, builder: GraphBuilder, narrow: Map<Value, Value>): Value[] {
  const high = rounded(value, path, builder, narrow);
  if (value.node?.def === castDef && value.node.inputs[0]?.dtype === "bf16") return [high];
  const { shape } = value;
  const rest = builder.node(subDef, [value, castNode(builder, high, "f32", path)], {}, [{ shape, dtype: "f32" }], path);
  return [high, castNode(builder, rest.outputs[0] as Value, "bf16", path)];
}

function joined(values: readonly Value[], axis: number, path: string, builder: GraphBuilder): Value {
  if (values.length === 1) return values[0] as Value;
  const attrs = { axis };
  return builder.node(concatDef, values, attrs, concatDef.infer(values, attrs), path).outputs[0] as Value;
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
