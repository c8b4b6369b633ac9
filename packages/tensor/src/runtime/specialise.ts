// One specialisation of a compiled function: the program that a signature is traced to, with what binds it to its
// surroundings, and whether it serves a call.

import type { Cell, CellTree } from "../core/cell.js";
import { type Precision, withPrecision } from "../core/precision.js";
import type { Tensor } from "../core/tensor.js";
import { type Guard, type StateSource, Trace } from "../core/trace.js";
import { leavesOf, mapTree } from "../core/tree.js";
import type { Graph } from "../ir/graph.js";
import { optimize } from "../passes/index.js";
import { Bindings, type StateHolder } from "./bindings.js";
import type { CallOrigins } from "./origin.js";
import { loadGraph, type Program, releaseProgram } from "./program.js";
import type { Arguments } from "./signature.js";
import { span } from "./timeline.js";

/** A program with what binds it to its surroundings. */
export interface Specialisation {
  readonly program: Program;
  readonly graph: Graph;
  readonly guards: readonly Guard[];
  readonly sources: readonly Source[];
  /** Cells that must lie where they lay among the arguments. */
  readonly guardedCells: readonly PlacedCell[];
  /** Ordinals of the states that it writes. */
  readonly written: readonly number[];
  /** The result with each tensor replaced by its position among the program's outputs. */
  readonly result: unknown;
  readonly bindings: Bindings;
  readonly origins: CallOrigins;
  readonly captures: readonly Tensor[];
  readonly bytes: number;
}

/** Where a state of the program comes from at each call. */
type Source =
  | { readonly kind: "fixed"; readonly holder: StateHolder; readonly cell?: Cell }
  | { readonly kind: "argument"; readonly tree: number; readonly cell: number };

/** A cell and where it lies among the arguments. */
interface PlacedCell {
  readonly cell: Cell;
  readonly tree: number;
  readonly index: number;
}

/** Stands for a tensor in a specialisation's result. */
export class OutputSlot {
  readonly index: number;
  constructor(index: number) {
    this.index = index;
  }
}

/** Traces a function for the arguments of a call and makes its program. */
export function specialise<A extends readonly unknown[], R>(
  name: string,
  fn: (...args: A) => R,
  raw: A,
  { tensors, trees }: Arguments,
  { mode, precision }: { readonly mode?: "train" | "eval"; readonly precision?: Precision },
  origins: CallOrigins,
): Specialisation {
  const trace = new Trace(mode);
  const replacements = tensors.map((x) => trace.argument({ shape: x.shape, dtype: x.dtype }));
  let next = 0;
  const tracedArgs = mapTree(raw as unknown as unknown[], () => replacements[next++] as Tensor) as unknown as A;
  const { graph: traced, result } = span("trace", () =>
    trace.run(
      () => withPrecision(precision, () => fn(...tracedArgs)),
      (value) => distinct(leavesOf(value)),
    ),
  );
  const outputs = distinct(leavesOf(result));
  const graph = span("optimise", () => optimize(traced));
  const program = span("lower and load", () => loadGraph(graph, name));
  const captures = trace.sources.flatMap((source) => ("capture" in source ? [source.capture] : []));
  return {
    program,
    graph,
    guards: trace.guards,
    sources: trace.sources.map((source) => resolveSource(source, trees)),
    guardedCells: placesOf(trace.guardedCells, trees),
    written: graph.writes.map(({ state }) => state),
    result: mapTree(result, (tensor) => new OutputSlot(outputs.indexOf(tensor)) as unknown as Tensor),
    bindings: new Bindings(program.handle),
    origins,
    captures,
    bytes: captures.reduce((n, tensor) => n + tensor.storage("compile").bytes, program.bytes),
  };
}

/** Frees a specialisation's program and what it captured. */
export function release({ program, bindings, captures }: Specialisation): void {
  bindings.clear();
  releaseProgram(program);
  for (const tensor of captures) tensor.dispose();
}

/** Whether the values that the traced code depended on are as they were. */
export function guardsHold({ guards }: Specialisation): boolean {
  for (const { read, value } of guards) if (!Object.is(read(), value)) return false;
  return true;
}

/** Why a specialisation does not serve a call with these cells among its arguments; undefined when it does. */
export function misfit(spec: Specialisation, trees: readonly CellTree[]): string | undefined {
  if (!guardsHold(spec)) return "a value that it depends on, such as a module's mode, changed";
  if (!keepsGuarded(spec, trees))
    return "an argument has other cells than those that the function reaches by itself, as an optimiser does its parameters";
  if (capturesArgument(spec, trees)) return "a cell that the function captured came as an argument";
  return undefined;
}

/** What holds each state of a specialisation in a call with these cells among its arguments. */
export function statesOf({ sources }: Specialisation, trees: readonly CellTree[]): StateHolder[] {
  const cells = trees.map((tree) => tree.cells());
  return sources.map((source) =>
    source.kind === "fixed" ? source.holder : (cells[source.tree]?.[source.cell] as Cell),
  );
}

/** Whether the cells that the traced code reached by itself lie where they lay among the arguments. */
const keepsGuarded = ({ guardedCells }: Specialisation, trees: readonly CellTree[]): boolean =>
  guardedCells.length === 0 ||
  trees.every((owner, t) => {
    const cells = owner.cells();
    return guardedCells.every(({ cell, tree, index }) => tree !== t || cells[index] === cell);
  });

/** Whether a cell that the program captured is now an argument too: then its traces would not agree. */
function capturesArgument({ sources }: Specialisation, trees: readonly CellTree[]): boolean {
  if (trees.length === 0) return false;
  const captured = sources.flatMap((source) => (source.kind === "fixed" && source.cell ? [source.cell] : []));
  return captured.length > 0 && trees.some((tree) => tree.cells().some((cell) => captured.includes(cell)));
}

/** Those of the cells that are part of an argument, with their places. */
function placesOf(cells: ReadonlySet<Cell>, trees: readonly CellTree[]): PlacedCell[] {
  if (cells.size === 0) return [];
  return trees.flatMap((owner, tree) =>
    owner.cells().flatMap((cell, index) => (cells.has(cell) ? [{ cell, tree, index }] : [])),
  );
}

const distinct = (tensors: readonly Tensor[]): Tensor[] => [...new Set(tensors)];

function resolveSource(source: StateSource, trees: readonly CellTree[]): Source {
  if ("capture" in source) {
    const { capture } = source;
    return { kind: "fixed", holder: { storage: () => capture.storage("compile") } };
  }
  for (const [tree, owner] of trees.entries()) {
    const cell = owner.cells().indexOf(source.cell);
    if (cell >= 0) return { kind: "argument", tree, cell };
  }
  const { cell } = source;
  return { kind: "fixed", holder: cell, cell };
}
