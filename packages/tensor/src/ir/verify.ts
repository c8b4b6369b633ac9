// The validity of a graph, checked between passes: every value is made before it is used, and every
// node's outputs are what its op's shape rule gives for its inputs.

import { sameShape, showShape } from "../shape.js";
import { type Graph, loopOf, type Node, type Value } from "./graph.js";

/**
 * Checks a graph.
 *
 * @param after the pass that made it, for the message.
 * @throws Error naming the pass, the node and what is wrong: a defect of the pass, not of its input.
 */
export function verifyGraph(graph: Graph, after: string): void {
  const made = new Set<Value>([...graph.args, ...graph.states]);
  const bad = (what: string): never => {
    throw new Error(`internal: after pass "${after}": ${what}`);
  };
  for (const node of graph.nodes) {
    for (const input of node.inputs)
      if (!made.has(input)) bad(`${node.def.name} uses value %${input.id} before it is made`);
    const expected = node.def.infer(node.inputs, node.attrs);
    if (expected.length !== node.outputs.length)
      bad(`${node.def.name} has ${node.outputs.length} outputs, expected ${expected.length}`);
    verifyLoop(node, graph, after);
    node.outputs.forEach((output, i) => {
      const aval = expected[i];
      if (!aval || !sameShape(aval.shape, output.shape) || aval.dtype !== output.dtype) {
        bad(
          `output ${i} of ${node.def.name} is ${output.dtype} ${showShape(output.shape)}, its shape rule gives ${aval?.dtype} ${showShape(aval?.shape ?? [])}`,
        );
      }
      if (output.node !== node) bad(`output ${i} of ${node.def.name} names another node as its maker`);
      made.add(output);
    });
  }
  for (const output of graph.outputs) if (!made.has(output)) bad(`output %${output.id} is never made`);
  const written = new Set<number>();
  for (const { state, value } of graph.writes) {
    const target = graph.states[state];
    if (!made.has(value)) bad(`write to state ${state} of a value that is never made`);
    if (!target || !sameShape(target.shape, value.shape) || target.dtype !== value.dtype)
      bad(`write to state ${state} does not fit it`);
    if (written.has(state)) bad(`state ${state} is written twice`);
    written.add(state);
  }
}

/** Checks a loop: its body, and that inputs and states fit one another. */
function verifyLoop(node: Node, graph: Graph, after: string): void {
  const loop = loopOf(node);
  if (!loop) return;
  const { body, homes, captured, initial } = loop;
  const fits = (a: Value | undefined, b: Value | undefined): boolean =>
    a !== undefined && b !== undefined && sameShape(a.shape, b.shape) && a.dtype === b.dtype;
  const wrong =
    captured.some((value, i) => !fits(value, body.args[i + 1])) ||
    body.states.length !== initial.length ||
    body.states.length !== homes.length ||
    new Set(homes).size !== homes.length ||
    body.states.some((state, i) => !fits(state, initial[i]) || !fits(state, graph.states[homes[i] as number])) ||
    body.outputs.length > 0;
  if (wrong) throw new Error(`internal: after pass "${after}": the inputs and states of a loop do not fit its body`);
  verifyGraph(body, after);
}
