// One specialisation of a compiled function: the program that a signature is traced to, with what binds it to its
// surroundings, and whether it serves a call.

import type { Cell, CellTree } from "../core/cell.js";
import { type Precision, withPrecision } from "../core/precision.js";
import { disown } from "../core/scope.js";
import type { Tensor } from "../core/tensor.js";
import { type Guard, type StateSource, Trace } from "../core/trace.js";
import { leavesOf, mapTree } from "../core/tree.js";
import { DeviceError, type FigmentError, UsageError } from "../errors.js";
import type { Graph } from "../ir/graph.js";
import { optimize } from "../passes/index.js";
import { showShape } from "../shape.js";
import { Bindings, type StateHolder } from "./bindings.js";
import { currentDevice, onDevice } from "./device.js";
import { deviceName } from "./devices.js";
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

interface TraceOptions {
  readonly mode?: "train" | "eval";
  readonly precision?: Precision;
}

/** Stands for a tensor in a specialisation's result. */
export class OutputSlot {
  readonly index: number;
  constructor(index: number) {
    this.index = index;
  }
}

/** Traces a function for the arguments of a call and makes its program, on the device that they lie on. */
export function specialise<A extends readonly unknown[], R>(
  name: string,
  fn: (...args: A) => R,
  raw: A,
  args: Arguments,
  options: TraceOptions,
  origins: CallOrigins,
): Specialisation {
  return onDevice(args.device ?? currentDevice(), () => specialiseHere(name, fn, raw, args, options, origins));
}

function specialiseHere<A extends readonly unknown[], R>(
  name: string,
  fn: (...args: A) => R,
  raw: A,
  { tensors, trees, device }: Arguments,
  { mode, precision }: TraceOptions,
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
  const { place, sources } = placeSources(name, trace, device);
  const graph = span("optimise", () => onDevice(place, () => optimize(traced)));
  const program = span("lower and load", () => onDevice(place, () => loadGraph(graph, name)));
  const captures = sources.flatMap((source) => ("capture" in source ? [source.capture] : []));
  return {
    program,
    graph,
    guards: trace.guards,
    sources: sources.map((source) => resolveSource(source, trees)),
    guardedCells: placesOf(trace.guardedCells, trees),
    written: graph.writes.map(({ state }) => state),
    result: mapTree(result, (tensor) => new OutputSlot(outputs.indexOf(tensor)) as unknown as Tensor),
    bindings: new Bindings(program),
    origins,
    captures,
    bytes: captures.reduce((n, tensor) => n + tensor.storage("compile", place).bytes, program.bytes),
  };
}

/**
 * The device that a traced function runs on: that of its arguments, else that of what it reads by itself. Where only that
 * decides, captured tensors on the device of the trace, among which are those that it made, are copied there.
 *
 * @throws DeviceError for a cell or a captured tensor elsewhere; UsageError where the function moves values elsewhere.
 */
function placeSources(
  name: string,
  { sources, expectedDevices }: Trace,
  given: number | undefined,
): { readonly place: number; readonly sources: readonly StateSource[] } {
  const here = currentDevice();
  const homeOf = (source: StateSource): number | undefined => ("cell" in source ? source.cell : source.capture).home;
  const deciding = (source: StateSource): boolean => {
    const home = homeOf(source);
    return home !== undefined && ("cell" in source || home !== here);
  };
  const decider = sources.find(deciding);
  const place = given ?? (decider && homeOf(decider)) ?? here;
  const misplaced = sources.filter((source) => ![undefined, place].includes(homeOf(source)));
  const movable = (source: StateSource): boolean =>
    given === undefined && "capture" in source && homeOf(source) === here;
  const at = deviceName(place);
  const refuse = (error: FigmentError): never => {
    for (const source of sources) if ("capture" in source) source.capture.dispose();
    throw error;
  };
  const stray = misplaced.find((source) => !movable(source));
  if (stray) {
    const what = "cell" in stray ? stray.cell.name : `a captured tensor ${showShape(stray.capture.shape)}`;
    const there = deviceName(homeOf(stray) as number);
    refuse(
      new DeviceError(
        `${name}: it runs on ${at}, where ${given === undefined ? "other cells" : "its arguments"} are, but ${what} is on ${there}; move it, for example with .to("${at}")`,
      ),
    );
  }
  const elsewhere = [...expectedDevices].find((device) => device !== place);
  if (elsewhere !== undefined)
    refuse(
      new UsageError(
        `${name}: it runs on ${at}, but moves a value to ${deviceName(elsewhere)}; move its arguments and cells there before the call`,
      ),
    );
  const moved = (source: StateSource): StateSource =>
    "capture" in source && misplaced.includes(source) ? { capture: copyOn(place, source.capture) } : source;
  return { place, sources: sources.map(moved) };
}

/** A captured tensor's value on another device; the tensor is freed. */
function copyOn(device: number, capture: Tensor): Tensor {
  const copy = capture.to(deviceName(device));
  disown(copy);
  capture.dispose();
  return copy;
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
  if (!keepsPlace(spec)) return "a cell that it reads has moved to another device";
  if (!guardsHold(spec)) return "a value that it depends on, such as a module's mode, changed";
  if (!keepsGuarded(spec, trees))
    return "an argument has other cells than those that the function reaches by itself, as an optimiser does its parameters";
  if (capturesArgument(spec, trees)) return "a cell that the function captured came as an argument";
  return undefined;
}

/** Whether the cells that the program reads by itself are on its device, or could be. */
const keepsPlace = ({ sources, program }: Specialisation): boolean =>
  sources.every((source) => {
    const home = source.kind === "fixed" ? source.cell?.home : undefined;
    return home === undefined || home === program.device;
  });

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
    return { kind: "fixed", holder: { storage: (device) => capture.storage("compile", device) } };
  }
  for (const [tree, owner] of trees.entries()) {
    const cell = owner.cells().indexOf(source.cell);
    if (cell >= 0) return { kind: "argument", tree, cell };
  }
  const { cell } = source;
  return { kind: "fixed", holder: cell, cell };
}
