// The codebook of a VQ-VAE (van den Oord et al. 2017): vectors replaced by the nearest of K codes, with a straight-through
// derivative. Codes follow the vectors that choose them by moving averages (appendix A.1); codes that nobody chooses are
// put where vectors are (random restarts, Dhariwal et al. 2020, section 3.1).

import { BufferCell, checkCounts, checkFractions, checkNotNegative, Module, normalInit, zeroInit } from "@figment/nn";
import {
  argmin,
  checkObject,
  checkTensor,
  gather,
  matmul,
  ones,
  Rng,
  ShapeError,
  scatterAdd,
  scope,
  select,
  showShape,
  stopGradient,
  type Tensor,
} from "@figment/tensor";

/** Options of {@link Codebook}. */
export interface CodebookOptions {
  /** Codes, K. */
  readonly codes: number;
  /** Numbers in each, D. */
  readonly dim: number;
  /** Weight of the past in the moving averages, γ. Default 0.99. */
  readonly decay?: number;
  /**
   * A code whose average count of vectors in a batch falls below this is dead, and takes the place of a random vector of
   * the batch. 0 never revives. Default 0.1.
   */
  readonly deadBelow?: number;
}

/** What {@link Codebook.forward} gives. */
export type Quantised = {
  /** The nearest codes, of x's shape; its derivative goes to x as it is. */
  readonly quantised: Tensor;
  /** Their numbers, i32 of x's shape without the last axis. */
  readonly indices: Tensor;
  /** mean ‖x − sg(code)‖² over elements, 0-d: what keeps vectors near their codes. */
  readonly commitment: Tensor;
  /** e^entropy of the batch's use of codes, 0-d: from 1 to K. */
  readonly perplexity: Tensor;
};

/**
 * K codes of D numbers. In training each call moves the averages N ← γN + (1 − γ)n, m ← γm + (1 − γ)Σx and sets the code
 * m/N, all in cells, so within a compiled step too; evaluation changes nothing. The first training call finds all codes
 * dead and starts them at vectors of its batch.
 *
 * @example
 * const codebook = new Codebook({ codes: 16, dim: 4 }).init(rng(0));
 * codebook.forward(rng(1).normal([2, 7, 7, 4])).indices; // [2, 7, 7]
 */
export class Codebook extends Module {
  /** [K, D]. */
  readonly embedding: BufferCell;
  /** N: moving averages of how many vectors chose each code in a batch, [K]. */
  readonly counts: BufferCell;
  /** m: moving averages of the sums of the vectors that chose each code, [K, D]. */
  readonly sums: BufferCell;
  /** Which vectors revive dead codes. */
  readonly random = new Rng(null, "Codebook.random");
  readonly codes: number;
  readonly dim: number;
  readonly decay: number;
  readonly deadBelow: number;

  /** @throws UsageError when a number is out of range. */
  constructor(options: CodebookOptions) {
    super();
    const { codes, dim, decay = 0.99, deadBelow = 0.1 } = checkObject("Codebook", "options", options, "codes", "dim");
    checkCounts("Codebook", { codes, dim });
    checkFractions("Codebook", { decay });
    checkNotNegative("Codebook", { deadBelow });
    this.codes = codes;
    this.dim = dim;
    this.decay = decay;
    this.deadBelow = deadBelow;
    this.embedding = new BufferCell({ shape: [codes, dim], init: normalInit(1), name: "Codebook.embedding" });
    this.counts = new BufferCell({ shape: [codes], init: zeroInit, name: "Codebook.counts" });
    this.sums = new BufferCell({ shape: [codes, dim], init: zeroInit, name: "Codebook.sums" });
  }

  /**
   * @param x [..., D].
   * @throws ShapeError when the last axis is not D.
   */
  forward(x: Tensor): Quantised {
    this.expectVectors(x);
    const rows = x.reshape([x.size / this.dim, this.dim]);
    const fixed = stopGradient(rows);
    const embedding = this.training ? this.revived(fixed) : this.embedding.value;
    const indices = nearest(fixed, embedding);
    const counts = scatterAdd(ones([rows.dim(0)]), indices, this.codes);
    const codes = gather(embedding, indices);
    if (this.training) this.follow(fixed, indices, counts, embedding);
    const quantised = rows.add(stopGradient(codes.sub(rows)));
    return {
      quantised: quantised.reshape(x.shape),
      indices: indices.reshape(x.shape.slice(0, -1)),
      commitment: rows.sub(codes).square().mean(),
      perplexity: perplexity(counts),
    };
  }

  /**
   * Numbers of the nearest codes, i32 [...] of x [..., D]. Moves nothing, in training either.
   *
   * @throws ShapeError when the last axis is not D.
   */
  nearest(x: Tensor): Tensor {
    this.expectVectors(x);
    return scope(() => {
      const rows = x.reshape([x.size / this.dim, this.dim]);
      return nearest(rows, this.embedding.value).reshape(x.shape.slice(0, -1));
    });
  }

  /**
   * The codes of numbers i32 [...]: [..., D].
   *
   * An index outside 0 … K − 1 makes reading the result fail with code ERR_FIGMENT_INDEX.
   */
  lookup(indices: Tensor): Tensor {
    return gather(this.embedding.value, indices);
  }

  private expectVectors(x: Tensor): void {
    if (x.shape.at(-1) !== this.dim)
      throw new ShapeError(`Codebook: expected x of shape [..., ${this.dim}], got ${showShape(x.shape)}`);
  }

  /** The codes with dead ones replaced by random vectors of the batch, whose averages start anew. */
  private revived(rows: Tensor): Tensor {
    const { embedding, counts, sums, codes, deadBelow } = this;
    if (deadBelow === 0) return embedding.value;
    const dead = counts.value.lt(deadBelow);
    const deadRows = dead.reshape([codes, 1]);
    const candidates = gather(rows, this.random.randint([codes], 0, rows.dim(0)));
    const revived = select(deadRows, candidates, embedding.value);
    // As if one vector a batch had chosen it until now.
    counts.set(select(dead, 1, counts.value));
    sums.set(select(deadRows, candidates, sums.value));
    return revived;
  }

  /** Moves the averages toward the batch's counts and sums (van den Oord et al. 2017, eq. 6–8). */
  private follow(rows: Tensor, indices: Tensor, batchCounts: Tensor, embedding: Tensor): void {
    const { counts, sums, codes, decay } = this;
    const count = counts.value.mul(decay).add(batchCounts.mul(1 - decay));
    const sum = sums.value.mul(decay).add(scatterAdd(rows, indices, codes).mul(1 - decay));
    counts.set(count);
    sums.set(sum);
    const chosen = count.gt(0).reshape([codes, 1]);
    const divisor = select(chosen, count.reshape([codes, 1]), 1);
    this.embedding.set(select(chosen, sum.div(divisor), embedding));
  }
}

/** The number of the nearest code for each row; ‖x‖², which all share, is left out of the distances. */
function nearest(rows: Tensor, embedding: Tensor): Tensor {
  const products = matmul(rows, embedding, { transposeB: true });
  return argmin(embedding.square().sum(1).sub(products.mul(2)), 1);
}

/**
 * e^H of the shares p = counts/Σ counts, H = −Σ p·ln p: how many codes are in use, were they used alike.
 *
 * @param counts [K], not all 0.
 * @returns 0-d, from 1 to K.
 * @example
 * perplexity(tensor([5, 5, 0, 0])); // 2
 */
export const perplexity = (counts: Tensor): Tensor => {
  checkTensor("perplexity", "counts", counts);
  return scope(() => {
    const shares = counts.div(counts.sum());
    const logs = select(shares.gt(0), shares, 1).log();
    return shares.mul(logs).sum().neg().exp();
  });
};
