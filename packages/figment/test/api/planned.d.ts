// The part of the public surface that program 3 uses and that is still to come. Declared, not
// exported by any package: the program is type-checked against it, and runs once the names exist.

import type { Cell, CellTree, Tensor } from "figment";

declare module "figment" {
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
  interface Rng {
    /** A class of each row, drawn with probabilities softmax(logits). */
    categorical(logits: Tensor): Tensor;
  }
}
