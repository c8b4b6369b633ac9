// Tracing: while a function is compiled, operations append nodes to a graph. Arguments, cells and
// captured tensors become the graph's inputs; writes to cells become its state writes.

import { UsageError } from "../errors.js";
import {
  type Attrs,
  type Aval,
  type Graph,
  GraphBuilder,
  type LoopAttrs,
  loopOf,
  rebuildGraph,
  type StateWrite,
  type Value,
} from "../ir/graph.js";
import type { OpDef } from "../ops/definition.js";
import { showShape } from "../shape.js";
import type { Cell } from "./cell.js";
import { currentPath } from "./path.js";
import { disown, ScopeFrame, within } from "./scope.js";
import { announce } from "./tape.js";
import { Tensor } from "./tensor.js";

/** What a state of the graph is bound to when the program runs. */
export type StateSource = { readonly cell: Cell } | { readonly capture: Tensor };

/** A JavaScript value that the traced code depended on: the program is valid while it stays the same. */
export interface Guard {
  readonly read: () => unknown;
  readonly value: unknown;
}

interface CellState {
  readonly ordinal: number;
  current: Tensor;
  written: boolean;
}

/** The deepest nesting of loops that the native loader takes. */
const deepestRepeat = 8;

let current: Trace | null = null;

/** The trace in progress, if any. */
export const currentTrace = (): Trace | null => current;

/**
 * Whether a function is being traced.
 *
 * @example
 * compile((x: Tensor) => (isTracing() ? x.mul(2) : x))(tensor([3])).at(0); // 6
 */
export const isTracing = (): boolean => current !== null;

/** What modules are doing: learning or being used. */
export type Mode = "train" | "eval";

let inlinedMode: Mode | undefined;

/**
 * The mode that the compiled function in progress fixes for modules, if any.
 *
 * @example
 * if (traceMode() !== undefined) throw new Error("no compiled function is in progress here");
 */
export const traceMode = (): Mode | undefined => inlinedMode ?? current?.mode;

/** Runs `fn` with modules in a mode; undefined leaves it as it is. */
export function withMode<T>(mode: Mode | undefined, fn: () => T): T {
  const outer = inlinedMode;
  inlinedMode = mode ?? outer;
  try {
    return fn();
  } finally {
    inlinedMode = outer;
  }
}

/**
 * Reads a JavaScript value that traced code depends on. Inside a trace the program becomes valid only
 * while `read()` gives the same value; calling with another traces again.
 *
 * @example
 * const config = { scale: 2 };
 * const scaled = compile((x: Tensor) => x.mul(traceGuard(() => config.scale)));
 * scaled(tensor([3])).at(0); // 6
 */
export function traceGuard<T>(read: () => T): T {
  const value = read();
  current?.guards.push({ read, value });
  return value;
}

/**
 * Says that the code reaches these cells by itself and not through an argument of a compiled function, as an optimiser does
 * with the parameters that it was made for. A program traced with them as part of an argument then serves no other cells in
 * their place: a call with a clone of the argument is traced anew.
 *
 * @example
 * const mine = new Cell({ shape: [], initial: () => [1] });
 * const bump = compile((cell: Cell) => {
 *   guardCells([mine]);
 *   cell.set(cell.value.add(mine.value));
 * });
 * bump(mine);
 * bump(new Cell({ shape: [], initial: () => [5] }));
 * if (bump.stats.traces !== 2) throw new Error("another cell does not do what mine does");
 */
export function guardCells(cells: Iterable<Cell>): void {
  for (const cell of cells) current?.guardedCells.add(cell);
}

/** One function being turned into a graph; or, within another trace, the body of a loop. */
export class Trace {
  readonly guards: Guard[];
  /** Cells that the traced code reaches by itself. */
  readonly guardedCells: Set<Cell>;
  /** The devices that the traced code took to be the program's, by moving values there. */
  readonly expectedDevices: Set<number>;
  readonly sources: StateSource[] = [];
  readonly mode: "train" | "eval" | undefined;
  private readonly outer: Trace | null;
  private readonly builder = new GraphBuilder();
  private readonly cells = new Map<Cell, CellState>();
  private readonly captures = new Map<Tensor, Value>();
  /** Values of the trace around this one, with the arguments that stand for them here. */
  private readonly captured = new Map<Value, Value>();
  private finished = false;

  constructor(mode?: "train" | "eval", outer: Trace | null = null) {
    this.mode = mode;
    this.outer = outer;
    this.guards = outer?.guards ?? [];
    this.guardedCells = outer?.guardedCells ?? new Set();
    this.expectedDevices = outer?.expectedDevices ?? new Set();
  }

  /** A new argument of the graph. */
  argument(aval: Aval): Tensor {
    return this.wrap(this.builder.arg(aval));
  }

  /** Runs `fn` with this trace receiving operations, and gives the graph of what it returned. */
  run<T>(fn: () => T, leaves: (result: T) => readonly Tensor[]): { graph: Graph; result: T } {
    if (current) throw new Error("internal: a trace is already in progress");
    const frame = new ScopeFrame();
    current = this;
    try {
      const result = within(frame, fn);
      if (result instanceof Promise) {
        result.catch(() => {});
        throw new UsageError(
          "compile: the function returned a Promise; a compiled function is traced synchronously, so await before or after it",
        );
      }
      const outputs = leaves(result).map((tensor) => this.lift("compile", tensor));
      return { graph: this.builder.finish(outputs, this.writes()), result };
    } catch (error) {
      for (const source of this.sources) if ("capture" in source) source.capture.dispose();
      throw error;
    } finally {
      current = null;
      this.finished = true;
      frame.close(new Set());
    }
  }

  private writes(): StateWrite[] {
    return [...this.cells.values()]
      .filter((state) => state.written)
      .map((state) => ({ state: state.ordinal, value: this.lift("set", state.current) }));
  }

  apply(def: OpDef, inputs: readonly Tensor[], attrs: Attrs): readonly Tensor[] {
    const values = inputs.map((tensor) => this.lift(def.name, tensor));
    const node = this.builder.node(def, values, attrs, def.infer(values, attrs), currentPath());
    return node.outputs.map((value) => this.wrap(value));
  }

  /**
   * Traces the body of a loop once and appends the loop. Cells written so far are written before it begins.
   *
   * @returns for each of them that the body leaves alone: its value before, and the same value as it is read afterwards.
   */
  repeat(def: OpDef, count: number, body: (i: Tensor) => void): [before: Tensor, after: Tensor][] {
    if (this.depth >= deepestRepeat)
      throw new UsageError(`repeat: loops nest at most ${deepestRepeat} deep in a compiled function`);
    const inner = new Trace(this.mode, this);
    const carried = new Set<Cell>();
    const { graph, captured } = inner.traceBody(body, carried);
    const states = [...carried].map((cell) => this.stateOf(cell));
    const initial = states.map((state) => this.lift("repeat", state.current));
    const attrs: LoopAttrs = { count, body: graph, homes: states.map(({ ordinal }) => ordinal) };
    const node = this.builder.node(def, [...captured, ...initial], attrs, graph.states, currentPath());
    const changed = new Set(graph.writes.map(({ state }) => state));
    return states.flatMap((state, i) => {
      const before = state.current;
      state.current = this.wrap(node.outputs[i] as Value);
      state.written = true;
      return changed.has(i) ? [] : [[before, state.current]];
    });
  }

  /**
   * Runs a loop's body with this trace receiving operations. Gives its graph, whose states are the cells carried from
   * one iteration to the next (noted in `carried`); the other cells that it reads become arguments.
   */
  private traceBody(body: (i: Tensor) => void, carried: Set<Cell>): { graph: Graph; captured: Value[] } {
    const outer = this.outer as Trace;
    const counter = this.argument({ shape: [], dtype: "i32" });
    current = this;
    try {
      body(counter);
      return this.bodyGraph(outer, carried);
    } finally {
      current = outer;
      this.finished = true;
    }
  }

  private bodyGraph(outer: Trace, carried: Set<Cell>): { graph: Graph; captured: Value[] } {
    for (const { cells } of [this, outer]) for (const [cell, { written }] of cells) if (written) carried.add(cell);
    const traced = this.builder.finish([], this.writes());
    const builder = new GraphBuilder();
    const map = new Map(traced.args.map((arg) => [arg, builder.arg(arg)]));
    const captured = [...this.captured].filter(([, inside]) => inside.node === null).map(([value]) => value);
    for (const [cell, { ordinal }] of this.cells) {
      if (carried.has(cell)) continue;
      const state = traced.states[ordinal] as Value;
      map.set(state, builder.arg(state));
      captured.push(outer.lift("repeat", outer.readCell(cell)));
    }
    const ordinals = new Map<number, number>();
    for (const cell of carried) {
      const state = builder.state(cell);
      const known = this.cells.get(cell);
      if (!known) continue;
      ordinals.set(known.ordinal, state.index);
      map.set(traced.states[known.ordinal] as Value, state);
    }
    const moved = (state: number): number => ordinals.get(state) as number;
    const graph = rebuildGraph(traced, builder, map, (node, inputs) => {
      const loop = loopOf(node);
      if (!loop) return undefined;
      const attrs = { ...node.attrs, homes: loop.homes.map(moved) };
      return builder.node(node.def, inputs, attrs, node.outputs, node.path).outputs;
    });
    const writes = graph.writes.map(({ state, value }) => ({ state: moved(state), value }));
    return { graph: { ...graph, writes }, captured };
  }

  readCell(cell: Cell): Tensor {
    return this.stateOf(cell).current;
  }

  writeCell(cell: Cell, tensor: Tensor): void {
    const state = this.stateOf(cell);
    // A fresh handle, so that no tape follows the value into the cell.
    state.current = this.wrap(this.lift("set", tensor));
    state.written = true;
  }

  /** The cells read or written, in order of their states. */
  touchedCells(): Cell[] {
    return [...this.cells.keys()];
  }

  private stateOf(cell: Cell): CellState {
    const known = this.cells.get(cell);
    if (known) return known;
    const value = this.builder.state(cell);
    if (this.outer) announce(this.outer.readCell(cell));
    else this.sources.push({ cell });
    const state: CellState = { ordinal: value.index, current: this.wrap(value), written: false };
    this.cells.set(cell, state);
    return state;
  }

  private lift(op: string, tensor: Tensor): Value {
    const traced = tensor.tracedValue(op);
    if (traced?.trace === this && !this.finished) return traced.value;
    if (traced && !this.isWithin(traced.trace)) {
      const what = `${op}: a tensor (${tensor.dtype} ${showShape(tensor.shape)})`;
      throw new UsageError(
        traced.trace.outer
          ? `${what} computed in the body of a repeat is used outside of it; write it to a cell there and read the cell here`
          : `${what} of another traced function is used here; pass it as an argument or return it as a result`,
      );
    }
    if (this.outer) return this.argumentFor(this.outer.lift(op, tensor));
    const known = this.captures.get(tensor);
    if (known) return known;
    const value = this.builder.state(tensor);
    const kept = tensor.alias();
    disown(kept);
    this.sources.push({ capture: kept });
    this.captures.set(tensor, value);
    return value;
  }

  /** How many loops this is the body of. */
  private get depth(): number {
    return this.outer ? this.outer.depth + 1 : 0;
  }

  /** Whether `trace` is in progress around this one. */
  private isWithin(trace: Trace): boolean {
    return !trace.finished && (this.outer === trace || (this.outer?.isWithin(trace) ?? false));
  }

  /** What stands for a value of the trace around this one: an argument, or the same constant made here. */
  private argumentFor(value: Value): Value {
    const known = this.captured.get(value);
    if (known) return known;
    const { node } = value;
    const inside =
      node?.def.lower.kind === "constant"
        ? (this.builder.node(node.def, [], node.attrs, node.outputs, node.path).outputs[0] as Value)
        : this.builder.arg(value);
    this.captured.set(value, inside);
    return inside;
  }

  private wrap(value: Value): Tensor {
    return new Tensor(value.shape, value.dtype, { trace: this, value });
  }
}
