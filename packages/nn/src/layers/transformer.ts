// Transformers (Vaswani et al. 2017) with normalisation before each part (Xiong et al. 2020), and a decoder of tokens
// made of them (Radford et al. 2019).

import { arange, checkObject, checkTensor, gelu, ShapeError, split, type Tensor, UsageError } from "@figment/tensor";
import { checkCounts, checkFlags, checkFractions } from "../checks.js";
import { normalInit } from "../initialisers.js";
import { KVCache, type KVCacheOptions, type LayerCache, placeOfNext } from "../kvCache.js";
import { Module } from "../module.js";
import { MultiHeadAttention } from "./attention.js";
import { Dropout } from "./dropout.js";
import { Embedding } from "./embedding.js";
import { LayerNorm } from "./layerNorm.js";
import { Linear } from "./linear.js";

/** Options of {@link TransformerBlock}. */
export interface TransformerBlockOptions {
  /** Default 1. */
  readonly heads?: number;
  /** Channels between the two layers of the perceptron. Default 4·dim. */
  readonly hidden?: number;
  /** Whether a position sees only itself and those before. Default false. */
  readonly causal?: boolean;
  /** Channels of a context to attend to as well, after the block's own positions. Default: no such part. */
  readonly contextDim?: number;
  /** Probability of dropping an element of what each part adds. Default 0. */
  readonly dropout?: number;
  /** Whether queries, keys and values have biases. Default true. */
  readonly attentionBias?: boolean;
  /** Whether the perceptron's activations are u·gelu(v), (u, v) = W₁·x, in place of gelu(W₁·x) (Shazeer 2020, GEGLU). Default false. */
  readonly gated?: boolean;
}

/** What a block works with besides x. */
export interface TransformerBlockInputs {
  /** [B, K, contextDim]; required by blocks made with `contextDim`, refused by others. */
  readonly context?: Tensor;
  /** Past tokens, which x follows; the keys and values of x are added. */
  readonly cache?: LayerCache;
}

/**
 * x + attention(norm(x)), then, if the block was made for a context, x + attention(norm(x), context), then
 * x + W₂·gelu(W₁·norm(x)): [B, S, dim] → [B, S, dim] (Vaswani et al. 2017, §3; norms first: Xiong et al. 2020, fig. 1b).
 *
 * @example
 * const block = new TransformerBlock(16, { heads: 2, contextDim: 8 }).init(rng(0));
 * const [x, context] = [rng(1).normal([2, 5, 16]), rng(2).normal([2, 3, 8])];
 * block.forward(x, { context }); // [2, 5, 16]
 */
export class TransformerBlock extends Module {
  readonly attentionNorm: LayerNorm;
  readonly attention: MultiHeadAttention;
  readonly contextNorm: LayerNorm | null;
  readonly contextAttention: MultiHeadAttention | null;
  readonly mlpNorm: LayerNorm;
  readonly mlp: readonly [Linear, Linear];
  readonly dropout: Dropout | null;
  readonly gated: boolean;

  /** @throws UsageError when a number is out of range or `dim` does not divide into the heads. */
  constructor(
    readonly dim: number,
    options: TransformerBlockOptions = {},
  ) {
    super();
    checkObject("TransformerBlock", "options", options);
    const { heads = 1, hidden = 4 * dim, causal = false, contextDim, dropout = 0 } = options;
    const { attentionBias: bias = true, gated = false } = options;
    checkCounts("TransformerBlock", { dim, heads, hidden });
    checkFractions("TransformerBlock", { dropout });
    checkFlags("TransformerBlock", { causal, attentionBias: bias, gated });
    this.attentionNorm = new LayerNorm(dim);
    this.attention = new MultiHeadAttention(dim, heads, { causal, bias });
    this.contextNorm = contextDim === undefined ? null : new LayerNorm(dim);
    this.contextAttention = contextDim === undefined ? null : new MultiHeadAttention(dim, heads, { contextDim, bias });
    this.mlpNorm = new LayerNorm(dim);
    this.gated = gated;
    this.mlp = [new Linear(dim, gated ? 2 * hidden : hidden), new Linear(hidden, dim)];
    this.dropout = dropout > 0 ? new Dropout(dropout) : null;
  }

  /**
   * @throws ShapeError when an operand does not fit.
   * @throws UsageError when a context is missing or unexpected.
   */
  forward(x: Tensor, { context, cache }: TransformerBlockInputs = {}): Tensor {
    checkTensor("TransformerBlock", "x", x);
    const { contextNorm, contextAttention, dropout } = this;
    if ((context !== undefined) !== (contextAttention !== null)) {
      throw new UsageError(
        `TransformerBlock: this block was made ${contextAttention ? "for a context, and none is" : "without contextDim, and a context is"} given`,
      );
    }
    const added = (y: Tensor): Tensor => (dropout ? dropout.forward(y) : y);
    const normed = this.attentionNorm.forward(x);
    let h = x.add(added(this.attention.forward(normed, normed, cache)));
    if (contextNorm && contextAttention) h = h.add(added(contextAttention.forward(contextNorm.forward(h), context)));
    const [widen, narrow] = this.mlp;
    const wide = widen.forward(this.mlpNorm.forward(h));
    return h.add(added(narrow.forward(this.gated ? gatedGelu(wide) : gelu(wide))));
  }
}

/** u·gelu(v) of the halves u and v of the last axis. */
function gatedGelu(x: Tensor): Tensor {
  const [value, gate] = split(x, 2, x.rank - 1) as [Tensor, Tensor];
  return value.mul(gelu(gate));
}

/** Options of {@link Transformer}. */
export interface TransformerOptions {
  /** Number of different tokens. */
  readonly vocabulary: number;
  readonly dim: number;
  /** Default 1. */
  readonly heads?: number;
  readonly layers: number;
  /** Most tokens of a sequence: the positions that are learned. */
  readonly maxLength: number;
  /** Channels between the two layers of each perceptron. Default 4·dim. */
  readonly hidden?: number;
  /** Default 0. */
  readonly dropout?: number;
}

/** Standard deviation of the embeddings' first values (Radford et al. 2019). */
const embeddingScale = 0.02;

/**
 * A causal language model: token and position embeddings, blocks, a last normalisation, and the logits of the token that
 * follows each position. With a cache, only new tokens are given and the past is read from it.
 *
 * @example
 * const model = new Transformer({ vocabulary: 50, dim: 16, heads: 2, layers: 2, maxLength: 32 }).init(rng(0));
 * model.forward(tensor([[1, 2, 3]], { dtype: "i32" })); // [1, 3, 50]
 */
export class Transformer extends Module {
  readonly tokens: Embedding;
  readonly positions: Embedding;
  readonly blocks: readonly TransformerBlock[];
  readonly norm: LayerNorm;
  readonly head: Linear;

  /** @throws UsageError when a number is out of range or `dim` does not divide into the heads. */
  constructor(readonly options: TransformerOptions) {
    super();
    const {
      vocabulary,
      dim,
      heads = 1,
      layers,
      maxLength,
      hidden = 4 * dim,
      dropout = 0,
    } = checkObject("Transformer", "options", options, "vocabulary", "dim", "layers", "maxLength");
    checkCounts("Transformer", { vocabulary, dim, heads, layers, maxLength, hidden });
    checkFractions("Transformer", { dropout });
    const init = normalInit(embeddingScale);
    this.tokens = new Embedding(vocabulary, dim, { init });
    this.positions = new Embedding(maxLength, dim, { init });
    this.blocks = Array.from(
      { length: layers },
      () => new TransformerBlock(dim, { heads, hidden, dropout, causal: true }),
    );
    this.norm = new LayerNorm(dim);
    this.head = new Linear(dim, vocabulary, { bias: false });
  }

  /** An empty cache that fits this model, in the type of its embeddings. `maxLength` defaults to the model's. */
  cache({ batch = 1, maxLength = this.options.maxLength }: { batch?: number; maxLength?: number } = {}): KVCache {
    const { dim, heads = 1, layers } = this.options;
    if (maxLength > this.options.maxLength)
      throw new UsageError(
        `Transformer: the model knows ${this.options.maxLength} positions, a cache of ${maxLength} is longer`,
      );
    const { dtype } = this.tokens.weight as { dtype: KVCacheOptions["dtype"] };
    return new KVCache({ layers, batch, heads, headDim: dim / heads, maxLength, dtype });
  }

  /**
   * @param tokens i32 [B, S], or [B] for one token of each sequence.
   * @param cache past tokens; the new ones are added to it. Filling it beyond its `maxLength` makes reading the logits
   *   fail with code ERR_FIGMENT_INDEX, and leaves it as it was.
   * @returns logits [B, S, vocabulary], or [B, vocabulary].
   * @throws ShapeError when there are more tokens than positions.
   */
  forward(tokens: Tensor, cache?: KVCache): Tensor {
    checkTensor("Transformer", "tokens", tokens);
    if (tokens.rank !== 1 && tokens.rank !== 2)
      throw new ShapeError(`Transformer: expected tokens [B, S] or [B], got [${tokens.shape.join(", ")}]`);
    const { blocks, options } = this;
    const [batch, count] = tokens.rank === 1 ? [tokens.dim(0), 1] : tokens.dims(2);
    const room = cache?.maxLength ?? options.maxLength;
    if (count > room) throw new ShapeError(`Transformer: ${count} tokens for ${room} positions`);
    if (cache && cache.layers.length !== blocks.length)
      throw new UsageError(`Transformer: the cache has ${cache.layers.length} layers, the model ${blocks.length}`);
    const place = cache?.layers[0] && placeOfNext(cache.layers[0], count);
    const places = place ? arange(count, "i32").add(place) : arange(count, "i32");
    let h = this.tokens.forward(tokens.reshape([batch, count])).add(this.positions.forward(places));
    blocks.forEach((block, i) => {
      const layer = cache?.layers[i];
      h = block.forward(h, layer && { cache: { ...layer, place } });
    });
    if (cache && place) cache.length.set(place.add(count));
    const logits = this.head.forward(this.norm.forward(h));
    return tokens.rank === 1 ? logits.reshape([batch, options.vocabulary]) : logits;
  }
}
