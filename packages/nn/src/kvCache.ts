// The keys and values of past tokens: what a decoder keeps so that each new token costs one token's work.

import {
  arange,
  Cell,
  type CellTree,
  checkObject,
  gather,
  restoreCells,
  type SavedState,
  type Shape,
  ShapeError,
  type Stateful,
  type StateToRestore,
  scope,
  sizeOf,
  type Tensor,
} from "@figment/tensor";
import { checkCounts } from "./checks.js";

/** The part of a cache that belongs to one layer. */
export interface LayerCache {
  /** [B, M, heads, D]. */
  readonly k: Cell;
  /** [B, M, heads, D]. */
  readonly v: Cell;
  /** How many tokens the cache holds, an i32 cell []; new ones go behind them. */
  readonly length: Cell;
  /** Where the new tokens go, if somebody found out for several layers already: what {@link placeOfNext} gave. */
  readonly place?: Tensor;
}

/**
 * Where the next `count` tokens go, the number of tokens before: an i32 tensor []. Where there is no room for them it fails
 * with code ERR_FIGMENT_INDEX when the work is done, and with it everything that depends on it, writes to the cache included.
 *
 * @throws ShapeError when there are more tokens than the cache has room for at all.
 * @example
 * const cache = new KVCache({ layers: 1, heads: 2, headDim: 8, maxLength: 4 });
 * placeOfNext(cache.layers[0] as LayerCache, 3); // 0
 */
export function placeOfNext(cache: LayerCache, count: number): Tensor {
  const { k, length } = checkObject("placeOfNext", "cache", cache, "k", "length");
  const room = k.shape[1] as number;
  if (count > room) throw new ShapeError(`KVCache: ${count} tokens for ${room} positions`);
  return gather(arange(room - count + 1, "i32"), length.value);
}

/** What a {@link KVCache} has room for. */
export interface KVCacheOptions {
  readonly layers: number;
  /** Sequences that are decoded side by side. Default 1. */
  readonly batch?: number;
  readonly heads: number;
  /** Channels of a head. */
  readonly headDim: number;
  /** Most tokens of a sequence. */
  readonly maxLength: number;
  /** The type of keys and values. Default "f32". */
  readonly dtype?: "f32" | "bf16" | "f16";
}

/**
 * Room for the keys and values of `maxLength` tokens in every layer, and how many are filled. Its shapes never change, so
 * one compiled program serves all positions: pass it to the function as an argument.
 *
 * @example
 * const model = new Transformer({ vocabulary: 50, dim: 16, heads: 2, layers: 2, maxLength: 32 }).init(rng(0));
 * const cache = model.cache({ batch: 1 });
 * const next = compile((net: Transformer, past: KVCache, token: Tensor) => net.forward(token, past));
 * next(model, cache, tensor([7], { dtype: "i32" })); // [1, 50]
 */
export class KVCache implements CellTree, Stateful {
  readonly structure: string;
  readonly maxLength: number;
  /** How many tokens it holds, an i32 cell []. */
  readonly length = new Cell({ shape: [], dtype: "i32", name: "KVCache.length", initial: () => [0] });
  readonly layers: readonly LayerCache[];
  private readonly options: KVCacheOptions;

  /** @throws UsageError unless the numbers are integers of at least 1. */
  constructor(options: KVCacheOptions) {
    const {
      layers,
      batch = 1,
      heads,
      headDim,
      maxLength,
      dtype = "f32",
    } = checkObject("KVCache", "options", options, "layers", "heads", "headDim", "maxLength");
    checkCounts("KVCache", { layers, batch, heads, headDim, maxLength });
    const shape: Shape = [batch, maxLength, heads, headDim];
    const empty = (name: string): Cell =>
      new Cell({ shape, dtype, name: `KVCache.${name}`, initial: () => new Float32Array(sizeOf(shape)) });
    this.options = options;
    this.maxLength = maxLength;
    this.structure = `KVCache ${layers}x${dtype}[${shape.join()}]`;
    this.layers = Array.from({ length: layers }, (_, i) => ({
      k: empty(`${i}.k`),
      v: empty(`${i}.v`),
      length: this.length,
    }));
  }

  /** A cache has the same cells for ever. */
  identity(): object {
    return this;
  }

  cells(): readonly Cell[] {
    return Object.values(this.state());
  }

  /** Forgets all tokens. */
  clear(): void {
    this.length.setData([0]);
  }

  /** A cache of its own that holds the same tokens: a place to go on from in two ways. */
  clone(): KVCache {
    const copy = new KVCache(this.options);
    const [from, to] = [this.cells(), copy.cells()];
    scope(() => {
      from.forEach((cell, i) => {
        to[i]?.set(cell.value);
      });
    });
    return copy;
  }

  captureState(): SavedState {
    return { cells: this.state(), json: null };
  }

  /** @throws CheckpointError when the saved state does not fit; then nothing has changed. */
  restoreState({ tensors }: StateToRestore): void {
    restoreCells("KVCache", this.state(), tensors);
  }

  dispose(): void {
    for (const cell of this.cells()) cell.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  private state(): Record<string, Cell> {
    const layers = this.layers.flatMap(({ k, v }, i): [string, Cell][] => [
      [`${i}.k`, k],
      [`${i}.v`, v],
    ]);
    return { length: this.length, ...Object.fromEntries(layers) };
  }
}
