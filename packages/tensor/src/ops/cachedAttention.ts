// Attention of new tokens to a cache and to one another. The two parts are computed apart and merged by the log-sum-exp
// of their scores (Milakov & Gimelshein 2018, §3.1), so that the cache need not hold the new tokens yet: in a program it
// is read as it was and written in place at the end.

import { ones } from "../core/create.js";
import { customVjp } from "../core/grad.js";
import { withPrecision } from "../core/precision.js";
import { composed } from "../core/scope.js";
import type { Tensor } from "../core/tensor.js";
import { lerp, sigmoid, sub } from "./arithmetic.js";
import { attendVisible, attentionParts, visibility } from "./attention.js";
import { cast } from "./cast.js";
import {
  checkBoolean,
  checkFinite,
  checkOptions,
  checkTensor,
  expectCompute,
  expectDType,
  expectRank,
  expectShape,
} from "./checks.js";
import { gradientThrough } from "./fused.js";
import { broadcastTo, concat, reshape, transpose } from "./movement.js";

/** Keys and values of the tokens before. */
export interface PastKeys {
  /** [B, M, H, D]: room for M tokens. */
  readonly k: Tensor;
  /** [B, M, H, D]. */
  readonly v: Tensor;
  /** How many of them there are, an i32 tensor [] or [B], clamped to [0, M]. */
  readonly length: Tensor;
}

/** Options of {@link cachedAttention}. */
export interface CachedAttentionOptions {
  /** Factor of the scores. Default 1/√D. */
  readonly scale?: number;
  /** Whether a new token sees only the new ones up to its own place, besides all before. Default true. */
  readonly causal?: boolean;
}

/**
 * Attention of S new tokens to those before them, whose keys and values lie in a cache, and to one another. It equals
 * {@link attention} over the filled part of the cache followed by the new keys and values; the cache itself need not hold
 * these yet. Reading the cache here and writing the new keys to it by `dynamicUpdateSlice` copies only the new ones.
 *
 * @param q [B, S, H, D], of a float type.
 * @param past what the cache holds.
 * @param k [B, S, H, D], the new keys.
 * @param v [B, S, H, D], the new values.
 * @returns [B, S, H, D].
 * @throws ShapeError or DTypeError when the operands do not fit.
 * @example
 * const random = rng(0);
 * const [q, cache] = [random.normal([2, 1, 4, 8]), random.normal([2, 16, 4, 8])];
 * cachedAttention(q, { k: cache, v: cache, length: scalar(5, "i32") }, q, q); // [2, 1, 4, 8]
 */
export function cachedAttention(
  q: Tensor,
  past: PastKeys,
  k: Tensor,
  v: Tensor,
  options: CachedAttentionOptions = {},
): Tensor {
  const op = "cachedAttention";
  const operands = { q, "past.k": past.k, "past.v": past.v, k, v };
  for (const [name, operand] of Object.entries(operands)) checkTensor(op, name, operand);
  checkTensor(op, "past.length", past.length);
  checkOptions(op, options, ["scale", "causal"]);
  expectCompute(op, operands);
  expectRank(op, "q", q, 4, "[B, S, H, D]");
  const [b, s, h, d] = q.dims(4);
  expectRank(op, "past.k", past.k, 4, "[B, M, H, D]");
  const room = past.k.dim(1);
  for (const name of ["past.k", "past.v"] as const) expectShape(op, name, operands[name], [b, room, h, d]);
  for (const name of ["k", "v"] as const) expectShape(op, name, operands[name], [b, s, h, d]);
  expectDType(op, "past.length", past.length, "i32");
  if (past.length.rank > 0) expectShape(op, "past.length", past.length, [b]);
  const { scale = 1 / Math.sqrt(Math.max(d, 1)), causal = true } = options;
  checkFinite(op, "scale", scale);
  checkBoolean(op, "causal", causal);

  const merged = (q1: Tensor, k0: Tensor, v0: Tensor, k1: Tensor, v1: Tensor): Tensor =>
    composed(() => {
      // At lower precision the whole cache would be rounded anew at each step, to save no time where reading it is all.
      const [before, lseBefore] = withPrecision("highest", () =>
        attentionParts(q1, k0, v0, { scale, causal: false }, past.length),
      );
      const [now, lseNow] = attentionParts(q1, k1, v1, { scale, causal });
      // e^a / (e^a + e^b); zero where there is nothing before, whose log-sum-exp is −∞.
      const share = cast(sigmoid(sub(lseBefore, lseNow)), now.dtype);
      return lerp(now, before, reshape(transpose(share, [0, 2, 1]), [b, s, h, 1]));
    });
  const whole = ([q1, k0, v0, k1, v1]: readonly Tensor[]): Tensor => {
    const lengths = broadcastTo(past.length, [b]);
    const seenBefore = visibility(s, room, false, lengths) as Tensor;
    const seenNow = visibility(s, s, causal, undefined) ?? ones([s, s], "bool");
    const visible = concat([broadcastTo(seenBefore, [b, 1, s, room]), broadcastTo(seenNow, [b, 1, s, s])], -1);
    const join = (x: Tensor | undefined, y: Tensor | undefined): Tensor => concat([x, y] as Tensor[], 1);
    return attendVisible(q1 as Tensor, join(k0, k1), join(v0, v1), scale, visible);
  };
  return customVjp(merged, (args, _output, cotangent) =>
    gradientThrough((primals) => [whole(primals)], args, [cotangent]),
  )(q, past.k, past.v, k, v);
}
