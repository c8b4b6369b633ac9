// Simplification: equal pure nodes are merged (hash-consing) and nodes that change nothing disappear.

import { type Graph, type Node, rewriteGraph, type Value } from "../ir/graph.js";
import { sameShape } from "../shape.js";

/** Merges equal pure nodes and applies the identities of `neutral`, until each node has been seen once. */
export function simplify(graph: Graph): Graph {
  const known = new Map<string, readonly Value[]>();
  return rewriteGraph(graph, (node, inputs, builder) => {
    const neutral = neutralInput(node, inputs);
    if (neutral) return [neutral];
    const chained = chainedView(node, inputs);
    const operands = chained ?? inputs;
    if (
      chained &&
      node.def.name === "reshape" &&
      sameShape((operands[0] as Value).shape, (node.outputs[0] as Value).shape)
    ) {
      return operands;
    }
    if (node.def.effect !== "pure") return undefined;
    const key = `${node.def.name}|${operands.map((v) => v.id).join(",")}|${attrsKey(node.attrs)}`;
    const outputs = known.get(key) ?? builder.node(node.def, operands, node.attrs, node.outputs, node.path).outputs;
    known.set(key, outputs);
    return outputs;
  });
}

/** Attributes as text, equal for equal attributes. */
export function attrsKey(attrs: Node["attrs"]): string {
  return JSON.stringify(attrs, (_key, value) =>
    Object.is(value, -0) ? "-0" : typeof value === "number" && !Number.isFinite(value) ? String(value) : value,
  );
}

const constantOf = (value: Value | undefined): number | undefined =>
  value?.node?.def.lower.kind === "constant" ? Number(value.node.attrs.value) : undefined;

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

/** A reshape of a reshape reads the first one's input. */
function chainedView(node: Node, inputs: readonly Value[]): readonly Value[] | undefined {
  const input = inputs[0];
  if (node.def.name !== "reshape" || input?.node?.def.name !== "reshape") return undefined;
  return input.node.inputs;
}
