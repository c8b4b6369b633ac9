// The cells of modules: parameters, which optimisers train, and buffers, which layers keep by themselves; both know
// how their first value is drawn.

import { Cell, type DType, type Shape, type Tensor } from "@figment/tensor";
import type { Initialiser } from "./initialisers.js";

/** What a cell of a module holds and how it starts. */
export interface ParameterOptions {
  readonly shape: Shape;
  /** Draws the first value when the module is initialised. */
  readonly init: Initialiser;
  /** Default "f32". In bf16 and f16 weights take half the memory; optimisers train f32 and f64. */
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

  /** The value in the type of what it meets: layers compute in the type of their input, whatever their weights are kept in. */
  as(dtype: DType): Tensor {
    const { value } = this;
    return value.dtype === dtype ? value : value.cast(dtype);
  }
}

/** A trainable cell. */
export class Parameter extends InitialisedCell {}

/** A cell that no optimiser trains: running statistics, the vectors of a power iteration. Saved with the weights. */
export class BufferCell extends InitialisedCell {}
