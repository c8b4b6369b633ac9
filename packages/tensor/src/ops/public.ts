// The operations that users call.

export { elu, type GeluOptions, gelu, leakyRelu } from "./activation.js";
export { type AttentionOptions, attention } from "./attention.js";
export { type ConvOptions, conv2d, conv2dInputGrad, conv2dWeightGrad } from "./conv.js";
export { at, dynamicSlice, dynamicUpdateSlice, type Starts } from "./dynamicSlice.js";
export {
  add,
  cast,
  cos,
  div,
  eq,
  exp,
  ge,
  gt,
  le,
  lerp,
  log,
  lt,
  maximum,
  minimum,
  mul,
  ne,
  neg,
  relu,
  rsqrt,
  select,
  sigmoid,
  silu,
  sin,
  sqrt,
  square,
  sub,
  tanh,
} from "./elementwise.js";
export { gather, scatterAdd } from "./indexing.js";
export { isFinite, isNaN, logicalAnd, logicalNot, logicalOr, logicalXor } from "./logic.js";
export { crossEntropy } from "./loss.js";
export { abs, ceil, clamp, erf, expm1, floor, log1p, pow, rem, round, sign, softplus } from "./math.js";
export { type MatmulOptions, matmul } from "./matmul.js";
export { broadcastTo, concat, pad, reshape, slice, stack, transpose } from "./movement.js";
export { groupNorm } from "./norm.js";
export { type AdamUpdate, adamUpdate, emaUpdate, sumSquares } from "./optimizer.js";
export { type Axes, max, mean, norm, type ReduceOptions, sum } from "./reduce.js";
export { avgPool, type PoolOptions, resizeNearest } from "./resize.js";
export { addNoise, type SamplerStep, samplerStep } from "./sampler.js";
export { logSoftmax, softmax } from "./softmax.js";
