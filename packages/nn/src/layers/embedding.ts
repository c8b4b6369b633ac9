// Lookup table of learned vectors.

import { checkTensor, gather, type Tensor } from "@figment/tensor";
import { checkCounts } from "../checks.js";
import { type Initialiser, normalInit } from "../initialisers.js";
import { Module } from "../module.js";
import { Parameter } from "../parameter.js";

/** Options of {@link Embedding}. */
export interface EmbeddingOptions {
  /** Default N(0, 1). */
  readonly init?: Initialiser;
}

/**
 * Row `i` of a learned table for each index: i32 [...] → [..., dim]. Weight [count, dim].
 *
 * @example
 * const layer = new Embedding(10, 4).init(rng(0));
 * layer.forward(tensor([3, 7], { dtype: "i32" })); // [2, 4]
 */
export class Embedding extends Module {
  readonly weight: Parameter;

  /** @throws UsageError unless the numbers are integers of at least 1. */
  constructor(
    readonly count: number,
    readonly dim: number,
    { init = normalInit(1) }: EmbeddingOptions = {},
  ) {
    super();
    checkCounts("Embedding", { count, dim });
    this.weight = new Parameter({ shape: [count, dim], init, name: "Embedding.weight" });
  }

  /** Indices outside 0 … count − 1 fail when the work runs, with code ERR_FIGMENT_INDEX. */
  forward(indices: Tensor): Tensor {
    checkTensor("Embedding", "indices", indices);
    const flat = indices.rank === 1 ? indices : indices.reshape([indices.size]);
    const rows = gather(this.weight.value, flat);
    return indices.rank === 1 ? rows : rows.reshape([...indices.shape, this.dim]);
  }
}
