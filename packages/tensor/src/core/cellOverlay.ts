// Standing between code and its cells: what a rematerialised function read is remembered, and given again
// when the function runs a second time, whose writes go nowhere.

import { isFloat } from "../dtype.js";
import { ShapeError } from "../errors.js";
import { sameShape, showShape } from "../shape.js";
import type { Cell } from "./cell.js";
import { disown, innermost, type ScopeFrame } from "./scope.js";
import { follow, tapeDepth } from "./tape.js";
import type { Tensor } from "./tensor.js";

/** Answers the reads and writes of cells while it is in place. `direct` is what the cell itself would do. */
export interface CellOverlay {
  /** Whether the code will run, or runs, a second time to compute again what it computed. */
  readonly repeats: boolean;
  read(cell: Cell, direct: () => Tensor): Tensor;
  write(cell: Cell, value: Tensor, direct: () => void): void;
}

let current: CellOverlay | null = null;

/** Runs `fn` with an overlay in place, on top of the one that is there. */
export function withCells<T>(overlay: CellOverlay, fn: () => T): T {
  const outer = current;
  current = outer ? stacked(overlay, outer) : overlay;
  try {
    return fn();
  } finally {
    current = outer;
  }
}

/** Whether the code is run twice, as in `remat`. */
export const isRematerialised = (): boolean => current?.repeats ?? false;

/** Reads a cell through the overlays in place. */
export const readThrough = (cell: Cell, direct: () => Tensor): Tensor =>
  current ? current.read(cell, direct) : direct();

/** Writes a cell through the overlays in place. */
export function writeThrough(cell: Cell, value: Tensor, direct: () => void): void {
  if (current) current.write(cell, value, direct);
  else direct();
}

const stacked = (inner: CellOverlay, outer: CellOverlay): CellOverlay => ({
  repeats: inner.repeats || outer.repeats,
  read: (cell, direct) => inner.read(cell, () => outer.read(cell, direct)),
  write: (cell, value, direct) => inner.write(cell, value, () => outer.write(cell, value, direct)),
});

/**
 * Remembers what each cell held before the code wrote it. Reads that no tape notes are for updates of state, which dispose
 * of what they read: of these, handles are remembered that live as long as the scope that the recorder was made in.
 */
export class CellRecorder implements CellOverlay {
  readonly repeats = true;
  private readonly home = innermost();
  readonly initial = new Map<Cell, Tensor>();
  private readonly written = new Set<Cell>();

  read(cell: Cell, direct: () => Tensor): Tensor {
    const value = direct();
    if (!this.written.has(cell) && !this.initial.has(cell)) {
      this.initial.set(cell, tapeDepth() > 0 || !this.home ? value : this.keep(value, this.home));
    }
    return value;
  }

  private keep(value: Tensor, home: ScopeFrame): Tensor {
    const kept = value.alias();
    disown(kept);
    home.owned.add(kept);
    return kept;
  }

  write(cell: Cell, _value: Tensor, direct: () => void): void {
    this.written.add(cell);
    direct();
  }
}

/** Gives the remembered values again; writes stay inside. */
export class CellReplay implements CellOverlay {
  readonly repeats = true;
  private readonly values: Map<Cell, Tensor>;

  constructor(initial: ReadonlyMap<Cell, Tensor>) {
    this.values = new Map(initial);
  }

  read(cell: Cell, direct: () => Tensor): Tensor {
    const value = this.values.get(cell);
    if (!value) return direct();
    return tapeDepth() > 0 ? value : value.alias();
  }

  write(cell: Cell, value: Tensor): void {
    this.values.set(cell, value.alias());
  }
}

/**
 * Runs `fn` with cells reading as the given tensors, through which derivatives flow: for layers that compute the weight
 * of another layer. Writes go to the cells themselves.
 *
 * @throws ShapeError when a tensor is not of its cell's shape and type; another float type will do.
 * @example
 * const weight = new Cell({ shape: [2], initial: () => [1, 2] });
 * withCellValues(new Map([[weight, weight.value.mul(10)]]), () => weight.value.at(1)); // 20
 */
export function withCellValues<T>(values: ReadonlyMap<Cell, Tensor>, fn: () => T): T {
  for (const [{ name, shape, dtype }, value] of values) {
    const sameKind = dtype === value.dtype || (isFloat(dtype) && isFloat(value.dtype));
    if (!sameShape(shape, value.shape) || !sameKind)
      throw new ShapeError(
        `withCellValues: ${name} holds ${dtype} ${showShape(shape)}, got ${value.dtype} ${showShape(value.shape)}`,
      );
  }
  const overlay: CellOverlay = {
    repeats: false,
    read: (cell, direct) => {
      const value = values.get(cell);
      return value ? follow(value) : direct();
    },
    write: (_cell, _value, direct) => direct(),
  };
  return withCells(overlay, fn);
}
