// compile(fn): traces a function once per signature, turns the graph into one native program, and runs
// that program at every later call.

import { anyCellIsLent, type Cell, type CellTree } from "../core/cell.js";
import { checkPrecision, type Precision, withPrecision } from "../core/precision.js";
import { tapeDepth } from "../core/tape.js";
import { Tensor } from "../core/tensor.js";
import { currentTrace, type Guard, type StateSource, Trace, withMode } from "../core/trace.js";
import { isPlainObject, leavesOf, mapTree } from "../core/tree.js";
import { UsageError } from "../errors.js";
import type { Graph } from "../ir/graph.js";
import { printGraph } from "../ir/print.js";
import { optimize } from "../passes/index.js";
import { show } from "../shape.js";
import { cancelToken, throwIfAborted } from "./abort.js";
import { Bindings } from "./bindings.js";
import type { Storage } from "./device.js";
import { markOrigin } from "./eager.js";
import { explainProgram } from "./explain.js";
import { GuardedCache } from "./guardedCache.js";
import { type Profile, profileProgram } from "./profile.js";
import { loadGraph, type Program, releaseProgram, runProgram } from "./program.js";
import { type Arguments, fits, flattenArguments, type Pattern, patternOf, whatChanged } from "./signature.js";
import { span } from "./timeline.js";

/** How a function is compiled. */
export interface CompileOptions {
  /** Fixes the mode of modules used inside; otherwise each module's own mode is guarded. */
  readonly mode?: "train" | "eval";
  /** Shown by explain() and in warnings; default: the function's name. */
  readonly name?: string;
  /**
   * How exactly convolutions, matrix products and attention compute, in derivatives too; see {@link Precision}. "bf16"
   * rounds their f32 factors to bf16 and sums in f32; everything else stays as it is. explain() shows the formats of each
   * kernel. Default: that of the function that this is called in, else "highest".
   */
  readonly precision?: Precision;
}

/** What a compiled function has done so far. */
export interface CompileStats {
  readonly calls: number;
  /** Times that the function was traced because no program fitted the arguments: the cache's misses. */
  readonly traces: number;
  /** Programs held. */
  readonly programs: number;
  /** Programs that have left, the least recently used first, because there were too many or they were too large. */
  readonly evictions: number;
}

/** How one call of a compiled function is run. */
export interface CallOptions {
  /**
   * Stops the work of this call, queued or running. Reading what it should have computed rejects with the signal's
   * reason; cells that it should have written are as they were; it counts as no error for `settled()`.
   */
  readonly signal?: AbortSignal;
}

/** A compiled function. */
export interface Compiled<A extends readonly unknown[], R> {
  (...args: A): R;
  /**
   * Calls the function with options of this call alone. Inside another compiled function they have no effect.
   *
   * @throws the signal's reason, when it has been aborted before.
   */
  run(options: CallOptions, ...args: A): R;
  /** The program of the latest call: op, shapes, formats, kernel variant, FLOPs, bytes and module path of each record. */
  explain(): string;
  /**
   * Calls the function `runs` times (after once to warm up) with these arguments, as any call does: state moves on.
   * Times every record and holds it against what the machine can do (see {@link ceilings}, measured at the first
   * profile). Results are disposed. `String(profile)` is the table of explain() with times.
   *
   * @throws UsageError when `runs` is no whole number from 1, or inside a trace.
   */
  profile(runs: number, ...args: A): Promise<Profile>;
  /** The optimised graph of the latest call, as text. */
  print(): string;
  readonly stats: CompileStats;
  /** Frees the programs and the tensors that they captured. */
  dispose(): void;
}

/** Most programs held by one compiled function, and the most bytes of their text and of the tensors that they captured. */
const cacheLimits = { count: 64, bytes: 256 << 20 };
/** Traces in a row, without a call that fits, after which a warning says that every call compiles anew. */
const warnAfter = 8;

/** One specialisation: a program with what binds it to its surroundings. */
interface Specialisation {
  readonly program: Program;
  readonly graph: Graph;
  readonly guards: readonly Guard[];
  readonly sources: readonly Source[];
  /** Cells that must lie where they lay among the arguments. */
  readonly guardedCells: readonly PlacedCell[];
  readonly written: readonly number[];
  /** The result with each tensor replaced by its position among the program's outputs. */
  readonly result: unknown;
  readonly bindings: Bindings;
  /** Whether its states are the same at every call. */
  readonly fixed: boolean;
  readonly captures: readonly Tensor[];
  readonly bytes: number;
}

/** Where a state of the program comes from at each call. */
type Source =
  | { readonly kind: "fixed"; readonly storage: () => Storage; readonly cell?: Cell }
  | { readonly kind: "argument"; readonly tree: number; readonly cell: number };

/** A cell and where it lies among the arguments. */
interface PlacedCell {
  readonly cell: Cell;
  readonly tree: number;
  readonly index: number;
}

class OutputSlot {
  readonly index: number;
  constructor(index: number) {
    this.index = index;
  }
}

/**
 * Compiles a function of tensors. It is traced once for each combination of shapes, dtypes, module
 * structures and static values (numbers, booleans, strings) that it is called with; later calls run one
 * native program. Cells that it writes are updated in place.
 *
 * @param fn synchronous; takes tensors, cells, Rngs, modules, plain objects and arrays of those, and
 *   static values; returns a tree of tensors.
 * @throws UsageError for something that is no function, or an unknown precision.
 * @example
 * const step = compile((x: Tensor) => x.mul(2).sum());
 */
export function compile<A extends readonly unknown[], R>(
  fn: (...args: A) => R,
  options: CompileOptions = {},
): Compiled<A, R> {
  if (typeof fn !== "function") throw new UsageError(`compile: expected a function, got ${show(fn)}`);
  const name = options.name ?? (fn.name || "compiled");
  const { precision } = options;
  checkPrecision(name, precision);
  const cache = new GuardedCache<Specialisation>(cacheLimits, release);
  let previous: string | undefined;
  let latest: Specialisation | undefined;
  let likeLatest: Pattern | null = null;
  let calls = 0;
  let traces = 0;
  let streak = 0;
  let warned = false;
  let disposed = false;

  const find = ({ key, trees }: Arguments): Specialisation | undefined =>
    cache.find(key, (spec) => guardsHold(spec) && keepsGuarded(spec, trees) && !capturesArgument(spec, trees));

  const add = (args: Arguments, raw: A): Specialisation => {
    const made = span(`compile ${name}`, () => specialise(name, fn, raw, args, options));
    traces++;
    cache.add(args.key, made);
    if (++streak >= warnAfter && !warned && previous !== undefined) {
      warned = true;
      process.emitWarning(
        `${name} was compiled anew at ${streak} calls in a row: ${whatChanged(previous, args.key)}. Values that vary should be tensors: scalar(x) for a number`,
        "FigmentRecompileWarning",
      );
    }
    previous = args.key;
    return made;
  };

  const call = (...raw: A): R => run({}, ...raw);
  const run = ({ signal }: CallOptions, ...raw: A): R => {
    if (disposed) throw new UsageError(`${name}: this compiled function has been disposed`);
    // Inside a trace the function becomes part of it; under a derivative its operations must be seen one by one.
    if (currentTrace() || tapeDepth() > 0)
      return withMode(options.mode, () => withPrecision(precision, () => fn(...raw)));
    throwIfAborted(signal);
    calls++;
    // Most calls are like the one before.
    const tensors: Tensor[] = [];
    if (latest && likeLatest && fits(likeLatest, raw, tensors) && guardsHold(latest)) {
      streak = 0;
      return runSpecialised(latest, tensors, [], signal) as R;
    }
    const args = flattenArguments(name, raw, options.mode !== undefined);
    let found = find(args);
    if (found) streak = 0;
    found ??= add(args, raw);
    latest = found;
    likeLatest = patternOf(raw);
    return runSpecialised(found, args.tensors, args.trees, signal) as R;
  };
  const stats = (): CompileStats => ({ calls, traces, programs: cache.size, evictions: cache.evictions });

  const members = {
    run: { value: run },
    explain: {
      value: () => {
        if (!latest) throw new UsageError(`${name}: call it once before asking for its program`);
        const { programs, evictions } = stats();
        return `${explainProgram(name, latest.program)}\n${calls} calls, ${traces} compilations; ${programs} of at most ${cacheLimits.count} programs held, ${evictions} dropped`;
      },
    },
    profile: {
      value: (runs: number, ...args: A): Promise<Profile> => {
        if (!Number.isInteger(runs) || runs < 1)
          throw new UsageError(`${name}: profile takes the number of runs, at least 1, got ${show(runs)}`);
        if (currentTrace()) throw new UsageError(`${name}: profile cannot be asked for inside a traced function`);
        return profileProgram(name, runs, () => {
          for (const tensor of leavesOf(call(...args))) tensor.dispose();
          return (latest as Specialisation).program;
        });
      },
    },
    print: {
      value: () => {
        if (!latest) throw new UsageError(`${name}: call it once before asking for its graph`);
        return printGraph(latest.graph);
      },
    },
    stats: { get: stats },
    dispose: {
      value: () => {
        disposed = true;
        cache.clear();
        latest = undefined;
      },
    },
  };
  return Object.defineProperties(call, members) as Compiled<A, R>;
}

const guardsHold = ({ guards }: Specialisation): boolean => guards.every(({ read, value }) => Object.is(read(), value));

function release({ program, bindings, captures }: Specialisation): void {
  bindings.clear();
  releaseProgram(program);
  for (const tensor of captures) tensor.dispose();
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

function specialise<A extends readonly unknown[], R>(
  name: string,
  fn: (...args: A) => R,
  raw: A,
  { tensors, trees }: Arguments,
  { mode, precision }: CompileOptions,
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
  const sources = trace.sources.map((source) => resolveSource(source, trees));
  const captures = trace.sources.flatMap((source) => ("capture" in source ? [source.capture] : []));
  return {
    program,
    graph,
    guards: trace.guards,
    sources,
    guardedCells: placesOf(trace.guardedCells, trees),
    written: graph.writes.map(({ state }) => state),
    result: mapTree(result, (tensor) => new OutputSlot(outputs.indexOf(tensor)) as unknown as Tensor),
    bindings: new Bindings(program.handle),
    fixed: sources.every(({ kind }) => kind === "fixed"),
    captures,
    bytes: captures.reduce((n, tensor) => n + tensor.storage("compile").bytes, program.bytes),
  };
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
    return { kind: "fixed", storage: () => capture.storage("compile") };
  }
  for (const [tree, owner] of trees.entries()) {
    const cell = owner.cells().indexOf(source.cell);
    if (cell >= 0) return { kind: "argument", tree, cell };
  }
  const { cell } = source;
  return { kind: "fixed", storage: () => cell.storage(), cell };
}

function runSpecialised(
  spec: Specialisation,
  tensors: readonly Tensor[],
  trees: readonly CellTree[],
  signal?: AbortSignal,
): unknown {
  const { program, sources, written } = spec;
  const storages = tensors.map((tensor) => tensor.storage("compiled function"));
  const treeCells = trees.map((tree) => tree.cells());
  const cellAt = (source: Source): Cell | undefined =>
    source.kind === "argument" ? treeCells[source.tree]?.[source.cell] : source.cell;
  // Tensors that share memory with a cell about to be overwritten keep what they saw.
  if (anyCellIsLent()) for (const state of written) cellAt(sources[state] as Source)?.beforeWrite();
  const outputs = runProgram(program, bindingFor(spec, cellAt), storages, cancelToken(signal));
  markOrigin(outputs);
  if (signal) for (const storage of outputs) storage.signal = signal;
  const results = outputs.map((storage, i) => {
    const { shape, dtype } = program.outputs[i] as { shape: readonly number[]; dtype: Tensor["dtype"] };
    if (shape.length === 0) storage.leaveToCollector();
    return new Tensor(shape, dtype, { storage });
  });
  return fillResult(spec.result, results);
}

/** The native binding for the states of this call. */
function bindingFor(spec: Specialisation, cellAt: (source: Source) => Cell | undefined): number {
  const { sources, bindings, fixed } = spec;
  if (sources.length === 0) return 0;
  if (fixed && bindings.latest !== 0) return bindings.latest;
  return bindings.get(
    sources.map((source) => (source.kind === "fixed" ? source.storage() : (cellAt(source) as Cell).storage())),
  );
}

function fillResult(tree: unknown, tensors: readonly Tensor[]): unknown {
  if (tree instanceof OutputSlot) return tensors[tree.index];
  if (Array.isArray(tree)) return tree.map((item) => fillResult(item, tensors));
  if (isPlainObject(tree))
    return Object.fromEntries(Object.entries(tree).map(([key, item]) => [key, fillResult(item, tensors)]));
  return tree;
}
