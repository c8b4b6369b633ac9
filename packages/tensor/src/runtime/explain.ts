// explain(): a loaded program as a table — op, shapes, formats, kernel variant and why it was chosen, FLOPs, bytes, module path.

import type { ChoiceReason, ProgramInfo } from "@figment/native";
import type { Node } from "../ir/graph.js";
import type { BlockSpec, Nesting } from "../program/blob.js";
import { native } from "./device.js";
import { deviceName } from "./devices.js";
import type { Program } from "./program.js";
import { tuning } from "./tuning/index.js";

/** One record of a program, explained. */
export interface ExplainedRecord {
  readonly op: string;
  readonly shapes: string;
  /** Formats of the kernel's operands: "f32", or where they differ "bf16 bf16 f32 → bf16". */
  readonly formats: string;
  /** The kernel variant that runs. */
  readonly variant: string;
  /**
   * Why: there is "only" one, it is "estimated" to be cheapest, it was the fastest where the "shipped" measurements were made
   * or as "measured" on this machine, or it was "forced". Undefined for loops, which have no kernel.
   */
  readonly reason: ChoiceReason | undefined;
  /** The number of the device that it runs on. */
  readonly device: number;
  /** Pieces of its work, in all runs so far, that the variant did in a slower way because of the numbers in them. */
  readonly fallbacks: number;
  /** How often it runs: more than once in a loop, whose records are indented. */
  readonly times: number;
  /** FLOPs and bytes of all these times. */
  readonly flops: number;
  readonly bytes: number;
  readonly path: string;
  /** The packing of weights that it reads and that is kept between runs, and what became of it so far. */
  readonly packing: ProgramInfo["records"][number]["packing"];
}

/** The records of a program. */
export function explainRecords(program: Program): ExplainedRecord[] {
  const choices = native().programChoices(program.handle);
  return native()
    .programInfo(program.handle)
    .records.map(({ op, variant, fallbacks, flops, bytes, tag, packing }, i) => {
      const node = program.tags[tag];
      const { depth, times, begins } = program.nesting[i] as Nesting;
      const name = begins ? blockText(begins) : node ? opText(op, node) : op;
      return {
        op: "  ".repeat(depth) + name,
        shapes: node && !begins ? shapesOf(node) : "",
        formats: begins ? "" : (program.formats[i] ?? ""),
        variant: begins ? "" : variant,
        reason: begins ? undefined : choices[i]?.reason,
        device: program.device,
        fallbacks,
        times,
        flops: flops * times,
        bytes: bytes * times,
        path: node?.path ?? "",
        packing,
      };
    });
}

/** The program as text. */
export function explainProgram(name: string, program: Program): string {
  const records = explainRecords(program);
  const { arenaBytes } = native().programInfo(program.handle);
  return [
    `${name}${onGpu(program)}: ${summary(records)}, arena ${scaled(arenaBytes, "B")}`,
    ...table(explainColumns, records.flatMap(packedAndRow)),
  ].join("\n");
}

/** What a program's title says of the device that it runs on. */
export const onGpu = ({ device }: Program): string => (device === 0 ? "" : ` on ${deviceName(device)}`);

/** A column of a table; numbers stand at its right. */
export interface Column {
  readonly title: string;
  readonly right?: boolean;
}

export const explainColumns: readonly Column[] = [
  { title: "op" },
  { title: "shapes" },
  { title: "formats" },
  { title: "kernel" },
  { title: "chosen" },
  { title: "FLOPs", right: true },
  { title: "bytes", right: true },
  { title: "module" },
];

const reasonText: Readonly<Record<ChoiceReason, (device: number) => string>> = {
  only: () => "only one",
  estimated: () => "estimated cheapest",
  shipped: (device) => `measured on ${tuning(device).shippedFrom} (shipped)`,
  measured: () => "measured here",
  forced: () => "forced",
};

/** A record's cells, one for each of {@link explainColumns}. */
export const explainRow = (record: ExplainedRecord): string[] => [
  record.op,
  record.shapes,
  record.formats,
  record.fallbacks > 0 ? `${record.variant} (${record.fallbacks} fallbacks)` : record.variant,
  record.reason ? reasonText[record.reason](record.device) : "",
  scaled(record.flops, "FLOP"),
  scaled(record.bytes, "B"),
  record.path,
];

/** The row of a record, after that of the packing which it spares at later calls. */
function packedAndRow(record: ExplainedRecord): string[][] {
  const { packing, op, path } = record;
  if (!packing) return [explainRow(record)];
  const { packed, reused, bytes } = packing;
  const indent = op.slice(0, op.search(/\S/));
  const history = `packed ${packed}×, kept ${reused}×`;
  return [[`${indent}pack`, "weights", "", history, "", "", scaled(bytes, "B"), path], explainRow(record)];
}

/** Number of records, FLOPs and bytes of a program. */
export function summary(records: readonly ExplainedRecord[]): string {
  const total = (of: "flops" | "bytes"): number => records.reduce((sum, record) => sum + record[of], 0);
  return `${records.length} records, ${scaled(total("flops"), "FLOP")}, ${scaled(total("bytes"), "B")} moved`;
}

/** Lines of a table with its columns aligned. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
  const lines = [columns.map(({ title }) => title), ...rows];
  const widths = columns.map((_, i) => Math.max(...lines.map((line) => (line[i] as string).length)));
  return lines.map((line) =>
    line
      .map((cell, i) => (columns[i]?.right ? cell.padStart(widths[i] as number) : cell.padEnd(widths[i] as number)))
      .join("  ")
      .trimEnd(),
  );
}

const shapesOf = (node: Node): string =>
  `${node.inputs
    .slice(0, 4)
    .map((value) => `[${value.shape.join(",")}]`)
    .join(
      " ",
    )}${node.inputs.length > 4 ? ` +${node.inputs.length - 4}` : ""} → ${node.outputs.length > 2 ? `${node.outputs.length} outputs` : node.outputs.map((value) => `[${value.shape.join(",")}]`).join(" ")}`;

const blockText = ({ count }: BlockSpec): string => (count > 1 ? `repeat ×${count}` : "commit");

/** What a record does: its op, or for elementwise code what it computes. */
export function opText(op: string, node: Node): string {
  if (op !== "elementwise") return op;
  const { body } = node.attrs as { body?: { text?: string } };
  const text = body?.text ?? node.def.name;
  return text.length > 48 ? `${text.slice(0, 45)}…` : text;
}

const prefixes = ["", "k", "M", "G", "T"];

/** A quantity with three digits and a prefix: "1.23 MB". */
export function scaled(x: number, unit: string): string {
  const power = x < 1 ? 0 : Math.min(prefixes.length - 1, Math.floor(Math.log10(x) / 3));
  const value = x / 1000 ** power;
  return `${power === 0 ? value : value.toPrecision(3)} ${prefixes[power]}${unit}`;
}
