// Moving averages that layers keep by themselves, as batch norms their running statistics, as few updates: those with one
// decay whose results only other averages and the program's end read are made at its end, each round of them at once.

import { type Graph, GraphBuilder, type Node, rebuildGraph, type Value } from "../ir/graph.js";
import { emaUpdateDef } from "../ops/optimizer.js";
import { sizeOf } from "../shape.js";

/** The most elements of an average that waits for the end: what it reads is kept until then. */
const mostElements = 2 ** 16;

/** Makes one update of those that may run together. */
export function gatherUpdates(graph: Graph): Graph {
  const waiting = waitingAverages(graph);
  const rounds = roundsOf(waiting);
  const groups = new Map<string, Node[]>();
  for (const node of waiting) {
    const [decay, target] = node.inputs as [Value, Value];
    const key = `${rounds.get(node)} ${decay.id} ${target.dtype}`;
    groups.set(key, [...(groups.get(key) ?? []), node]);
  }
  if ([...groups.values()].every((group) => group.length === 1)) return graph;

  const groupOf = new Map([...groups.values()].flatMap((group) => group.map((node) => [node, group] as const)));
  const last = [...waiting].sort((a, b) => (rounds.get(a) as number) - (rounds.get(b) as number));
  const builder = new GraphBuilder();
  const map = new Map<Value, Value>();
  for (const arg of graph.args) map.set(arg, builder.arg(arg));
  for (const state of graph.states) map.set(state, builder.state(state));
  const made = new Map<Node, readonly Value[]>();
  const nodes = [...graph.nodes.filter((node) => !waiting.has(node)), ...last];
  return rebuildGraph({ ...graph, nodes }, builder, map, (node) => {
    const group = groupOf.get(node);
    if (!group) return undefined;
    if (!made.has(node)) {
      joined(group, map, builder).forEach((outputs, i) => {
        made.set(group[i] as Node, outputs);
      });
    }
    return made.get(node);
  });
}

/** One update in place of several; gives the results of each. */
function joined(group: readonly Node[], map: ReadonlyMap<Value, Value>, builder: GraphBuilder): readonly Value[][] {
  const [{ inputs, attrs, path }] = group as readonly [Node];
  const targets = group.flatMap((node) => node.inputs.slice(1, 1 + node.outputs.length));
  const sources = group.flatMap((node) => node.inputs.slice(1 + node.outputs.length));
  const operands = [inputs[0] as Value, ...targets, ...sources].map((value) => map.get(value) as Value);
  const avals = group.flatMap(({ outputs }) => outputs);
  const results = [...builder.node(emaUpdateDef, operands, attrs, avals, path).outputs];
  return group.map(({ outputs }) => results.splice(0, outputs.length));
}

/** How many averages lead to each, itself included. */
function roundsOf(waiting: ReadonlySet<Node>): ReadonlyMap<Node, number> {
  const rounds = new Map<Node, number>();
  for (const node of waiting)
    rounds.set(node, 1 + Math.max(0, ...node.inputs.map(({ node: maker }) => (maker && rounds.get(maker)) ?? 0)));
  return rounds;
}

/** Averages that may wait for the end of the program. */
function waitingAverages({ nodes }: Graph): Set<Node> {
  const small = ({ outputs }: Node): boolean =>
    outputs.reduce((sum, { shape }) => sum + sizeOf(shape), 0) <= mostElements;
  const waiting = new Set(nodes.filter((node) => node.def === emaUpdateDef && small(node)));
  // Backwards, so that a reader that does not wait is known before what it reads.
  for (const node of [...nodes].reverse()) {
    if (waiting.has(node)) continue;
    for (const { node: maker } of node.inputs) if (maker) waiting.delete(maker);
  }
  return waiting;
}
