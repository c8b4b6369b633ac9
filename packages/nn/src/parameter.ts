// A parameter: a cell that an optimiser trains, together with how its first value is drawn.

import { Cell, type DType, type Shape } from "@figment/tensor";
import type { Initialiser } from "./initialisers.js";

/** What a parameter holds and how it starts. */
export interface ParameterOptions {
  readonly shape: Shape;
  /** Draws the first value when the module is initialised. */
  readonly init: Initialiser;
  /** Default "f32". */
  readonly dtype?: DType;
  /** Shown in messages until a module gives it a path. */
  readonly name?: string;
}

/** A trainable cell. Holds nothing until its module's `init`, or until weights are loaded. */
export class Parameter extends Cell {
  /** Draws the first value. */
  readonly initialiser: Initialiser;

  constructor({ init, ...options }: ParameterOptions) {
    super(options);
    this.initialiser = init;
  }
}
