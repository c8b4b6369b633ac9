// Commit last: which nodes may overwrite states in place, after everything else has run. Optimiser and
// moving-average updates do; every other write to a state is a copy at the very end.

import type { Graph, Node, Value } from "../ir/graph.js";

/**
 * The nodes whose outputs take the place of the states that they read: all outputs paired with an input
 * that is a state, written back to that very state; used by nobody but other such nodes; and no later
 * reader of the old contents.
 */
export function commitNodes(graph: Graph): ReadonlySet<Node> {
  const writes = new Map<Value, number>();
  for (const { state, value } of graph.writes) if (!writes.has(value)) writes.set(value, state);
  const order = new Map(graph.nodes.map((node, i) => [node, i]));
  const readers = new Map<Value, Node[]>();
  for (const node of graph.nodes) {
    // A view reads nothing: whoever reads the view reads what lies beneath.
    if (node.def.lower.kind === "view") continue;
    for (const input of node.inputs) {
      const list = readers.get(rootOf(input));
      if (list) list.push(node);
      else readers.set(rootOf(input), [node]);
    }
  }
  const viewed = graph.writes.filter(({ value }) => rootOf(value) !== value);
  const results = new Set([...graph.outputs, ...viewed.map(({ value }) => value)].map(rootOf));
  const chosen = new Set(graph.nodes.filter((node) => donatesAll(node, graph, writes)));

  const safe = (node: Node): boolean => {
    for (const output of node.outputs) {
      if (results.has(output)) return false;
      if ((readers.get(output) ?? []).some((reader) => !chosen.has(reader))) return false;
    }
    return (node.def.inPlace?.(node) ?? []).every(([, i]) => {
      const state = node.inputs[i] as Value;
      if (node.inputs.some((input, k) => k !== i && rootOf(input) === state)) return false;
      return (readers.get(state) ?? []).every(
        (reader) => !chosen.has(reader) || (order.get(reader) as number) <= (order.get(node) as number),
      );
    });
  };
  for (let changed = true; changed; ) {
    changed = false;
    for (const node of chosen) {
      if (safe(node)) continue;
      chosen.delete(node);
      changed = true;
    }
  }
  return chosen;
}

/** The value whose memory a value lies in. */
function rootOf(value: Value): Value {
  let root = value;
  while (root.node?.def.lower.kind === "view") root = root.node.inputs[0] as Value;
  return root;
}

function donatesAll(node: Node, graph: Graph, writes: ReadonlyMap<Value, number>): boolean {
  const pairs = node.def.inPlace?.(node);
  if (!pairs || pairs.length !== node.outputs.length) return false;
  return pairs.every(([o, i]) => {
    const state = writes.get(node.outputs[o] as Value);
    return state !== undefined && graph.states[state] === node.inputs[i];
  });
}
