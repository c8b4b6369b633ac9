// The intermediate representation: a graph of typed values made by operations. Plain data; passes
// build new graphs and never change one. `print.ts` shows it, `verify.ts` checks it.

import type { DType } from "../dtype.js";
import type { OpDef } from "../ops/definition.js";
import type { Shape } from "../shape.js";

/** The abstract value of a tensor: what is known without its data. */
export interface Aval {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** A value in a graph: an argument, a state, or an output of a node. */
export interface Value extends Aval {
  readonly id: number;
  /** The node that makes it; null for arguments and states. */
  readonly node: Node | null;
  /** Which of the node's outputs it is; for arguments and states their ordinal. */
  readonly index: number;
}

/** Static attributes of a node: everything that is not a tensor. */
export type Attrs = Readonly<Record<string, unknown>>;

/** One operation applied to values. */
export interface Node {
  readonly id: number;
  readonly def: OpDef;
  readonly inputs: readonly Value[];
  readonly attrs: Attrs;
  readonly outputs: readonly Value[];
  /** Path of the module that emitted it, such as "down.0.conv"; empty outside modules. */
  readonly path: string;
}

/** A write of a value to a state, after everything else. */
export interface StateWrite {
  readonly state: number;
  readonly value: Value;
}

/** A whole program before lowering. Nodes are in an order in which they can run. */
export interface Graph {
  readonly args: readonly Value[];
  readonly states: readonly Value[];
  readonly nodes: readonly Node[];
  readonly outputs: readonly Value[];
  readonly writes: readonly StateWrite[];
}

/** What a node holds that runs a body several times; cells are carried from one iteration to the next. */
export type LoopAttrs = {
  readonly count: number;
  /**
   * Arguments: the number of the iteration (i32), then the values that the body captures. States: what is carried.
   * The node's inputs are the captured values and the states' values before the first iteration, its outputs their
   * values after the last.
   */
  readonly body: Graph;
  /** For each state of the body, the state of the graph around it whose memory it is. */
  readonly homes: readonly number[];
};

/** A loop's attributes and its inputs by role; undefined for other nodes. */
export function loopOf(
  node: Node,
): (LoopAttrs & { readonly captured: readonly Value[]; readonly initial: readonly Value[] }) | undefined {
  if (node.def.lower.kind !== "loop") return undefined;
  const { count, body, homes } = node.attrs as LoopAttrs;
  const split = body.args.length - 1;
  return { count, body, homes, captured: node.inputs.slice(0, split), initial: node.inputs.slice(split) };
}

/** Builds a graph node by node. */
export class GraphBuilder {
  readonly args: Value[] = [];
  readonly states: Value[] = [];
  readonly nodes: Node[] = [];
  private nextId = 0;

  arg(aval: Aval): Value {
    const value = this.value(aval, null, this.args.length);
    this.args.push(value);
    return value;
  }

  state(aval: Aval): Value {
    const value = this.value(aval, null, this.states.length);
    this.states.push(value);
    return value;
  }

  /** Appends a node whose outputs have the given avals. */
  node(def: OpDef, inputs: readonly Value[], attrs: Attrs, avals: readonly Aval[], path: string): Node {
    const outputs: Value[] = [];
    const node: Node = { id: this.nextId++, def, inputs, attrs, outputs, path };
    avals.forEach((aval, i) => {
      outputs.push(this.value(aval, node, i));
    });
    this.nodes.push(node);
    return node;
  }

  finish(outputs: readonly Value[], writes: readonly StateWrite[] = []): Graph {
    return { args: this.args, states: this.states, nodes: this.nodes, outputs, writes };
  }

  private value({ shape, dtype }: Aval, node: Node | null, index: number): Value {
    return { id: this.nextId++, shape, dtype, node, index };
  }
}

/** What a rewriting pass may answer for a node: replacement values, or undefined to copy the node. */
export type Rewrite = (node: Node, inputs: readonly Value[], builder: GraphBuilder) => readonly Value[] | undefined;

/** Rebuilds a graph, letting `rewrite` replace nodes on the way. Arguments and states keep their places. */
export function rewriteGraph(graph: Graph, rewrite: Rewrite): Graph {
  const builder = new GraphBuilder();
  const map = new Map<Value, Value>();
  for (const arg of graph.args) map.set(arg, builder.arg(arg));
  for (const state of graph.states) map.set(state, builder.state(state));
  return rebuildGraph(graph, builder, map, rewrite);
}

/** Like {@link rewriteGraph}, for arguments and states that `map` has already given their places in `builder`. */
export function rebuildGraph(
  graph: Graph,
  builder: GraphBuilder,
  map: Map<Value, Value>,
  rewrite: Rewrite = () => undefined,
): Graph {
  const mapped = (value: Value): Value => {
    const found = map.get(value);
    if (!found) throw new Error(`internal: value %${value.id} is used before it is made`);
    return found;
  };
  for (const node of graph.nodes) {
    const inputs = node.inputs.map(mapped);
    const outputs =
      rewrite(node, inputs, builder) ?? builder.node(node.def, inputs, node.attrs, node.outputs, node.path).outputs;
    node.outputs.forEach((value, i) => {
      map.set(value, outputs[i] as Value);
    });
  }
  return builder.finish(
    graph.outputs.map(mapped),
    graph.writes.map(({ state, value }) => ({ state, value: mapped(value) })),
  );
}
