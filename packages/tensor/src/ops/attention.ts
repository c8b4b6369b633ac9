// Scaled dot-product attention (Vaswani et al. 2017) over operands [B, S, H, D], with the gradient of Dao
// et al. (2022), which recomputes probabilities from the row log-sum-exp. out and lse are hints there.

import { apply } from "../core/apply.js";
import { arange, tensor } from "../core/create.js";
import { composed } from "../core/scope.js";
import type { Tensor } from "../core/tensor.js";
import { computeType } from "../dtype.js";
import { ShapeError } from "../errors.js";
import type { Aval, Node, Value } from "../ir/graph.js";
import { showShape } from "../shape.js";
import { add, exp, log, mul, sub } from "./arithmetic.js";
import {
  checkBoolean,
  checkFinite,
  checkOptions,
  checkTensor,
  expectCompute,
  expectCount,
  expectDType,
  expectProduct,
  expectRank,
  expectShape,
  type ProductAttrs,
} from "./checks.js";
import { ge, select } from "./comparison.js";
import { defineOp, type KernelCall, nativeSchema, type OpDef, type Sample, type SampleInput } from "./definition.js";
import { gradientThrough } from "./fused.js";
import { clamp } from "./math.js";
import { matmul } from "./matmul.js";
import { broadcastTo, reshape, transpose } from "./movement.js";
import { max, sum } from "./reduce.js";
import { softmax } from "./softmax.js";

const attentionFields = { b: "i32", h: "i32", sq: "i32", sk: "i32", d: "i32", causal: "i32", scale: "f64" } as const;
const attentionSchema = nativeSchema("attention", attentionFields);
const attentionGradSchema = nativeSchema("attentionGrad", attentionFields);

/** The factor of the scores, and whether a query sees only keys up to its own position. */
export type AttentionAttrs = ProductAttrs & { readonly scale: number; readonly causal: boolean };

/** Options of {@link attention}. */
export interface AttentionOptions {
  /** Factor of the scores. Default 1/√D. */
  readonly scale?: number;
  /** Query i sees the keys j ≤ i + L − Sq, where L is the number of keys that count. Default false. */
  readonly causal?: boolean;
  /**
   * How many keys count, the first ones of each batch entry: an i32 tensor [] or [B], clamped to [0, Sk]. Default Sk.
   * With `causal` the queries are taken to stand at the last Sq of these places. A query that sees no key gives zeros.
   */
  readonly keyLength?: Tensor;
}

const layout = "[B, S, H, D]";
/** A score so low that its weight is zero. */
const hidden = -1e30;

interface AttentionAvals {
  readonly q: Aval;
  readonly k: Aval;
  readonly v: Aval;
  readonly lengths: Aval | undefined;
}

function inferAttention(op: string, { q, k, v, lengths }: AttentionAvals, attrs: AttentionAttrs): Aval[] {
  const { causal } = attrs;
  const dtype = expectProduct(op, { q, k, v }, attrs);
  expectRank(op, "q", q, 4, layout);
  expectRank(op, "k", k, 4, layout);
  const [b, sq, h, d] = q.shape as readonly [number, number, number, number];
  const sk = k.shape[1] as number;
  expectShape(op, "k", k, [b, sk, h, d]);
  expectShape(op, "v", v, [b, sk, h, d]);
  if (sk === 0 || d === 0) throw new ShapeError(`${op}: k ${showShape(k.shape)} holds no keys to attend to`);
  if (lengths) {
    expectDType(op, "keyLength", lengths, "i32");
    expectShape(op, "keyLength", lengths, [b]);
  }
  if (causal && sq > sk) {
    throw new ShapeError(
      `${op}: causal attention of ${sq} queries over ${sk} keys leaves the first queries nothing to see`,
    );
  }
  return [
    { shape: q.shape, dtype },
    { shape: [b, h, sq], dtype: computeType(dtype) },
  ];
}

function attentionCall(schema: KernelCall["schema"], node: Node, { scale, causal }: AttentionAttrs): KernelCall {
  const [q, k] = node.inputs as readonly [Value, Value];
  const [b, sq, h, d] = q.shape as readonly [number, number, number, number];
  const whole = (avals: readonly Aval[]) => avals.map(({ shape }, index) => ({ index, dims: shape }));
  return {
    schema,
    params: { b, h, sq, sk: k.shape[1] as number, d, causal: Number(causal), scale },
    inputs: whole(node.inputs),
    outputs: whole(node.outputs),
  };
}

/** [B, S, H, D] ↔ [B, H, S, D]. */
const swapHeads = (x: Tensor): Tensor => transpose(x, [0, 2, 1, 3]);

/** Whether a query sees a key, [Sq, Sk] or [B, 1, Sq, Sk]; undefined where all see all. */
export function visibility(sq: number, sk: number, causal: boolean, lengths: Tensor | undefined): Tensor | undefined {
  if (!causal && !lengths) return undefined;
  const behind = causal ? sub(reshape(arange(sq, "i32"), [sq, 1]), sq) : -1;
  const last = lengths
    ? add(reshape(clamp(lengths, 0, sk), [lengths.size, 1, 1, 1]), behind)
    : add(behind as Tensor, sk);
  return ge(last, arange(sk, "i32"));
}

/** Scores [B, H, Sq, Sk]; where a key is not seen, so low a one that its weight is exactly zero. */
function scores(q: Tensor, k: Tensor, scale: number, visible: Tensor | undefined): Tensor {
  const all = mul(matmul(swapHeads(q), swapHeads(k), { transposeB: true }), scale);
  return visible ? select(visible, all, hidden) : all;
}

/** Attention written out in other ops. `visible` broadcasts to [B, H, Sq, Sk]; each query sees a key. */
export const attendVisible = (q: Tensor, k: Tensor, v: Tensor, scale: number, visible: Tensor): Tensor =>
  swapHeads(matmul(softmax(scores(q, k, scale, visible)), swapHeads(v)));

/** Attention and the log-sum-exp of its scores [B, H, Sq], which carries no derivative. */
export function attentionParts(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  attrs: AttentionAttrs,
  keyLength?: Tensor,
): readonly [out: Tensor, lse: Tensor] {
  const lengths = keyLength ? [keyLength.rank === 0 ? broadcastTo(keyLength, [q.dim(0)]) : keyLength] : [];
  return apply(attentionDef, [q, k, v, ...lengths], attrs) as readonly [Tensor, Tensor];
}

function decomposeAttention(
  [q, k, v, lengths]: readonly (Tensor | undefined)[],
  { scale, causal }: AttentionAttrs,
): Tensor[] {
  const visible = visibility((q as Tensor).dim(1), (k as Tensor).dim(1), causal, lengths);
  const s = scores(q as Tensor, k as Tensor, scale, visible);
  const weights = softmax(s);
  // Where nothing is seen, all hidden scores are equal, which softmax cannot tell from seeing everything.
  const out = swapHeads(matmul(visible && lengths ? select(visible, weights, 0) : weights, swapHeads(v as Tensor)));
  const highest = max(s, -1, { keepDims: true }).alias();
  const lse = add(log(sum(exp(sub(s, highest)), -1)), reshape(highest, s.shape.slice(0, -1)));
  return [out, lse];
}

/** b, sq, sk, h, d, causal, and from where to where lengths are drawn if there are any. */
const cases: readonly (readonly [number, number, number, number, number, boolean, (readonly [number, number])?])[] = [
  [1, 1, 1, 1, 1, false],
  [2, 3, 5, 2, 4, false],
  [1, 4, 4, 2, 3, true],
  [1, 3, 7, 1, 5, true],
  [1, 5, 2, 3, 2, false],
  [2, 49, 49, 4, 32, false],
  [1, 67, 131, 2, 40, false],
  [1, 65, 65, 3, 17, true],
  [1, 33, 257, 1, 64, true],
  [1, 21, 1031, 2, 128, false],
  [3, 2, 5, 2, 3, false, [-1, 8]],
  [3, 3, 6, 1, 4, true, [0, 8]],
  [2, 1, 9, 2, 5, true, [1, 10]],
  [3, 30, 130, 2, 17, true, [10, 131]],
  [4, 1, 300, 2, 32, false, [1, 301]],
  [2, 26, 67, 1, 8, false, [0, 68]],
  [2, 1, 5, 3, 3, false],
  [1, 1, 517, 2, 17, true],
];

/** Lengths across a range, ends included. */
const fixedLengths = (b: number, [lo, hi]: readonly [number, number]): number[] =>
  Array.from({ length: b }, (_, i) => lo + Math.round(((hi - 1 - lo) * i) / Math.max(1, b - 1)));

/** Lengths of the keys as a sample's input. */
const lengthsSample = (b: number, range: readonly [number, number] | undefined): SampleInput[] =>
  range ? [{ shape: [b], dtype: "i32", range }] : [];

const operands = (b: number, sq: number, sk: number, h: number, d: number): SampleInput[] => [
  { shape: [b, sq, h, d] },
  { shape: [b, sk, h, d] },
  { shape: [b, sk, h, d] },
];

export const attentionDef: OpDef<AttentionAttrs> = defineOp({
  name: "attention",
  effect: "pure",
  residuals: [1],
  infer: (inputs, attrs) => {
    expectCount("attention", inputs, 3, 4);
    const [q, k, v, lengths] = inputs as readonly [Aval, Aval, Aval, Aval?];
    return inferAttention("attention", { q, k, v, lengths }, attrs);
  },
  vjp: ({ inputs: [q, k, v, ...lengths], outputs, attrs, cotangent }) =>
    apply(attentionGradDef, [q, k, v, ...outputs, cotangent(), ...lengths] as Tensor[], attrs),
  decompose: decomposeAttention,
  lower: { kind: "kernel", halves: true, call: (node, attrs) => attentionCall(attentionSchema, node, attrs) },
  factors: [0, 1, 2],
  stores: true,
  samples: () =>
    cases.map(([b, sq, sk, h, d, causal, lengths]) => ({
      inputs: [...operands(b, sq, sk, h, d), ...lengthsSample(b, lengths)],
      attrs: { scale: 1 / Math.sqrt(d), causal },
    })),
});

export const attentionGradDef: OpDef<AttentionAttrs> = defineOp({
  name: "attentionGrad",
  effect: "pure",
  hints: [3, 4],
  infer: (inputs, attrs) => {
    const op = "attentionGrad";
    expectCount(op, inputs, 6, 7);
    const [q, k, v, out, lse, dout, lengths] = inputs as readonly [Aval, Aval, Aval, Aval, Aval, Aval, Aval?];
    const [result, rows] = inferAttention(op, { q, k, v, lengths }, attrs) as [Aval, Aval];
    expectCompute(op, { q, dout });
    expectDType(op, "out", out, result.dtype);
    expectDType(op, "lse", lse, rows.dtype);
    expectShape(op, "out", out, result.shape);
    expectShape(op, "lse", lse, rows.shape);
    expectShape(op, "dout", dout, result.shape);
    return [q, k, v].map(({ shape }) => ({ shape, dtype: result.dtype }));
  },
  decompose: ([q, k, v, , , dout, lengths], attrs) =>
    gradientThrough((primals) => decomposeAttention([...primals, lengths], attrs), [q, k, v] as Tensor[], [dout]),
  lower: { kind: "kernel", halves: true, call: (node, attrs) => attentionCall(attentionGradSchema, node, attrs) },
  factors: [0, 1, 2, 5],
  samples: (): Sample<AttentionAttrs>[] =>
    cases.map(([b, sq, sk, h, d, causal, range]) => {
      const attrs = { scale: 1 / Math.sqrt(d), causal };
      const out = [b, sq, h, d];
      // Inputs are made in order, so the lengths are drawn last here but decide about the residuals: fixed ones serve.
      const lengths = range ? [fixedLengths(b, range)] : [];
      const residual = (shape: readonly number[], output: number): SampleInput => ({
        shape,
        derive: (inputs) => {
          const given = lengths.map((data) => tensor(data, { dtype: "i32" }));
          return apply(attentionDef, [...inputs.slice(0, 3), ...given], attrs)[output] as Tensor;
        },
      });
      const given = lengths.map(
        (data): SampleInput => ({ shape: [b], dtype: "i32", derive: () => tensor(data, { dtype: "i32" }) }),
      );
      return {
        inputs: [...operands(b, sq, sk, h, d), residual(out, 0), residual([b, h, sq], 1), { shape: out }, ...given],
        attrs,
      };
    }),
});

/**
 * Scaled dot-product attention, softmax(scale · q·kᵀ)·v for each batch entry and head. A query may see fewer than all
 * keys: see `causal` and `keyLength`.
 *
 * @param q [B, Sq, H, D], of a float type.
 * @param k [B, Sk, H, D].
 * @param v [B, Sk, H, D].
 * @returns [B, Sq, H, D].
 * @throws ShapeError when the operands do not fit, or when causal attention has more queries than keys.
 * @example
 * const q = rng(0).normal([2, 4, 16, 8]);
 * attention(q, q, q, { causal: true, keyLength: tensor([4, 2], { dtype: "i32" }) }); // [2, 4, 16, 8]
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}): Tensor {
  const op = "attention";
  checkTensor(op, "q", q);
  checkTensor(op, "k", k);
  checkTensor(op, "v", v);
  checkOptions(op, options, ["scale", "causal", "keyLength"]);
  expectRank(op, "q", q, 4, layout);
  const { scale = 1 / Math.sqrt(Math.max(q.dim(3), 1)), causal = false, keyLength } = options;
  checkFinite(op, "scale", scale);
  checkBoolean(op, "causal", causal);
  if (keyLength !== undefined) checkTensor(op, "keyLength", keyLength);
  return composed(() => attentionParts(q, k, v, { scale, causal }, keyLength)[0]);
}
