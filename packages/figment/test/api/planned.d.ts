// The part of the public surface that programs 2 and 3 use and that is still to come. Declared, not
// exported by any package: the programs are type-checked against it, and run once the names exist.

import type { Cell, CellTree, Tensor } from "figment";

declare module "figment" {
  /** Runs body(0) … body(n − 1) as one loop inside a program. */
  export function repeat(n: number, body: (i: Tensor) => void): void;
  /** The k largest values of each row and where they are. */
  export function topk(x: Tensor, k: number): { values: Tensor; indices: Tensor };
  /** The elements at the given places of the last axis. */
  export function takeAlong(x: Tensor, indices: Tensor): Tensor;
  /** Keys and values of past tokens. */
  export interface KVCache extends CellTree {
    readonly length: Cell;
  }
  /** A decoder of tokens. */
  export interface Transformer extends CellTree {
    forward(token: Tensor, cache: KVCache): Tensor;
  }
  interface Tensor {
    /** The part at a position given by a tensor. */
    at(...index: readonly (number | Tensor)[]): Tensor;
  }
  interface Rng {
    /** A class of each row, drawn with probabilities softmax(logits). */
    categorical(logits: Tensor): Tensor;
  }
}
