// What can be saved and resumed: cells and JSON, keyed by path.

import { CheckpointError } from "../errors.js";
import { sameShape, showShape } from "../shape.js";
import type { Cell } from "./cell.js";
import type { Tensor } from "./tensor.js";

/** Plain data. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** The state of something: its cells by path, and whatever else as plain data. */
export interface SavedState {
  readonly cells: Readonly<Record<string, Cell>>;
  readonly json: Json;
}

/** A state as it comes back from a checkpoint. */
export interface StateToRestore {
  readonly tensors: Readonly<Record<string, Tensor>>;
  readonly json: Json;
}

/** Everything that can be resumed: modules, optimisers, moving averages, random streams, loaders. */
export interface Stateful {
  captureState(): SavedState;
  /** Copies the tensors into the cells. Throws a CheckpointError, changing nothing, when they do not fit. */
  restoreState(state: StateToRestore): void;
}

/**
 * Copies tensors into the cells of the same names.
 *
 * @throws CheckpointError listing every missing, unexpected and mis-shaped entry; then no cell has changed.
 *
 * @example
 * const weight = new Cell({ shape: [2] });
 * restoreCells("layer", { weight }, { weight: ones([2]) });
 * weight.value.sum(); // 2
 */
export function restoreCells(
  owner: string,
  cells: Readonly<Record<string, Cell>>,
  tensors: Readonly<Record<string, Tensor>>,
): void {
  const missing = Object.keys(cells).filter((name) => !Object.hasOwn(tensors, name));
  const unexpected = Object.keys(tensors).filter((name) => !Object.hasOwn(cells, name));
  const misshaped = Object.entries(cells).flatMap(([name, cell]) => {
    const tensor = Object.hasOwn(tensors, name) ? (tensors[name] as Tensor) : undefined;
    if (!tensor || (sameShape(tensor.shape, cell.shape) && tensor.dtype === cell.dtype)) return [];
    return [`${name}: expected ${cell.dtype} ${showShape(cell.shape)}, got ${tensor.dtype} ${showShape(tensor.shape)}`];
  });
  const problems = [
    ...(missing.length ? [`missing: ${missing.join(", ")}`] : []),
    ...(unexpected.length ? [`unexpected: ${unexpected.join(", ")}`] : []),
    ...(misshaped.length ? [`mis-shaped: ${misshaped.join("; ")}`] : []),
  ];
  if (problems.length > 0)
    throw new CheckpointError(`${owner}: the saved state does not fit\n  ${problems.join("\n  ")}`);
  for (const [name, cell] of Object.entries(cells)) cell.set(tensors[name] as Tensor);
}
