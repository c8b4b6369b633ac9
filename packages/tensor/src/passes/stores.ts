// 16-bit numbers go between memory and kernels as they are. Results that nobody reads but as bf16 or f16, as factors of
// products are: products, norms and softmax store them so, instead of a cast that reads and writes them again. Biases and
// the vectors of norms that lie in 16 bits are read so, instead of a cast of their own in each call. The numbers are the
// same: computed in f32, rounded once.

import { type DType, isHalf } from "../dtype.js";
import { type Graph, type Node, rewriteGraph, type Value } from "../ir/graph.js";
import { castDef } from "../ops/cast.js";

/** Lets kernels that can do it round their own results where the only reader is a cast to 16 bits, and widen operands. */
export function narrowStores(graph: Graph): Graph {
  const results = storedTypes(graph);
  return rewriteGraph(graph, (node, inputs, builder) => {
    const { def, attrs, outputs, path } = node;
    if (def === castDef && inputs[0]?.dtype === attrs.dtype) return inputs;
    const operands = inputs.map((value, i) => (def.asStored?.includes(i) ? (widened(value) ?? value) : value));
    const own = outputs[0] as Value;
    const result = results.get(node) ?? (operands.some((value, i) => value !== inputs[i]) ? own.dtype : undefined);
    if (!result) return undefined;
    const avals = outputs.map(({ shape, dtype }, i) => ({ shape, dtype: i === 0 ? result : dtype }));
    return builder.node(def, operands, { ...attrs, result }, avals, path).outputs;
  });
}

/** The 16-bit numbers that a cast made f32 of. */
function widened({ node, dtype }: Value): Value | undefined {
  const source = node?.def === castDef ? node.inputs[0] : undefined;
  return source && dtype === "f32" && isHalf(source.dtype) ? source : undefined;
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
