// Results that nobody reads but as bf16 or f16, as factors of products are: norms and softmax store them so, instead of a
// cast that reads and writes them again. The numbers are the same: computed in f32, rounded once.

import { type DType, isHalf } from "../dtype.js";
import { type Graph, type Node, rewriteGraph, type Value } from "../ir/graph.js";
import { castDef } from "../ops/cast.js";

/** Lets kernels that can do it round their own results where the only reader is a cast to 16 bits. */
export function narrowStores(graph: Graph): Graph {
  const results = storedTypes(graph);
  return rewriteGraph(graph, (node, inputs, builder) => {
    const { def, attrs, outputs, path } = node;
    if (def === castDef && inputs[0]?.dtype === attrs.dtype) return inputs;
    const result = results.get(node);
    if (!result) return undefined;
    const [first, ...others] = outputs as readonly [Value, ...Value[]];
    return builder.node(def, inputs, { ...attrs, result }, [{ shape: first.shape, dtype: result }, ...others], path)
      .outputs;
  });
}

/** The types in which nodes should store their first results. */
function storedTypes(graph: Graph): Map<Node, DType> {
  const reads = new Map<Value, number>();
  const count = (value: Value): void => {
    reads.set(value, (reads.get(value) ?? 0) + 1);
  };
  for (const node of graph.nodes) node.inputs.forEach(count);
  graph.outputs.forEach(count);
  for (const { value } of graph.writes) count(value);
  const types = new Map<Node, DType>();
  for (const { def, inputs, attrs } of graph.nodes) {
    const value = inputs[0];
    if (def !== castDef || !value?.node?.def.stores || !isHalf(attrs.dtype as DType)) continue;
    if (value.index === 0 && value.dtype === "f32" && reads.get(value) === 1)
      types.set(value.node, attrs.dtype as DType);
  }
  return types;
}
