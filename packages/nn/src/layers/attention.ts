// Multi-head attention (Vaswani et al. 2017), and its use over the pixels of an image (Ho et al. 2020).

import {
  attention,
  cachedAttention,
  checkObject,
  checkTensor,
  dynamicUpdateSlice,
  ShapeError,
  type Tensor,
} from "@figment/tensor";
import { checkCounts, checkDivisible, checkFlags } from "../checks.js";
import { type Initialiser, zeroInit } from "../initialisers.js";
import { type LayerCache, placeOfNext } from "../kvCache.js";
import { Module } from "../module.js";
import { Linear } from "./linear.js";
import { GroupNorm } from "./norm.js";

/** Options of {@link MultiHeadAttention}. */
export interface MultiHeadAttentionOptions {
  /** Channels of the context that keys and values come from. Default: those of the queries. */
  readonly contextDim?: number;
  /** Whether queries, keys and values have biases. Default true. */
  readonly bias?: boolean;
  /** Whether query i sees only keys up to its own place. Default false. */
  readonly causal?: boolean;
  /** First value of the output projection's weight and bias. Default Linear's. */
  readonly outputInit?: Initialiser;
}

/**
 * softmax(q·kᵀ/√d)·v in each head, heads joined and projected (Vaswani et al. 2017, eq. 1 and §3.2.2):
 * x [B,S,dim], context [B,K,contextDim] → [B,S,dim]. Without context, x attends to itself; with a cache, to the tokens in
 * it too, and its own keys and values are added there.
 *
 * @example
 * const layer = new MultiHeadAttention(16, 4).init(rng(0));
 * layer.forward(rng(1).normal([2, 5, 16])); // [2, 5, 16]
 */
export class MultiHeadAttention extends Module {
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;
  readonly output: Linear;
  readonly causal: boolean;

  /** @throws UsageError when a number is out of range or `dim` does not divide into the heads. */
  constructor(
    readonly dim: number,
    readonly heads = 1,
    options: MultiHeadAttentionOptions = {},
  ) {
    super();
    const { contextDim = dim, bias = true, causal = false, outputInit } = options;
    checkCounts("MultiHeadAttention", { dim, heads, contextDim });
    checkDivisible("MultiHeadAttention", "channels", [dim], heads, "heads");
    checkFlags("MultiHeadAttention", { bias, causal });
    this.causal = causal;
    this.query = new Linear(dim, dim, { bias });
    this.key = new Linear(contextDim, dim, { bias });
    this.value = new Linear(contextDim, dim, { bias });
    this.output = new Linear(dim, dim, outputInit ? { weightInit: outputInit, biasInit: outputInit } : {});
  }

  /** @throws ShapeError when x or context is not of rank 3, or does not fit the cache. */
  forward(x: Tensor, context: Tensor = x, cache?: LayerCache): Tensor {
    checkTensor("MultiHeadAttention", "x", x);
    if (x.rank !== 3 || context.rank !== 3) {
      throw new ShapeError(
        `MultiHeadAttention: expected x [B,S,C] and context [B,K,C], got [${x.shape.join(", ")}] and [${context.shape.join(", ")}]`,
      );
    }
    const { heads, dim, causal } = this;
    const split = (y: Tensor): Tensor => y.reshape([y.dim(0), y.dim(1), heads, dim / heads]);
    const [q, k, v] = [
      split(this.query.forward(x)),
      split(this.key.forward(context)),
      split(this.value.forward(context)),
    ] as const;
    const joined = cache ? attendTo(cache, { q, k, v }, causal) : attention(q, k, v, { causal });
    return this.output.forward(joined.reshape(x.shape));
  }

  /** Multiplications and additions of scores and mixing; the projections count their own. */
  flops(inputs: readonly unknown[]): number {
    const [x, context = x] = inputs as [Tensor, Tensor?];
    return 4 * x.size * context.dim(1);
  }
}

/** Attention to what a cache holds and to new tokens, which are added to it. */
function attendTo(cache: LayerCache, { q, k, v }: Readonly<Record<"q" | "k" | "v", Tensor>>, causal: boolean): Tensor {
  const length = cache.place ?? placeOfNext(cache, k.dim(1));
  const joined = cachedAttention(q, { k: cache.k.value, v: cache.v.value, length }, k, v, { causal });
  for (const [cell, fresh] of [[cache.k, k] as const, [cache.v, v] as const])
    cell.set(dynamicUpdateSlice(cell.value, fresh, [0, length, 0, 0]));
  return joined;
}

/** Options of {@link SelfAttention2d}. */
export interface SelfAttention2dOptions {
  /** Default 1. */
  readonly heads?: number;
  /** Groups of the normalisation. Default 8, or the largest common divisor with the channels. */
  readonly groups?: number;
  /** Added to the variance in it. Default 1e-5. */
  readonly eps?: number;
}

/**
 * The number of groups to normalise `channels` in, given the wished one.
 *
 * @example
 * fittingGroups(12); // 4
 */
export function fittingGroups(channels: number, groups = 8): number {
  checkCounts("GroupNorm", { channels, groups });
  let [a, b] = [channels, groups];
  while (b > 0) [a, b] = [b, a % b];
  return a;
}

/**
 * Attention of every pixel to every pixel, with group normalisation before and a residual connection around
 * it: [N,H,W,C] → [N,H,W,C] (Ho et al. 2020, appendix B). The output projection starts at zero, so the
 * layer starts as the identity.
 *
 * @example
 * new SelfAttention2d(16, { heads: 2 }).init(rng(0)).forward(rng(1).normal([1, 7, 7, 16])); // [1, 7, 7, 16]
 */
export class SelfAttention2d extends Module {
  readonly norm: GroupNorm;
  readonly attention: MultiHeadAttention;

  constructor(channels: number, options: SelfAttention2dOptions = {}) {
    super();
    const { heads = 1, groups, eps } = checkObject("SelfAttention2d", "options", options);
    this.norm = new GroupNorm(fittingGroups(channels, groups), channels, { eps });
    this.attention = new MultiHeadAttention(channels, heads, { outputInit: zeroInit });
  }

  forward(x: Tensor): Tensor {
    checkTensor("SelfAttention2d", "x", x);
    const [n, h, w, c] = x.dims(4);
    const pixels = this.norm.forward(x).reshape([n, h * w, c]);
    return this.attention.forward(pixels).reshape(x.shape).add(x);
  }
}
