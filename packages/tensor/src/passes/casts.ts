// Casts of what is there before a program begins, weights above all, and of what one node gives, as few records: each
// converts those that are read next, up to a bound, so that no more memory is held than a few of them take.

import { bytesOf, type DType } from "../dtype.js";
import { type Graph, GraphBuilder, type Node, rebuildGraph, type Value } from "../ir/graph.js";
import { castDef } from "../ops/cast.js";
import { castAllDef, castsTogether } from "../ops/castAll.js";
import { sizeOf } from "../shape.js";

/** The most bytes that one record gives, but for a cast that gives more by itself. */
const mostBytes = 2 ** 25;

/** Makes one node of casts of arguments and states, and of casts of one node's results, that are due one after another. */
export function gatherCasts(graph: Graph): Graph {
  const builder = new GraphBuilder();
  const map = new Map<Value, Value>();
  for (const arg of graph.args) map.set(arg, builder.arg(arg));
  for (const state of graph.states) map.set(state, builder.state(state));
  const groups = groupsOf(graph);
  const made = new Map<Node, Value>();
  return rebuildGraph(graph, builder, map, (node) => {
    const group = groups.get(node);
    if (!group || group.length === 1) return undefined;
    if (!made.has(node)) {
      const inputs = group.map((cast) => map.get(cast.inputs[0] as Value) as Value);
      const avals = group.map((cast) => cast.outputs[0] as Value);
      const attrs = { dtypes: avals.map(({ dtype }) => dtype) };
      const { outputs } = builder.node(castAllDef, inputs, attrs, avals, node.path);
      group.forEach((cast, i) => {
        made.set(cast, outputs[i] as Value);
      });
    }
    return [made.get(node) as Value];
  });
}

/** The group of each cast that can be made beside others: of what the program begins with, or of results of one node. */
function groupsOf({ args, states, nodes }: Graph): Map<Node, Node[]> {
  const given = new Set<Value>([...args, ...states]);
  const groups = new Map<Node, Node[]>();
  const open = new Map<Node | null, { group: Node[]; bytes: number }>();
  for (const node of nodes) {
    const [x] = node.inputs;
    if (node.def !== castDef || !x || !(x.node || given.has(x)) || !castsTogether(x.dtype, node.attrs.dtype as DType))
      continue;
    const { shape, dtype } = node.outputs[0] as Value;
    const size = sizeOf(shape) * bytesOf[dtype];
    let { group, bytes } = open.get(x.node) ?? { group: [], bytes: 0 };
    if (bytes + size > mostBytes) [group, bytes] = [[], 0];
    group.push(node);
    groups.set(node, group);
    open.set(x.node, { group, bytes: bytes + size });
  }
  return groups;
}
