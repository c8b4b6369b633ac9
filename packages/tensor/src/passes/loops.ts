// Loops: their bodies are graphs and pass through the same passes; what a body no longer reads is not captured.

import { type Graph, GraphBuilder, loopOf, rebuildGraph, rewriteGraph, type Value } from "../ir/graph.js";

/** Improves the bodies of all loops by `improve`. */
export function optimizeLoops(graph: Graph, improve: (body: Graph) => Graph): Graph {
  return rewriteGraph(graph, (node, inputs, builder) => {
    const loop = loopOf(node);
    if (!loop) return undefined;
    const { body, read } = withoutUnread(improve(loop.body));
    const captured = loop.captured.length;
    const kept = [...inputs.slice(0, captured).filter((_, i) => read[i]), ...inputs.slice(captured)];
    return builder.node(node.def, kept, { ...node.attrs, body }, node.outputs, node.path).outputs;
  });
}

/** A body without the arguments that nothing reads, its counter excepted; and which of the captured ones it reads. */
function withoutUnread(graph: Graph): { body: Graph; read: readonly boolean[] } {
  const used = new Set<Value>([
    ...graph.nodes.flatMap(({ inputs }) => inputs),
    ...graph.writes.map(({ value }) => value),
  ]);
  const builder = new GraphBuilder();
  const map = new Map<Value, Value>();
  graph.args.forEach((arg, i) => {
    if (i === 0 || used.has(arg)) map.set(arg, builder.arg(arg));
  });
  for (const state of graph.states) map.set(state, builder.state(state));
  return { body: rebuildGraph(graph, builder, map), read: graph.args.slice(1).map((arg) => used.has(arg)) };
}
