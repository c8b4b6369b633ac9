// explain(): a loaded program as a table — op, shapes, kernel variant, FLOPs, bytes, module path.

import type { Node } from "../ir/graph.js";
import { native } from "./device.js";
import type { Program } from "./program.js";

/** One record of a program, explained. */
export interface ExplainedRecord {
  readonly op: string;
  readonly shapes: string;
  /** The kernel variant that runs, and that the registry prefers for this call on this machine. */
  readonly variant: string;
  readonly flops: number;
  readonly bytes: number;
  readonly path: string;
}

/** The records of a program. */
export function explainRecords(program: Program): ExplainedRecord[] {
  return native()
    .programInfo(program.handle)
    .records.map(({ op, variant, flops, bytes, tag }) => {
      const node = program.tags[tag];
      return {
        op: node ? opText(op, node) : op,
        shapes: node ? shapesOf(node) : "",
        variant,
        flops,
        bytes,
        path: node?.path ?? "",
      };
    });
}

/** The program as text. */
export function explainProgram(name: string, program: Program): string {
  const records = explainRecords(program);
  const { arenaBytes } = native().programInfo(program.handle);
  const rows = records.map((r) => [r.op, r.shapes, r.variant, scaled(r.flops, "FLOP"), scaled(r.bytes, "B"), r.path]);
  const header = ["op", "shapes", "kernel", "FLOPs", "bytes", "module"];
  const widths = header.map((title, i) => Math.max(title.length, ...rows.map((row) => (row[i] as string).length)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => (i === 3 || i === 4 ? cell.padStart(widths[i] as number) : cell.padEnd(widths[i] as number)))
      .join("  ")
      .trimEnd();
  const total = records.reduce((sum, r) => ({ flops: sum.flops + r.flops, bytes: sum.bytes + r.bytes }), {
    flops: 0,
    bytes: 0,
  });
  return [
    `${name}: ${records.length} records, ${scaled(total.flops, "FLOP")}, ${scaled(total.bytes, "B")} moved, arena ${scaled(arenaBytes, "B")}`,
    line(header),
    ...rows.map(line),
  ].join("\n");
}

const shapesOf = (node: Node): string =>
  `${node.inputs
    .slice(0, 4)
    .map((value) => `[${value.shape.join(",")}]`)
    .join(
      " ",
    )}${node.inputs.length > 4 ? ` +${node.inputs.length - 4}` : ""} → ${node.outputs.length > 2 ? `${node.outputs.length} outputs` : node.outputs.map((value) => `[${value.shape.join(",")}]`).join(" ")}`;

function opText(op: string, node: Node): string {
  if (op !== "elementwise") return op;
  const { body } = node.attrs as { body?: { text: string } };
  const text = body ? body.text : node.def.name;
  return text.length > 48 ? `${text.slice(0, 45)}…` : text;
}

const prefixes = ["", "k", "M", "G", "T"];

function scaled(x: number, unit: string): string {
  const power = x < 1 ? 0 : Math.min(prefixes.length - 1, Math.floor(Math.log10(x) / 3));
  const value = x / 1000 ** power;
  return `${power === 0 ? value : value.toPrecision(3)} ${prefixes[power]}${unit}`;
}
