// The cells of modules: parameters, which optimisers train, and buffers, which layers keep by themselves; both know
// how their first value is drawn.

import { Cell, type DType, type Shape } from "@figment/tensor";
import type { Initialiser } from "./initialisers.js";

/** What a cell of a module holds and how it starts. */
export interface ParameterOptions {
  readonly shape: Shape;
  /** Draws the first value when the module is initialised. */
  readonly init: Initialiser;
  /** Default "f32". */
  readonly dtype?: DType;
  /** Shown in messages until `init` gives it its path. */
  readonly name?: string;
}

/** A cell that its module's `init` fills. Holds nothing until then, or until weights are loaded. */
export class InitialisedCell extends Cell {
  /** Draws the first value. */
  readonly initialiser: Initialiser;

  constructor({ init, ...options }: ParameterOptions) {
    super(options);
    this.initialiser = init;
  }
}

/** A trainable cell. */
export class Parameter extends InitialisedCell {}

/** A cell that no optimiser trains: running statistics, the vectors of a power iteration. Saved with the weights. */
export class BufferCell extends InitialisedCell {}
