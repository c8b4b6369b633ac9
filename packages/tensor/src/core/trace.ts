// Tracing: while a function is compiled, operations append nodes to a graph. Arguments, cells and
// captured tensors become the graph's inputs; writes to cells become its state writes.

import { UsageError } from "../errors.js";
import { type Attrs, type Aval, type Graph, GraphBuilder, type Value } from "../ir/graph.js";
import type { OpDef } from "../ops/definition.js";
import { showShape } from "../shape.js";
import type { Cell } from "./cell.js";
import { currentPath } from "./path.js";
import { disown, ScopeFrame, within } from "./scope.js";
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

/**
 * The mode that the trace in progress fixes for modules, if any.
 *
 * @example
 * if (traceMode() !== undefined) throw new Error("no trace is in progress here");
 */
export const traceMode = (): "train" | "eval" | undefined => current?.mode;

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

/** One function being turned into a graph. */
export class Trace {
  readonly guards: Guard[] = [];
  readonly sources: StateSource[] = [];
  readonly mode: "train" | "eval" | undefined;
  private readonly builder = new GraphBuilder();
  private readonly cells = new Map<Cell, CellState>();
  private readonly captures = new Map<Tensor, Value>();
  private finished = false;

  constructor(mode?: "train" | "eval") {
    this.mode = mode;
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
      const writes = [...this.cells.values()]
        .filter((state) => state.written)
        .map((state) => ({ state: state.ordinal, value: this.lift("set", state.current) }));
      return { graph: this.builder.finish(outputs, writes), result };
    } finally {
      current = null;
      this.finished = true;
      frame.close(new Set());
    }
  }

  apply(def: OpDef, inputs: readonly Tensor[], attrs: Attrs): readonly Tensor[] {
    const values = inputs.map((tensor) => this.lift(def.name, tensor));
    const node = this.builder.node(def, values, attrs, def.infer(values, attrs), currentPath());
    return node.outputs.map((value) => this.wrap(value));
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
    this.sources.push({ cell });
    const state: CellState = { ordinal: value.index, current: this.wrap(value), written: false };
    this.cells.set(cell, state);
    return state;
  }

  private lift(op: string, tensor: Tensor): Value {
    const traced = tensor.tracedValue(op);
    if (traced) {
      if (traced.trace !== this || this.finished) {
        throw new UsageError(
          `${op}: a tensor (${tensor.dtype} ${showShape(tensor.shape)}) of another traced function is used here; pass it as an argument or return it as a result`,
        );
      }
      return traced.value;
    }
    const known = this.captures.get(tensor);
    if (known) return known;
    const value = this.builder.state(tensor);
    const kept = tensor.alias();
    disown(kept);
    this.sources.push({ capture: kept });
    this.captures.set(tensor, value);
    return value;
  }

  private wrap(value: Value): Tensor {
    return new Tensor(value.shape, value.dtype, { trace: this, value });
  }
}
