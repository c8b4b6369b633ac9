// The parameter structs of the native ops. Each family's file re-reads its own from here; the C++ header
// native/src/kernels/params.generated.h is written from this list by scripts/generate-params.ts, and a
// test keeps the two equal.

import { schema } from "../ir/schema.js";

const convFields = {
  n: "i32",
  h: "i32",
  w: "i32",
  c: "i32",
  ho: "i32",
  wo: "i32",
  o: "i32",
  kh: "i32",
  kw: "i32",
  stride: ["i32", 2],
  padLo: ["i32", 2],
  padHi: ["i32", 2],
  dilation: ["i32", 2],
  groups: "i32",
} as const;

const poolFields = {
  n: "i32",
  h: "i32",
  w: "i32",
  c: "i32",
  ho: "i32",
  wo: "i32",
  kh: "i32",
  kw: "i32",
  stride: ["i32", 2],
  padLo: ["i32", 2],
  padHi: ["i32", 2],
} as const;

const resizeFields = { n: "i32", h: "i32", w: "i32", c: "i32", ho: "i32", wo: "i32" } as const;
const indexFields = { outer: "i64", axis: "i64", inner: "i64", count: "i64" } as const;
const rowFields = { rows: "i64", cols: "i64" } as const;
const normFields = { n: "i64", spatial: "i64", c: "i64", groups: "i32", silu: "i32", eps: "f64" } as const;
const attentionFields = { b: "i32", h: "i32", sq: "i32", sk: "i32", d: "i32", causal: "i32", scale: "f64" } as const;

export const nativeSchemas = {
  /** Register code in the tail: `instructions` × 16 bytes. */
  elementwise: schema("elementwise", { instructions: "i32", registers: "i32" }, true),
  reduce: schema("reduce", { kind: "i32", axes: "i32" }),
  matmul: schema("matmul", {
    batch: "i64",
    m: "i64",
    n: "i64",
    k: "i64",
    batchStrideA: "i64",
    batchStrideB: "i64",
    transA: "i32",
    transB: "i32",
    bias: "i32",
    activation: "i32",
  }),
  conv2d: schema("conv2d", { ...convFields, bias: "i32", activation: "i32" }),
  conv2dInputGrad: schema("conv2dInputGrad", convFields),
  conv2dWeightGrad: schema("conv2dWeightGrad", convFields),
  resizeNearest: schema("resizeNearest", resizeFields),
  resizeNearestGrad: schema("resizeNearestGrad", resizeFields),
  avgPool: schema("avgPool", poolFields),
  avgPoolGrad: schema("avgPoolGrad", poolFields),
  gather: schema("gather", indexFields),
  scatterAdd: schema("scatterAdd", indexFields),
  dynamicSlice: schema("dynamicSlice", { rank: "i32" }),
  dynamicUpdateSlice: schema("dynamicUpdateSlice", { rank: "i32" }),
  randomUniform: schema("randomUniform", { count: "i64" }),
  randomNormal: schema("randomNormal", { count: "i64" }),
  softmax: schema("softmax", rowFields),
  softmaxGrad: schema("softmaxGrad", rowFields),
  groupNorm: schema("groupNorm", normFields),
  groupNormGrad: schema("groupNormGrad", normFields),
  attention: schema("attention", attentionFields),
  attentionGrad: schema("attentionGrad", attentionFields),
  crossEntropy: schema("crossEntropy", rowFields),
  crossEntropyGrad: schema("crossEntropyGrad", rowFields),
  adam: schema("adam", {
    count: "i32",
    decoupled: "i32",
    beta1: "f64",
    beta2: "f64",
    eps: "f64",
    weightDecay: "f64",
  }),
  emaUpdate: schema("emaUpdate", { count: "i32" }),
  sumSquares: schema("sumSquares", { count: "i32" }),
  addNoise: schema("addNoise", { n: "i64", inner: "i64", steps: "i64" }),
  samplerStep: schema("samplerStep", { size: "i64", tensors: "i32", noise: "i32", clamp: "i32", lo: "f32", hi: "f32" }),
} as const;
