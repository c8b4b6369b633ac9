// Graphs as text: one line per node, stable under renumbering, so that it can stand in tests.

import { type Graph, loopOf, type Node, type Value } from "./graph.js";

/** Shows attributes compactly; long arrays by their length. */
function showAttr(value: unknown): string {
  if (ArrayBuffer.isView(value)) return `<${value.byteLength} bytes>`;
  if (Array.isArray(value)) return `[${value.map(showAttr).join(",")}]`;
  if (value !== null && typeof value === "object" && "text" in value) return String(value.text);
  if (value !== null && typeof value === "object") return JSON.stringify(value);
  return String(value);
}

const showAval = ({ shape, dtype }: Value): string => `${dtype}[${shape.join(",")}]`;

/** The graph as text. Values are numbered in order of appearance. */
export function printGraph(graph: Graph): string {
  const names = new Map<Value, string>();
  graph.args.forEach((value, i) => {
    names.set(value, `%a${i}`);
  });
  graph.states.forEach((value, i) => {
    names.set(value, `%s${i}`);
  });
  let next = 0;
  const name = (value: Value): string => names.get(value) ?? "%?";
  const line = (node: Node): string => {
    const loop = loopOf(node);
    for (const output of node.outputs) names.set(output, `%${next++}`);
    const results = node.outputs.map((v) => `${name(v)}: ${showAval(v)}`).join(", ");
    const attrs = Object.entries(node.attrs)
      .filter(([key, value]) => value !== undefined && !(loop && key === "body"))
      .map(([key, value]) => `${key}=${showAttr(value)}`)
      .join(" ");
    const path = node.path ? `  // ${node.path}` : "";
    const text = `  ${results} = ${node.def.name}(${node.inputs.map(name).join(", ")})${attrs ? ` {${attrs}}` : ""}${path}`;
    return loop ? [text, ...printGraph(loop.body).split("\n")].join("\n    ") : text;
  };
  const inputs = [...graph.args, ...graph.states].map((v) => `${name(v)}: ${showAval(v)}`).join(", ");
  const body = graph.nodes.map(line);
  const writes = graph.writes.map(({ state, value }) => `  %s${state} := ${name(value)}`);
  return [
    `graph(${inputs}) {`,
    ...body,
    ...writes,
    `  return ${graph.outputs.map(name).join(", ")}`.trimEnd(),
    "}",
  ].join("\n");
}
