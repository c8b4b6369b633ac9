// Commit last: which nodes may overwrite states in place, after everything else has run. Optimiser and
// moving-average updates do; every other write to a state is a copy at the very end. What was written before a loop
// that carries states is committed when the loop begins, so there is a section for each loop and one at the end.

import { type Graph, loopOf, type Node, type StateWrite, type Value } from "../ir/graph.js";

/** A commit section: the writes that it makes, and the nodes that make some of them in place. */
export interface CommitSection {
  readonly writes: readonly StateWrite[];
  readonly updates: readonly Node[];
}

/** The commit sections of a graph: one before each of its loops, and the last, under null. */
export function commitSections(graph: Graph): ReadonlyMap<Node | null, CommitSection> {
  const uses = new Uses(graph);
  const sections = new Map<Node | null, CommitSection>();
  /** The value that lies in each state's memory. */
  const resident = [...graph.states];
  for (const node of graph.nodes) {
    const loop = loopOf(node);
    if (!loop) continue;
    const { homes, initial } = loop;
    const writes = initial.map((value, k) => ({ state: homes[k] as number, value }));
    sections.set(node, { writes, updates: updatesInPlace(graph, writes, resident, uses) });
    homes.forEach((state, k) => {
      resident[state] = node.outputs[k] as Value;
    });
  }
  return sections.set(null, {
    writes: graph.writes,
    updates: updatesInPlace(graph, graph.writes, resident, uses),
  });
}

/** Who uses the memory of each value. */
class Uses {
  readonly order: ReadonlyMap<Node, number>;
  /** Nodes that read a value; a loop reads what it captures, not what it carries. */
  readonly readers = new Map<Value, Node[]>();
  /** How often a value is written to a state. */
  readonly writes = new Map<Value, number>();
  readonly results: ReadonlySet<Value>;

  constructor(graph: Graph) {
    this.order = new Map(graph.nodes.map((node, i) => [node, i]));
    this.results = new Set(graph.outputs.map(rootOf));
    for (const { value } of graph.writes) this.noteWrite(value);
    for (const node of graph.nodes) {
      const loop = loopOf(node);
      // A view reads nothing: whoever reads the view reads what lies beneath.
      if (node.def.lower.kind === "view") continue;
      for (const value of loop ? loop.captured : node.inputs) {
        const root = rootOf(value);
        const list = this.readers.get(root);
        if (list) list.push(node);
        else this.readers.set(root, [node]);
      }
      for (const value of loop?.initial ?? []) this.noteWrite(value);
    }
  }

  private noteWrite(value: Value): void {
    const root = rootOf(value);
    // A written view is read, too.
    this.writes.set(root, (this.writes.get(root) ?? 0) + (root === value ? 1 : 2));
  }
}

/**
 * The nodes whose outputs take the place of the states that they read: all outputs paired with an input
 * that lies in a state, written back to that very state; used by nobody but other such nodes; and no later
 * reader of the old contents.
 */
function updatesInPlace(
  graph: Graph,
  writes: readonly StateWrite[],
  resident: readonly Value[],
  { order, readers, writes: writeCounts, results }: Uses,
): Node[] {
  const stateOf = new Map(writes.map(({ state, value }) => [value, state]));
  const donatesAll = (node: Node): boolean => {
    const pairs = node.def.inPlace?.(node);
    if (!pairs || pairs.length !== node.outputs.length) return false;
    return pairs.every(([o, i]) => {
      const state = stateOf.get(node.outputs[o] as Value);
      return state !== undefined && resident[state] === node.inputs[i];
    });
  };
  const chosen = new Set(graph.nodes.filter(donatesAll));
  const safe = (node: Node): boolean => {
    for (const output of node.outputs) {
      if (results.has(output) || writeCounts.get(output) !== 1) return false;
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
  return [...chosen];
}

/** The value whose memory a value lies in. */
function rootOf(value: Value): Value {
  let root = value;
  while (root.node?.def.lower.kind === "view") root = root.node.inputs[0] as Value;
  return root;
}
