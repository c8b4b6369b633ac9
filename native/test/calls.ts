// One small valid call of every operation, as a program of one record. The fuzz test starts from them; they
// say nothing about results.

import { readFileSync } from "node:fs";
import { type Blob, format, slotKind } from "./blob.ts";
import { addCode, opEntry } from "./programs.ts";

const header = readFileSync(new URL("../src/kernels/params.generated.h", import.meta.url), "utf8");

const scalarBytes: Record<string, number> = { int32_t: 4, int64_t: 8, float: 4, double: 8 };

/** Packs an operation's parameter struct, whose fields are read from the generated header. */
function packParams(op: string, values: Record<string, number | number[]>): Uint8Array {
  const start = header.indexOf(`struct ${op[0]?.toUpperCase()}${op.slice(1)}Params {`);
  const struct = header.slice(start, header.indexOf("static_assert", start));
  const size = Number(header.slice(start).match(/== (\d+)\)/)?.[1]);
  const view = new DataView(new ArrayBuffer(size));
  let offset = 0;
  for (const [, type, name, length] of struct.matchAll(/^ {2}(int32_t|int64_t|float|double) (\w+)(?:\[(\d+)\])?;/gm)) {
    const bytes = scalarBytes[type!]!;
    offset = Math.ceil(offset / bytes) * bytes;
    const value = values[name!] ?? 0;
    const items = Array.isArray(value) ? value : new Array(Number(length ?? 1)).fill(value);
    for (const item of items as number[]) {
      if (type === "int32_t") view.setInt32(offset, item, true);
      else if (type === "int64_t") view.setBigInt64(offset, BigInt(item), true);
      else if (type === "float") view.setFloat32(offset, item, true);
      else view.setFloat64(offset, item, true);
      offset += bytes;
    }
  }
  return new Uint8Array(view.buffer);
}

type Shape = readonly number[];
/** An operand: its shape, or its shape and format. */
type Operand = Shape | { readonly shape: Shape; readonly format: number };

const i32 = (...shape: number[]): Operand => ({ shape, format: format.i32 });

function call(op: string, params: Uint8Array, inputs: readonly Operand[], outputs: readonly Operand[]): Blob {
  const operands = [...inputs, ...outputs].map((operand, slot) => {
    const known = "shape" in operand ? operand : { shape: operand, format: format.f32 };
    return { slot, dims: known.shape, format: known.format };
  });
  const slots = operands.map(({ dims }, slot) => ({
    kind: slot < inputs.length ? slotKind.input : slotKind.output,
    ordinal: slot < inputs.length ? slot : slot - inputs.length,
    bytes: 4 * dims.reduce((product, dim) => product * dim, 1),
  }));
  const record = { op: 0, params, in: operands.slice(0, inputs.length), out: operands.slice(inputs.length) };
  return { slots, ops: [opEntry(op)], records: [record] };
}

const packed = (
  op: string,
  params: Record<string, number | number[]>,
  inputs: readonly Operand[],
  outputs: readonly Operand[],
): Blob => call(op, packParams(op, params), inputs, outputs);

const [n, h, w, c, o] = [2, 5, 6, 4, 8];
const window = { kh: 3, kw: 3, stride: [2, 1], padLo: [1, 1], padHi: [1, 0] };
const conv = { n, h, w, c, ho: 3, wo: 5, o, ...window, dilation: 1, groups: 2 };
const x = [n, h, w, c];
const y = [n, 3, 5, o];
const weights = [o, 3, 3, 2];
const pooled = [n, 3, 5, c];
const pool = { n, h, w, c, ho: 3, wo: 5, ...window };
const resize = { n, h, w, c, ho: 10, wo: 7 };
const resized = [n, 10, 7, c];
const rows = { rows: 5, cols: 19 };
const table = [5, 19];
const norm = { n, spatial: 9, c: 8, groups: 2, silu: 1, eps: 1e-5 };
const normed = [n, 9, 8];
const attention = { b: 2, h: 2, sq: 5, sk: 7, d: 8, causal: 1, scale: 0.35 };
const query = [2, 5, 2, 8];
const key = [2, 7, 2, 8];
const logSum = [2, 2, 5];
const adamTensors = [[7, 3], [40]];

/** Every operation by name. */
export const calls: Record<string, Blob> = {
  elementwise: call(
    "elementwise",
    addCode,
    [
      [4, 9],
      [4, 9],
    ],
    [[4, 9]],
  ),
  reduce: packed("reduce", { kind: 0, axes: 2 }, [[4, 9, 5]], [[4, 1, 5]]),
  matmul: packed(
    "matmul",
    { batch: 2, m: 5, n: 9, k: 7, batchStrideA: 35, batchStrideB: 0, transB: 1, bias: 1, activation: 1 },
    [[2, 5, 7], [1, 9, 7], [9]],
    [[2, 5, 9]],
  ),
  conv2d: packed("conv2d", { ...conv, bias: 1, activation: 1 }, [x, weights, [o]], [y]),
  conv2dInputGrad: packed("conv2dInputGrad", conv, [y, weights], [x]),
  conv2dWeightGrad: packed("conv2dWeightGrad", conv, [x, y], [weights]),
  resizeNearest: packed("resizeNearest", resize, [x], [resized]),
  resizeNearestGrad: packed("resizeNearestGrad", resize, [resized], [x]),
  avgPool: packed("avgPool", pool, [x], [pooled]),
  avgPoolGrad: packed("avgPoolGrad", pool, [pooled], [x]),
  gather: packed("gather", { outer: 3, axis: 12, inner: 5, count: 4 }, [[3, 12, 5], i32(4)], [[3, 4, 5]]),
  scatterAdd: packed("scatterAdd", { outer: 3, axis: 12, inner: 5, count: 4 }, [[3, 4, 5], i32(4)], [[3, 12, 5]]),
  dynamicSlice: packed("dynamicSlice", { rank: 3 }, [[3, 12, 5], i32(3)], [[2, 4, 5]]),
  dynamicUpdateSlice: packed("dynamicUpdateSlice", { rank: 3 }, [[3, 12, 5], [2, 4, 5], i32(3)], [[3, 12, 5]]),
  randomUniform: packed("randomUniform", { count: 37 }, [i32(4)], [[37], i32(4)]),
  randomNormal: packed("randomNormal", { count: 37 }, [i32(4)], [[37], i32(4)]),
  softmax: packed("softmax", rows, [table], [table]),
  softmaxGrad: packed("softmaxGrad", rows, [table, table], [table]),
  groupNorm: packed("groupNorm", norm, [normed, [8], [8]], [normed, [n, 2], [n, 2]]),
  groupNormGrad: packed("groupNormGrad", norm, [normed, [8], [8], [n, 2], [n, 2], normed], [normed, [8], [8]]),
  attention: packed("attention", attention, [query, key, key], [query, logSum]),
  attentionGrad: packed("attentionGrad", attention, [query, key, key, query, logSum, query], [query, key, key]),
  crossEntropy: packed("crossEntropy", rows, [table, i32(5)], [[5], [5]]),
  crossEntropyGrad: packed("crossEntropyGrad", rows, [table, i32(5), [5], [5]], [table]),
  adam: packed(
    "adam",
    { count: 2, decoupled: 1, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01 },
    [[], [], [], ...adamTensors, ...adamTensors, ...adamTensors, ...adamTensors],
    [...adamTensors, ...adamTensors, ...adamTensors],
  ),
  emaUpdate: packed("emaUpdate", { count: 2 }, [[], ...adamTensors, ...adamTensors], adamTensors),
  sumSquares: packed("sumSquares", { count: 2 }, adamTensors, [[]]),
  addNoise: packed("addNoise", { n: 3, inner: 11, steps: 12 }, [[3, 11], [3, 11], i32(3), [12], [12]], [[3, 11]]),
  samplerStep: packed(
    "samplerStep",
    { size: 37, tensors: 3, noise: 1, clamp: 1, lo: -1, hi: 1 },
    [[12], i32(4), [37], [37], [37]],
    [[37], i32(4)],
  ),
};
