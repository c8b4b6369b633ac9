// The cells of modules: parameters, which optimisers train, and buffers, which layers keep by themselves; both know
// how their first value is drawn.

import { Cell, checkObject, type DType, type Shape, type Tensor } from "@figment/tensor";
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

/**
 * A cell that its module's `init` fills. Holds nothing until then, or until weights are loaded.
 *
 * @example
 * const cell = new InitialisedCell({ shape: [2, 2], init: constantInit(3) });
 * cell.initialiser(rng(0), cell.shape).sum(); // 12
 */
export class InitialisedCell extends Cell {
  /** Draws the first value. */
  readonly initialiser: Initialiser;

  constructor(given: ParameterOptions) {
    const { init, ...options } = checkObject("InitialisedCell", "options", given, "init");
    super(options);
    this.initialiser = init;
  }

  /** The value in the type of what it meets: layers compute in the type of their input, whatever their weights are kept in. */
  as(dtype: DType): Tensor {
    const { value } = this;
    return value.dtype === dtype ? value : value.cast(dtype);
  }
}

/**
 * A trainable cell.
 *
 * @example
 * class Scale extends Module {
 *   readonly gain = new Parameter({ shape: [2], init: oneInit, name: "Scale.gain" });
 *
 *   forward(x: Tensor): Tensor {
 *     return x.mul(this.gain.value);
 *   }
 * }
 * new Scale().init(rng(0)).forward(ones([3, 2])); // [3, 2]
 */
export class Parameter extends InitialisedCell {}

/**
 * A cell that no optimiser trains: running statistics, the vectors of a power iteration. Saved with the weights.
 *
 * @example
 * class Counter extends Module {
 *   readonly calls = new BufferCell({ shape: [], init: zeroInit, name: "Counter.calls" });
 *
 *   forward(x: Tensor): Tensor {
 *     this.calls.set(this.calls.value.add(1));
 *     return x;
 *   }
 * }
 * const counter = new Counter().init(rng(0));
 * counter.forward(ones([3]));
 * counter.calls.value; // 1
 */
export class BufferCell extends InitialisedCell {}
