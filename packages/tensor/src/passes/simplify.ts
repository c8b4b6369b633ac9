// Simplification: equal pure nodes are merged (hash-consing), nodes that change nothing disappear, constants are folded,
// and chains of views become one.

import { attrsKey } from "../ir/attrs.js";
import { type Graph, type Node, rewriteGraph, type Value } from "../ir/graph.js";
import { sameShape } from "../shape.js";
import { constantOf, foldConstant } from "./fold.js";

/** Merges equal pure nodes and applies the identities of `neutral`, until each node has been seen once. */
export function simplify(graph: Graph): Graph {
  const known = new Map<string, readonly Value[]>();
  return rewriteGraph(graph, (node, inputs, builder) => {
    const settled = neutralInput(node, inputs) ?? foldConstant(node, inputs, builder);
    if (settled) return [settled];
    const { operands, attrs } = chainedView(node, inputs);
    const unchanged = neutralInput({ ...node, attrs }, operands);
    if (unchanged) return [unchanged];
    if (node.def.effect !== "pure") return undefined;
    const key = `${node.def.name}|${operands.map((v) => v.id).join(",")}|${attrsKey(attrs)}`;
    const outputs = known.get(key) ?? builder.node(node.def, operands, attrs, node.outputs, node.path).outputs;
    known.set(key, outputs);
    return outputs;
  });
}

/** The input that a node passes through unchanged, if it does. */
function neutralInput(node: Node, inputs: readonly Value[]): Value | undefined {
  const output = node.outputs[0] as Value;
  const [a, b] = inputs;
  const same = (x: Value | undefined): x is Value =>
    x !== undefined && x.dtype === output.dtype && sameShape(x.shape, output.shape);
  switch (node.def.name) {
    case "mul":
      if (constantOf(b) === 1 && same(a)) return a;
      if (constantOf(a) === 1 && same(b)) return b;
      return undefined;
    case "div":
      return constantOf(b) === 1 && same(a) ? a : undefined;
    case "pow":
      return constantOf(b) === 1 && same(a) ? a : undefined;
    case "sub":
      return Object.is(constantOf(b), 0) && same(a) ? a : undefined;
    case "cast":
    case "reshape":
    case "broadcastTo":
    case "slice": // of equal shape: the whole
    case "pad":
      return same(a) ? a : undefined;
    case "flip":
      return flippedBack(node, a);
    case "transpose":
      return (node.attrs.perm as readonly number[]).every((axis, i) => axis === i) ? a : undefined;
    case "neg":
      return a?.node?.def.name === "neg" ? a.node.inputs[0] : undefined;
    default:
      return undefined;
  }
}

/** What a reversal was made from, when it reverses another one or nothing. */
function flippedBack(node: Node, a: Value | undefined): Value | undefined {
  const axesOf = ({ attrs }: Node): string => (attrs.axes as readonly number[]).join();
  if (axesOf(node) === "") return a;
  return a?.node?.def.name === "flip" && axesOf(a.node) === axesOf(node) ? a.node.inputs[0] : undefined;
}

/** A view of a view of the same kind reads what the first one reads. */
function chainedView(node: Node, inputs: readonly Value[]): { operands: readonly Value[]; attrs: Node["attrs"] } {
  const before = inputs[0]?.node;
  const { name } = node.def;
  if (!before || before.def.name !== name) return { operands: inputs, attrs: node.attrs };
  if (name === "reshape" || name === "broadcastTo") return { operands: before.inputs, attrs: node.attrs };
  if (name === "transpose") {
    const first = before.attrs.perm as readonly number[];
    const perm = (node.attrs.perm as readonly number[]).map((axis) => first[axis] as number);
    return { operands: before.inputs, attrs: { ...node.attrs, perm } };
  }
  return { operands: inputs, attrs: node.attrs };
}
