// Parts of a concatenation that need no copy: elementwise code can write strided memory, so it writes them where they belong.

import { type Graph, loopOf, type Node, type Value } from "../ir/graph.js";
import { sizeOf } from "../shape.js";

/** Where a part belongs: from which place of the result of a concatenation on. */
export interface Part {
  readonly of: Node;
  readonly start: readonly number[];
}

/** The values that elementwise nodes make for a concatenation alone, in a graph and in the bodies of its loops. */
export function partsOf(graph: Graph): ReadonlyMap<Value, Part> {
  const reads = new Map<Value, number>();
  const note = (value: Value): void => {
    reads.set(value, (reads.get(value) ?? 0) + 1);
  };
  for (const { inputs } of graph.nodes) inputs.forEach(note);
  graph.outputs.forEach(note);
  for (const { value } of graph.writes) note(value);
  const parts = new Map<Value, Part>();
  for (const node of graph.nodes) {
    const body = loopOf(node)?.body;
    if (body) for (const [value, part] of partsOf(body)) parts.set(value, part);
    // The results of one record must not lie in between one another, so each maker writes one part.
    const makers = new Set<Node>();
    startsOf(node)?.forEach((start, i) => {
      const value = node.inputs[i] as Value;
      const maker = value.node;
      const own = maker?.def.lower.kind === "elementwise" && maker.def.effect === "pure" && reads.get(value) === 1;
      if (!maker || !own || makers.has(maker) || sizeOf(value.shape) === 0) return;
      makers.add(maker);
      parts.set(value, { of: node, start });
    });
  }
  return parts;
}

/** Where the inputs of a node begin in its result, if it puts them side by side with nothing in between. */
function startsOf(node: Node): readonly (readonly number[])[] | undefined {
  const { lower } = node.def;
  if (lower.kind !== "assemble") return undefined;
  const { fill, starts, steps } = lower.plan(node, node.attrs);
  return fill === undefined && !steps ? starts : undefined;
}
