// Scaled dot-product attention (Vaswani et al. 2017) over operands [B, S, H, D], with the gradient of Dao
// et al. (2022), which recomputes probabilities from the row log-sum-exp. out and lse are hints there.

import { apply } from "../core/apply.js";
import { arange } from "../core/create.js";
import { composed } from "../core/scope.js";
import type { Tensor } from "../core/tensor.js";
import { ShapeError } from "../errors.js";
import type { Aval, Node, Value } from "../ir/graph.js";
import { showShape } from "../shape.js";
import {
  checkBoolean,
  checkFinite,
  checkOptions,
  checkTensor,
  expectCompute,
  expectCount,
  expectRank,
  expectShape,
} from "./checks.js";
import { defineOp, type KernelCall, nativeSchema, type OpDef, type Sample, type SampleInput } from "./definition.js";
import { add, exp, ge, log, mul, select, sub } from "./elementwise.js";
import { gradientThrough } from "./fused.js";
import { matmul } from "./matmul.js";
import { reshape, transpose } from "./movement.js";
import { max, sum } from "./reduce.js";
import { softmax } from "./softmax.js";

const attentionFields = { b: "i32", h: "i32", sq: "i32", sk: "i32", d: "i32", causal: "i32", scale: "f64" } as const;
const attentionSchema = nativeSchema("attention", attentionFields);
const attentionGradSchema = nativeSchema("attentionGrad", attentionFields);

/** The factor of the scores, and whether a query sees only keys up to its own position. */
export type AttentionAttrs = { readonly scale: number; readonly causal: boolean };

/** Options of {@link attention}. */
export interface AttentionOptions {
  /** Factor of the scores. Default 1/√D. */
  readonly scale?: number;
  /** Query i sees the keys j ≤ i + Sk − Sq. Default false. */
  readonly causal?: boolean;
}

const layout = "[B, S, H, D]";
/** A score so low that its weight is exactly zero. */
const hidden = -1e30;

function inferAttention(op: string, q: Aval, k: Aval, v: Aval, { causal }: AttentionAttrs): Aval[] {
  const dtype = expectCompute(op, { q, k, v });
  expectRank(op, "q", q, 4, layout);
  expectRank(op, "k", k, 4, layout);
  const [b, sq, h, d] = q.shape as readonly [number, number, number, number];
  const sk = k.shape[1] as number;
  expectShape(op, "k", k, [b, sk, h, d]);
  expectShape(op, "v", v, [b, sk, h, d]);
  if (sk === 0 || d === 0) throw new ShapeError(`${op}: k ${showShape(k.shape)} holds no keys to attend to`);
  if (causal && sq > sk) {
    throw new ShapeError(
      `${op}: causal attention of ${sq} queries over ${sk} keys leaves the first queries nothing to see`,
    );
  }
  return [
    { shape: q.shape, dtype },
    { shape: [b, h, sq], dtype },
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

/** Masked scores [B, H, Sq, Sk]. */
function scores(q: Tensor, k: Tensor, { scale, causal }: AttentionAttrs): Tensor {
  const all = mul(matmul(swapHeads(q), swapHeads(k), { transposeB: true }), scale);
  if (!causal) return all;
  const [sq, sk] = [q.dim(1), k.dim(1)];
  const position = add(reshape(arange(sq, "i32"), [sq, 1]), sk - sq);
  return select(ge(position, arange(sk, "i32")), all, hidden);
}

function decomposeAttention([q, k, v]: readonly Tensor[], attrs: AttentionAttrs): Tensor[] {
  const s = scores(q as Tensor, k as Tensor, attrs);
  const out = swapHeads(matmul(softmax(s), swapHeads(v as Tensor)));
  const highest = max(s, -1, { keepDims: true }).alias();
  const lse = add(log(sum(exp(sub(s, highest)), -1)), reshape(highest, s.shape.slice(0, -1)));
  return [out, lse];
}

/** b, sq, sk, h, d. */
const cases: readonly (readonly [number, number, number, number, number, boolean])[] = [
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
];

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
    expectCount("attention", inputs, 3);
    const [q, k, v] = inputs as readonly [Aval, Aval, Aval];
    return inferAttention("attention", q, k, v, attrs);
  },
  vjp: ({ inputs, outputs, attrs, cotangent }) => apply(attentionGradDef, [...inputs, ...outputs, cotangent()], attrs),
  decompose: decomposeAttention,
  lower: { kind: "kernel", call: (node, attrs) => attentionCall(attentionSchema, node, attrs) },
  samples: () =>
    cases.map(([b, sq, sk, h, d, causal]) => ({
      inputs: operands(b, sq, sk, h, d),
      attrs: { scale: 1 / Math.sqrt(d), causal },
    })),
});

export const attentionGradDef: OpDef<AttentionAttrs> = defineOp({
  name: "attentionGrad",
  effect: "pure",
  hints: [3, 4],
  infer: (inputs, attrs) => {
    const op = "attentionGrad";
    expectCount(op, inputs, 6);
    const [q, k, v, out, lse, dout] = inputs as readonly [Aval, Aval, Aval, Aval, Aval, Aval];
    const [result, rows] = inferAttention(op, q, k, v, attrs) as [Aval, Aval];
    expectCompute(op, { q, out, lse, dout });
    expectShape(op, "out", out, result.shape);
    expectShape(op, "lse", lse, rows.shape);
    expectShape(op, "dout", dout, result.shape);
    return [q, k, v].map(({ shape, dtype }) => ({ shape, dtype }));
  },
  decompose: ([q, k, v, , , dout], attrs) =>
    gradientThrough((primals) => decomposeAttention(primals, attrs), [q, k, v] as Tensor[], [dout]),
  lower: { kind: "kernel", call: (node, attrs) => attentionCall(attentionGradSchema, node, attrs) },
  samples: (): Sample<AttentionAttrs>[] =>
    cases.map(([b, sq, sk, h, d, causal]) => {
      const attrs = { scale: 1 / Math.sqrt(d), causal };
      const residual = (shape: readonly number[], output: number): SampleInput => ({
        shape,
        derive: (inputs) => apply(attentionDef, inputs.slice(0, 3), attrs)[output] as Tensor,
      });
      const out = [b, sq, h, d];
      return {
        inputs: [...operands(b, sq, sk, h, d), residual(out, 0), residual([b, h, sq], 1), { shape: out }],
        attrs,
      };
    }),
});

/**
 * Scaled dot-product attention, softmax(scale · q·kᵀ)·v for each batch entry and head.
 *
 * @param q [B, Sq, H, D], f32 or f64.
 * @param k [B, Sk, H, D].
 * @param v [B, Sk, H, D].
 * @returns [B, Sq, H, D].
 * @throws ShapeError when the operands do not fit, or when causal attention has more queries than keys.
 * @example
 * const q = rng(0).normal([2, 4, 16, 8]);
 * attention(q, q, q, { causal: true }); // [2, 4, 16, 8]
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}): Tensor {
  const op = "attention";
  checkTensor(op, "q", q);
  checkTensor(op, "k", k);
  checkTensor(op, "v", v);
  checkOptions(op, options, ["scale", "causal"]);
  expectRank(op, "q", q, 4, layout);
  const { scale = 1 / Math.sqrt(Math.max(q.dim(3), 1)), causal = false } = options;
  checkFinite(op, "scale", scale);
  checkBoolean(op, "causal", causal);
  return composed(() => apply(attentionDef, [q, k, v], { scale, causal })[0] as Tensor);
}
