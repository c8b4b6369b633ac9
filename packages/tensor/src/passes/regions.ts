// Elementwise regions: connected elementwise nodes of one shape run as one pass over memory. Nodes are
// merged greedily along edges wherever that makes no cycle with the nodes outside.

import { type Graph, GraphBuilder, type Node, type Value } from "../ir/graph.js";
import { readersOf } from "../ir/readers.js";
import { RegionBuilder, regionDef, regionLimits } from "../program/region.js";
import { sameShape } from "../shape.js";

/** A set of nodes that will run together: a region, or one node alone. */
interface Cluster {
  nodes: Node[];
  /** Inputs from outside, constants left out. */
  inputs: Set<Value>;
}

/** Values of these types round when stored, so they are stored and loaded even inside a region. */
const rounds = (value: Value): boolean => value.dtype === "u8" || value.dtype === "bf16" || value.dtype === "f16";

const isConstant = (value: Value): boolean => value.node?.def.lower.kind === "constant";
const isElementwise = (node: Node): boolean => node.def.lower.kind === "elementwise" && node.def.effect === "pure";

/** Groups elementwise nodes into regions. */
export function formRegions(graph: Graph): Graph {
  return emit(graph, cluster(graph));
}

function cluster(graph: Graph): Map<Node, Cluster> {
  const of = new Map<Node, Cluster>();
  const readers = readersOf(graph);
  const order = new Map(graph.nodes.map((node, i) => [node, i]));
  for (const node of graph.nodes) {
    of.set(node, { nodes: [node], inputs: new Set(node.inputs.filter((value) => !isConstant(value))) });
    if (!isElementwise(node)) continue;
    const shape = (node.outputs[0] as Value).shape;
    // The latest producer first: short live ranges.
    const producers = [...new Set(node.inputs)]
      .filter(
        (v) => v.node && isElementwise(v.node) && !rounds(v) && sameShape((v.node.outputs[0] as Value).shape, shape),
      )
      .map((v) => v.node as Node)
      .sort((a, b) => (order.get(b) as number) - (order.get(a) as number));
    for (const producer of producers) {
      const a = of.get(producer) as Cluster;
      const b = of.get(node) as Cluster;
      if (a === b || !fits(a, b, readers) || reaches(a, b, of)) continue;
      merge(a, b, of);
    }
  }
  return of;
}

/** Whether the merged cluster stays within the interpreter's limits. */
function fits(a: Cluster, b: Cluster, readers: ReadonlyMap<Value, readonly (Node | null)[]>): boolean {
  const steps = a.nodes.length + b.nodes.length;
  if (steps > regionLimits.steps / 2) return false;
  const inputs = new Set([...a.inputs, ...b.inputs]);
  const nodes = new Set([...a.nodes, ...b.nodes]);
  const inside = (value: Value): boolean => value.node !== null && nodes.has(value.node);
  // A value that rounds when stored must not be read before it has been.
  if ([...inputs].some((value) => inside(value) && rounds(value))) return false;
  const outside = [...inputs].filter((value) => !inside(value));
  if (outside.length > regionLimits.inputs / 2) return false;
  const escaping = [...nodes].filter((node) =>
    (readers.get(node.outputs[0] as Value) ?? []).some((r) => r === null || !nodes.has(r)),
  );
  return escaping.length <= regionLimits.outputs;
}

function merge(a: Cluster, b: Cluster, of: Map<Node, Cluster>): void {
  a.nodes.push(...b.nodes);
  for (const value of b.inputs) a.inputs.add(value);
  const nodes = new Set(a.nodes);
  for (const value of a.inputs) if (value.node && nodes.has(value.node)) a.inputs.delete(value);
  for (const node of b.nodes) of.set(node, a);
}

/**
 * Whether a path leads from one cluster to the other through clusters outside both. All that lies upstream is searched:
 * a cluster of early nodes may read from one that holds late nodes too, so no place in the order bounds the search.
 */
function reaches(a: Cluster, b: Cluster, of: ReadonlyMap<Node, Cluster>): boolean {
  const seen = new Set<Cluster>();
  const pending: Cluster[] = [];
  const push = (from: Cluster, direct: boolean): boolean => {
    for (const value of from.inputs) {
      const next = value.node && of.get(value.node);
      if (!next) continue;
      if (next === a || next === b) {
        if (!direct) return true;
        continue;
      }
      if (seen.has(next)) continue;
      seen.add(next);
      pending.push(next);
    }
    return false;
  };
  if (push(a, true) || push(b, true)) return true;
  for (let next = pending.pop(); next; next = pending.pop()) if (push(next, false)) return true;
  return false;
}

/** Rebuilds the graph with one node per cluster, in dependency order. */
function emit(graph: Graph, of: ReadonlyMap<Node, Cluster>): Graph {
  const builder = new GraphBuilder();
  const map = new Map<Value, Value>();
  for (const arg of graph.args) map.set(arg, builder.arg(arg));
  for (const state of graph.states) map.set(state, builder.state(state));
  const mapped = (value: Value): Value => map.get(value) as Value;
  const needed = neededOutside(graph, of);
  const done = new Set<Cluster>();

  const build = (group: Cluster): void => {
    done.add(group);
    const [only] = group.nodes;
    if (group.nodes.length === 1 && only) {
      const node = builder.node(only.def, only.inputs.map(mapped), only.attrs, only.outputs, only.path);
      node.outputs.forEach((value, i) => {
        map.set(only.outputs[i] as Value, value);
      });
      return;
    }
    const region = new RegionBuilder();
    const members = [...group.nodes].sort((a, b) => a.id - b.id);
    for (const node of members) region.add(node);
    const outputs = members.flatMap((node) => node.outputs).filter((value) => needed.has(value));
    const last = members.at(-1) as Node;
    const body = region.finish(outputs, (last.outputs[0] as Value).shape);
    const node = builder.node(regionDef, region.inputs.map(mapped), { body }, outputs, last.path);
    outputs.forEach((value, i) => {
      map.set(value, node.outputs[i] as Value);
    });
  };

  // Depth first from each node in order, so that a cluster runs as late as its first reader allows.
  const visit = (start: Cluster): void => {
    const pending: { group: Cluster; entered: boolean }[] = [{ group: start, entered: false }];
    for (let top = pending.at(-1); top; top = pending.at(-1)) {
      if (done.has(top.group)) {
        pending.pop();
      } else if (top.entered) {
        pending.pop();
        build(top.group);
      } else {
        top.entered = true;
        for (const node of top.group.nodes) {
          for (const { node: maker } of node.inputs) {
            const next = maker && (of.get(maker) as Cluster);
            if (next && next !== top.group && !done.has(next)) pending.push({ group: next, entered: false });
          }
        }
      }
    }
  };
  for (const node of graph.nodes) {
    const group = of.get(node) as Cluster;
    // A region is placed when its last member is due.
    if (group.nodes.length === 1 || group.nodes.every((member) => member.id <= node.id)) visit(group);
  }
  return builder.finish(
    graph.outputs.map(mapped),
    graph.writes.map(({ state, value }) => ({ state, value: mapped(value) })),
  );
}

/** Values read outside the cluster that makes them. */
function neededOutside(graph: Graph, of: ReadonlyMap<Node, Cluster>): ReadonlySet<Value> {
  const needed = new Set<Value>([...graph.outputs, ...graph.writes.map(({ value }) => value)]);
  for (const node of graph.nodes) {
    for (const input of node.inputs) {
      if (input.node && of.get(input.node) !== of.get(node)) needed.add(input);
    }
  }
  return needed;
}
