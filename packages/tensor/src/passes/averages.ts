// Moving averages of weights, made by the update that makes the weights: memory is the limit of both, and an average made
// apart reads every weight again.

import { type Graph, GraphBuilder, type Node, rebuildGraph, type Value } from "../ir/graph.js";
import { type AdamAttrs, adamDef, adamGroups, adamScalars, emaUpdateDef } from "../ops/optimizer.js";
import { groupsOf } from "../ops/update.js";

/** Lets Adam move the averages of its weights where nothing else reads what either makes. */
export function averageInUpdates(graph: Graph): Graph {
  const averageOf = averagesOf(graph);
  if (averageOf.size === 0) return graph;

  // Nothing but its average reads what an update makes, so that it may wait for what else the average reads.
  const updateOf = new Map([...averageOf].map(([update, average]) => [average, update] as const));
  const nodes = graph.nodes.flatMap((node) => {
    if (averageOf.has(node)) return [];
    const update = updateOf.get(node);
    return update ? [update, node] : [node];
  });
  const builder = new GraphBuilder();
  const map = new Map<Value, Value>();
  for (const arg of graph.args) map.set(arg, builder.arg(arg));
  for (const state of graph.states) map.set(state, builder.state(state));
  const moved = new Map<Value, Value>();
  return rebuildGraph({ ...graph, nodes }, builder, map, (node, inputs) => {
    const average = averageOf.get(node);
    if (average) {
      const { operands, averages } = joined(node, average);
      const attrs = { ...(node.attrs as AdamAttrs), averaged: true };
      const results = [...node.outputs, ...averages];
      const { outputs } = builder.node(
        adamDef,
        operands.map((value) => map.get(value) as Value),
        attrs,
        results,
        node.path,
      );
      averages.forEach((value, i) => {
        moved.set(value, outputs[node.outputs.length + i] as Value);
      });
      return outputs.slice(0, node.outputs.length);
    }
    return updateOf.has(node) ? withoutMoved(node, inputs, moved, builder) : undefined;
  });
}

/** The operands of an update that moves averages too, and the averages in the order of its weights. */
function joined(update: Node, average: Node): { operands: readonly Value[]; averages: readonly Value[] } {
  const attrs = update.attrs as AdamAttrs;
  const scalars = adamScalars(attrs);
  const [decay] = average.inputs as readonly [Value];
  const [targets, sources] = groupsOf("emaUpdate", average.inputs, 1, 2) as [Value[], Value[]];
  const places = weightsOf(update).map((weight) => sources.indexOf(weight));
  return {
    operands: [
      ...update.inputs.slice(0, scalars),
      decay,
      ...update.inputs.slice(scalars),
      ...places.map((i) => targets[i] as Value),
    ],
    averages: places.map((i) => average.outputs[i] as Value),
  };
}

/** An update of the averages that have not been moved elsewhere; gives all of them. */
function withoutMoved(
  node: Node,
  inputs: readonly Value[],
  moved: ReadonlyMap<Value, Value>,
  builder: GraphBuilder,
): readonly Value[] {
  const [decay] = inputs as readonly [Value];
  const [targets, sources] = groupsOf("emaUpdate", inputs, 1, 2) as [Value[], Value[]];
  const rest = node.outputs.flatMap((value, i) => (moved.has(value) ? [] : [i]));
  const operands = [decay, ...rest.map((i) => targets[i] as Value), ...rest.map((i) => sources[i] as Value)];
  const avals = rest.map((i) => node.outputs[i] as Value);
  const made = rest.length > 0 ? builder.node(emaUpdateDef, operands, node.attrs, avals, node.path).outputs : [];
  return node.outputs.map((value, i) => moved.get(value) ?? (made[rest.indexOf(i)] as Value));
}

/** The new weights among what Adam makes. */
function weightsOf({ outputs, attrs }: Node): readonly Value[] {
  return outputs.slice(0, outputs.length / (adamGroups(attrs as AdamAttrs) - 1));
}

/** The average that each update can move: one of all its weights, which alone reads what the update makes. */
function averagesOf({ nodes, outputs }: Graph): ReadonlyMap<Node, Node> {
  const readers = new Map<Value, Set<Node | null>>();
  const note = (value: Value, reader: Node | null): void => {
    readers.set(value, (readers.get(value) ?? new Set()).add(reader));
  };
  for (const node of nodes) for (const value of node.inputs) note(value, node);
  for (const value of outputs) note(value, null);

  const averageOf = new Map<Node, Node>();
  for (const update of nodes) {
    if (update.def !== adamDef || (update.attrs as AdamAttrs).averaged) continue;
    const [average, ...others] = new Set(update.outputs.flatMap((value) => [...(readers.get(value) ?? [])]));
    if (!average || others.length > 0 || average.def !== emaUpdateDef || [...averageOf.values()].includes(average))
      continue;
    const sources = average.inputs.slice(1 + average.outputs.length);
    const own = average.inputs.slice(0, 1 + average.outputs.length);
    const coversAll = weightsOf(update).every((weight) => sources.filter((value) => value === weight).length === 1);
    const stays = own.every(({ node }) => node !== update) && average.outputs.every((value) => !readers.has(value));
    if (coversAll && stays) averageOf.set(update, average);
  }
  return averageOf;
}
