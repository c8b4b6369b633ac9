// Fusion patterns: short sequences that one kernel does better. All of them, in one table.

import { type Graph, type GraphBuilder, type Node, rewriteGraph, type Value } from "../ir/graph.js";

/** A pattern: looks at the last node of a sequence and, when it matches, gives the value that replaces it. */
interface Pattern {
  readonly name: string;
  match(node: Node, inputs: readonly Value[], uses: (value: Value) => number, builder: GraphBuilder): Value | undefined;
}

/** x·w (or conv) followed by adding a vector over the last axis: the kernel adds it on the way out. */
const biasEpilogue: Pattern = {
  name: "bias epilogue",
  match(node, inputs, uses, builder) {
    if (node.def.name !== "add") return undefined;
    for (const [product, bias] of [inputs, [...inputs].reverse()]) {
      const maker = product?.node;
      if (!maker || !bias || uses(product) !== 1 || !(maker.def.name === "conv2d" || maker.def.name === "matmul"))
        continue;
      if (
        maker.inputs.length !== 2 ||
        bias.shape.length !== 1 ||
        bias.shape[0] !== product.shape.at(-1) ||
        bias.dtype !== product.dtype
      )
        continue;
      const output = node.outputs[0] as Value;
      if (output.shape.length !== product.shape.length) continue;
      const fused = builder.node(maker.def, [...maker.inputs, bias], maker.attrs, [output], maker.path || node.path);
      return fused.outputs[0];
    }
    return undefined;
  },
};

/** groupNorm followed by y·sigmoid(y): the kernel applies it on the way out. */
const normSilu: Pattern = {
  name: "groupNorm+SiLU",
  match(node, inputs, uses, builder) {
    if (node.def.name !== "mul") return undefined;
    for (const [y, gate] of [inputs, [...inputs].reverse()]) {
      if (y?.node?.def.name !== "groupNorm" || y.index !== 0 || y.node.attrs.silu) continue;
      const norm = y.node;
      if (gate?.node?.def.name !== "sigmoid" || gate.node.inputs[0] !== y || uses(y) !== 2) continue;
      const fused = builder.node(norm.def, norm.inputs, { ...norm.attrs, silu: true }, norm.outputs, norm.path);
      return fused.outputs[0];
    }
    return undefined;
  },
};

/** The table. */
export const patterns: readonly Pattern[] = [biasEpilogue, normSilu];

/** Applies the patterns of the table. What they leave unused, dead code elimination removes. */
export function fusePatterns(graph: Graph): Graph {
  const uses = new Map<string, number>();
  const count = (value: Value): void => {
    if (value.node) uses.set(`${value.node.id}:${value.index}`, (uses.get(`${value.node.id}:${value.index}`) ?? 0) + 1);
  };
  for (const node of graph.nodes) node.inputs.forEach(count);
  graph.outputs.forEach(count);
  for (const { value } of graph.writes) count(value);
  const usesOfNew = new Map<Value, number>();
  return rewriteGraph(graph, (node, inputs, builder) => {
    node.inputs.forEach((value, i) => {
      if (value.node) usesOfNew.set(inputs[i] as Value, uses.get(`${value.node.id}:${value.index}`) ?? 0);
    });
    const usesOf = (value: Value): number => usesOfNew.get(value) ?? 0;
    for (const pattern of patterns) {
      const replacement = pattern.match(node, inputs, usesOf, builder);
      if (replacement) return [replacement];
    }
    return undefined;
  });
}
