// Dead code elimination: nodes that nothing needs are dropped. Arguments and states keep their places.

import type { Graph, Node, Value } from "../ir/graph.js";
import { rewriteGraph } from "../ir/graph.js";
import type { OpDef } from "../ops/definition.js";

/** Effects of nodes that are there for more than their results. */
const keptUnread: ReadonlySet<OpDef["effect"]> = new Set(["check", "collective"]);

/** Drops nodes that contribute to no output, no write, no check and no collective. */
export function eliminateDeadCode(graph: Graph): Graph {
  const live = new Set<Node>();
  const visit = (...pending: Value[]): void => {
    for (let next = pending.pop(); next; next = pending.pop()) {
      if (!next.node || live.has(next.node)) continue;
      live.add(next.node);
      pending.push(...next.node.inputs);
    }
  };
  for (const output of graph.outputs) visit(output);
  for (const node of graph.nodes) {
    if (!keptUnread.has(node.def.effect)) continue;
    live.add(node);
    visit(...node.inputs);
  }
  for (const { value } of graph.writes) visit(value);
  return rewriteGraph({ ...graph, nodes: graph.nodes.filter((node) => live.has(node)) }, () => undefined);
}
