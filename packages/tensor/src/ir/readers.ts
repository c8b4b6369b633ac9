// Who reads the values of a graph.

import type { Graph, Node, Value } from "./graph.js";

/** Who reads each value; null stands for the caller and for states. */
export function readersOf(graph: Graph): ReadonlyMap<Value, readonly (Node | null)[]> {
  const readers = new Map<Value, (Node | null)[]>();
  const note = (value: Value, reader: Node | null): void => {
    const list = readers.get(value);
    if (list) list.push(reader);
    else readers.set(value, [reader]);
  };
  for (const node of graph.nodes) for (const input of node.inputs) note(input, node);
  for (const value of graph.outputs) note(value, null);
  for (const { value } of graph.writes) note(value, null);
  return readers;
}
