// The base class of layers and models: finds its parameters, submodules and random streams among its own
// properties, gives them dotted paths, initialises, saves, loads and clones them.

import {
  Cell,
  type CellTree,
  checkFunction,
  type Device,
  type DType,
  defaultDevice,
  isDType,
  isFloat,
  isTracing,
  Rng,
  restoreCells,
  type SavedState,
  type Stateful,
  type StateToRestore,
  scope,
  show,
  Tensor,
  traceGuard,
  traceMode,
  UsageError,
  withDevice,
  withPath,
} from "@figment/tensor";
import type { TorchMember } from "./interchange/layout.js";
import { copyMembers, describeStructure, joinPath, visitMembers } from "./members.js";
import { BufferCell, InitialisedCell, Parameter } from "./parameter.js";
import { Snapshot } from "./snapshot.js";

/** What a module keeps about itself, apart from the fields that its author declares. */
export interface Internals {
  training: boolean;
  /** The name that the parent knows it by; tags its operations. */
  segment: string;
}

/** @internal Key of a module's own bookkeeping; a symbol, so that it is no member. */
export const internals: unique symbol = Symbol("figment.module");

/** Told of every call of a module's `forward`, after it. */
export type ForwardObserver = (module: Module, inputs: readonly unknown[], output: unknown) => void;

let observer: ForwardObserver | null = null;

/**
 * Runs `fn` while `watch` is told of every call of any module's `forward`.
 *
 * @example
 * const seen: string[] = [];
 * observeForward(
 *   (module) => seen.push(module.constructor.name),
 *   () => new Sequential(new Linear(2, 3), relu).init(rng(0)).forward(ones([1, 2])),
 * );
 * seen.length; // 2
 */
export function observeForward<T>(watch: ForwardObserver, fn: () => T): T {
  checkFunction("observeForward", "watch", watch);
  checkFunction("observeForward", "fn", fn);
  const previous = observer;
  observer = watch;
  try {
    return fn();
  } finally {
    observer = previous;
  }
}

/** Options of {@link Module.clone}. */
export interface CloneOptions {
  readonly dtype?: "f32" | "f64" | "bf16" | "f16";
}

/**
 * A layer or model. Subclasses declare parameters, submodules, random streams and configuration as public
 * fields (arrays and plain objects of them too) and a `forward` method. Constructors allocate no device
 * memory: `init(rng)` draws the parameters, or `loadStateDict` brings them.
 *
 * Fields must be ordinary properties: JavaScript's `#private` fields are neither found nor cloned.
 *
 * @example
 * class Perceptron extends Module {
 *   hidden = new Linear(2, 16);
 *   output = new Linear(16, 1);
 *   forward(x: Tensor): Tensor {
 *     return this.output.forward(silu(this.hidden.forward(x)));
 *   }
 * }
 * const model = new Perceptron().init(rng(0));
 * const y = model.forward(tensor([[0.5, -1]])); // [1, 1]
 */
export abstract class Module implements CellTree, Stateful {
  /** @internal */
  readonly [internals]: Internals = { training: true, segment: "" };

  constructor() {
    installForward(this);
  }

  /** Text shared by modules that one compiled program serves: same classes, configuration and shapes. */
  get structure(): string {
    return describeStructure(this, isModule);
  }

  /** The training flags of this module and all below it, for signatures of compiled functions. */
  get modes(): string {
    return [...this.namedModules()].map(([, module]) => (module[internals].training ? "t" : "e")).join("");
  }

  /** Every cell below: parameters, other cells, and the states of random streams; each once. */
  cells(): readonly Cell[] {
    return [...this.namedState()].map(([, cell]) => cell);
  }

  /**
   * The same object as long as members, configuration and modes of this module and of all below it are the same ones:
   * what a compiled function that takes the module asks at every call.
   */
  identity(): object {
    const known = snapshots.get(this);
    if (known?.holds()) return known;
    const taken = new Snapshot(this, modeOf);
    snapshots.set(this, taken);
    return taken;
  }

  /** Trainable parameters with their dotted paths, in the order of declaration; a shared one once. */
  *namedParameters(): Generator<[path: string, parameter: Parameter]> {
    for (const [path, cell] of this.namedCells()) if (cell instanceof Parameter) yield [path, cell];
  }

  /** Trainable parameters, each once. */
  parameters(): Parameter[] {
    return [...this.namedParameters()].map(([, parameter]) => parameter);
  }

  /** This module (with an empty path) and every module below it, each once. */
  *namedModules(): Generator<[path: string, module: Module]> {
    const seen = new Set<Module>();
    const visit = function* (path: string, module: Module): Generator<[string, Module]> {
      if (seen.has(module)) return;
      seen.add(module);
      yield [path, module];
      for (const [name, child] of childrenOf(module)) yield* visit(joinPath(path, name), child);
    };
    yield* visit("", this);
  }

  /** Number of trainable numbers. */
  get parameterCount(): number {
    return this.parameters().reduce((n, { shape }) => n + shape.reduce((product, d) => product * d, 1), 0);
  }

  /**
   * Whether layers such as Dropout act as in training. A compiled function that reads this is traced again
   * when it changes, unless its mode was fixed.
   */
  get training(): boolean {
    const fixed = traceMode();
    return fixed ? fixed === "train" : traceGuard(() => this[internals].training);
  }

  /** Puts this module and all below it into training mode, or out of it. */
  train(on = true): this {
    for (const [, module] of this.namedModules()) module[internals].training = on;
    return this;
  }

  /** Puts this module and all below it into evaluation mode. */
  eval(): this {
    return this.train(false);
  }

  /**
   * Draws every parameter and buffer from `random.fork(path)` and seeds every random stream likewise, so that a
   * parameter's value depends on the seed and its path alone.
   */
  init(random: Rng): this {
    if (!(random instanceof Rng)) throw new UsageError("init: expected a random stream such as rng(0)");
    const seen = new Set<Cell>();
    for (const [prefix, module] of this.namedModules()) {
      visitMembers(module, (name, value) => {
        const cell = value instanceof Rng ? value.cell : value;
        if (!(cell instanceof Cell) || seen.has(cell)) return;
        seen.add(cell);
        const path = joinPath(prefix, name);
        cell.rename(path);
        if (value instanceof Rng) borrowFork(random, path, (stream) => value.reseed(stream));
        else if (value instanceof InitialisedCell) {
          borrowFork(random, path, (stream) =>
            scope(() => value.set(value.initialiser(stream, value.shape).cast(value.dtype))),
          );
        }
      });
    }
    return this;
  }

  /** Parameters and other cells (but not random streams) by dotted path: the weights, as they are saved. */
  stateDict(): Record<string, Cell> {
    return Object.fromEntries(this.namedCells());
  }

  /**
   * Copies weights into the cells of the same paths; float types are converted to those of the cells. Takes no ownership of
   * the tensors.
   *
   * @throws CheckpointError listing every missing, unexpected and mis-shaped entry; then nothing has changed.
   */
  loadStateDict(tensors: Readonly<Record<string, Tensor>>): this {
    if (tensors === null || typeof tensors !== "object")
      throw new UsageError(`${this.constructor.name}.loadStateDict: expected tensors by name, got ${String(tensors)}`);
    restoreWeights(this.constructor.name, this.stateDict(), tensors);
    return this;
  }

  /** Weights and random streams, so that training resumes with the same draws. */
  captureState(): SavedState {
    const cells = Object.fromEntries([...this.namedState()].filter(([, cell]) => cell.allocated));
    return { cells, json: null };
  }

  /**
   * Float types are converted to those of the cells.
   *
   * @throws CheckpointError when the saved state does not fit; then nothing has changed.
   */
  restoreState({ tensors }: StateToRestore): void {
    const weights = this.stateDict();
    // A stream that was never seeded is not saved, so it is expected only if it is there.
    const expected = [...this.namedState()].filter(
      ([path]) => Object.hasOwn(weights, path) || Object.hasOwn(tensors, path),
    );
    restoreWeights(this.constructor.name, Object.fromEntries(expected), tensors);
  }

  /**
   * A module of the same structure with cells of its own holding the same values, in the same mode. Cells
   * and modules that are shared within this one are shared within the clone.
   *
   * @param options `dtype`: the float type to keep the parameters in, rounding them; buffers stay as they are. Layers compute
   * in the type of their input, so a clone in bf16 or f16 is the same function on half the memory, and samples with any
   * `precision`. Optimisers take f32 and f64 only. Default: as they are.
   * @throws UsageError when `dtype` is no float type.
   * @example
   * const model = new Sequential(new Linear(4, 8), silu, new Linear(8, 2)).init(rng(0));
   * const small = model.clone({ dtype: "bf16" });
   * small.forward(ones([1, 4])); // f32 [1, 2]
   */
  clone({ dtype }: CloneOptions = {}): this {
    if (dtype !== undefined && !(isDType(dtype) && isFloat(dtype)))
      throw new UsageError(`${this.constructor.name}.clone: expected a float type, got ${show(dtype)}`);
    const copies = new Map<object, object>();
    const copyOf = (value: unknown): unknown => {
      if (!(value instanceof Module || value instanceof Cell || value instanceof Rng)) return value;
      const known = copies.get(value);
      if (known) return known;
      if (value instanceof Module) return cloneModule(value);
      const copy = value instanceof Rng ? cloneStream(value) : cloneCell(value, dtype);
      copies.set(value, copy);
      return copy;
    };
    const cloneModule = (module: Module): Module => {
      const copy = Object.create(Object.getPrototypeOf(module)) as Module;
      copies.set(module, copy);
      Object.defineProperty(copy, internals, { value: { ...module[internals] } });
      copyMembers(module, copy, copyOf);
      installForward(copy);
      return copy;
    };
    return cloneModule(this) as this;
  }

  /** Where the cells lie: the device of the first; without one, that on which they would be made now. */
  get device(): Device {
    return this.cells().find(({ allocated }) => allocated)?.device ?? defaultDevice();
  }

  /**
   * Moves every cell below, random streams too, to another device. What an optimiser or an average keeps for them follows.
   *
   * @throws UsageError for what names no device; DeviceError, with the reason, for one that cannot be used.
   * @example
   * const model = new Linear(4, 2).init(rng(0)).to("cpu");
   * model.device; // "cpu"
   */
  to(device: Device): this {
    for (const cell of this.cells()) cell.to(device);
    return this;
  }

  /**
   * What PyTorch's counterpart of this module calls a member, and how the values of a cell lie there; asked by
   * `exportTorch` and `importTorch`. Modules whose counterpart differs say so; by default names and layouts are ours.
   *
   * @param name the dotted name of one of this module's own members, be it a cell or a module.
   */
  torchMember(name: string): TorchMember {
    return { name };
  }

  /** Frees the memory of every cell below. */
  dispose(): void {
    for (const cell of this.cells()) cell.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  private *namedCells(): Generator<[string, Cell]> {
    for (const [path, cell, isStream] of allState(this)) if (!isStream) yield [path, cell];
  }

  private *namedState(): Generator<[string, Cell]> {
    for (const [path, cell] of allState(this)) yield [path, cell];
  }
}

const snapshots = new WeakMap<Module, Snapshot>();

/** How to read a module's training flag; null for what is no module. */
const modeOf = (x: object): (() => boolean) | null => (x instanceof Module ? () => x[internals].training : null);

const isModule = (x: unknown): x is Module => x instanceof Module;

/** The modules held directly by a module, with the names that it knows them by. */
function childrenOf(module: Module): [name: string, child: Module][] {
  const children: [string, Module][] = [];
  visitMembers(module, (name, value) => {
    if (value instanceof Module) children.push([name, value]);
  });
  return children;
}

/** Cells and stream states below a module, each once, with whether they are a stream's. */
function* allState(root: Module): Generator<[path: string, cell: Cell, isStream: boolean]> {
  const seen = new Set<Cell>();
  for (const [prefix, module] of root.namedModules()) {
    const found: [string, Cell, boolean][] = [];
    visitMembers(module, (name, value) => {
      const cell = value instanceof Rng ? value.cell : value;
      if (!(cell instanceof Cell) || seen.has(cell)) return;
      seen.add(cell);
      found.push([joinPath(prefix, name), cell, value instanceof Rng]);
    });
    yield* found;
  }
}

/** Lends a fork of `random` to `use` and frees it. */
function borrowFork(random: Rng, path: string, use: (stream: Rng) => void): void {
  const stream = random.fork(path);
  try {
    use(stream);
  } finally {
    stream.dispose();
  }
}

function cloneCell(cell: Cell, parameterType: DType | undefined): Cell {
  const { shape, name } = cell;
  const dtype = cell instanceof Parameter && isFloat(cell.dtype) ? (parameterType ?? cell.dtype) : cell.dtype;
  const copy =
    cell instanceof InitialisedCell
      ? new (cell instanceof Parameter ? Parameter : BufferCell)({ shape, dtype, name, init: cell.initialiser })
      : new Cell({ shape, dtype, name });
  if (cell.allocated) scope(() => copy.set(cell.value.cast(dtype)));
  return copy;
}

/** {@link restoreCells}, with float types converted to those of the cells. */
function restoreWeights(
  owner: string,
  cells: Readonly<Record<string, Cell>>,
  tensors: Readonly<Record<string, Tensor>>,
): void {
  scope(() => {
    const converted = Object.entries(tensors).map(([name, tensor]): [string, Tensor] => {
      const cell = Object.hasOwn(cells, name) ? cells[name] : undefined;
      return [name, cell && isFloat(cell.dtype) && isFloat(tensor.dtype) ? tensor.cast(cell.dtype) : tensor];
    });
    restoreCells(owner, cells, Object.fromEntries(converted));
  });
}

function cloneStream(stream: Rng): Rng {
  const copy = new Rng(null, stream.cell.name);
  if (stream.cell.allocated) copy.reseed(stream);
  return copy;
}

/**
 * Wraps a module's `forward`: operations are tagged with the module's path, and outside compiled functions
 * the intermediate tensors are freed, and what it makes is made on the device of its inputs.
 */
function installForward(module: Module): void {
  const forward: unknown = Reflect.get(module, "forward");
  if (typeof forward !== "function") return;
  const call = (inputs: unknown[]): unknown => {
    for (const [name, child] of childrenOf(module)) child[internals].segment = name;
    return withPath(module[internals].segment, () => Reflect.apply(forward, module, inputs));
  };
  const wrapped = (...inputs: unknown[]): unknown => {
    const output = isTracing() ? call(inputs) : scope(() => whereInputsLie(inputs, () => call(inputs)));
    observer?.(module, inputs, output);
    return output;
  };
  Object.defineProperty(module, "forward", { value: wrapped, configurable: true, writable: true });
}

/** Runs `work` with things made on the device of the first tensor among the inputs of a module. */
function whereInputsLie<T>(inputs: readonly unknown[], work: () => T): T {
  const x = inputs.find((input) => input instanceof Tensor);
  if (!(x instanceof Tensor) || x.device === defaultDevice()) return work();
  return withDevice(x.device, work);
}

/** A module from tensor to tensor. */
export interface Layer extends Module {
  forward(x: Tensor): Tensor;
}
