// The operations that users call.

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
export { at, broadcastTo, concat, pad, reshape, slice, stack, transpose } from "./movement.js";
export { type Axes, type ReduceOptions, max, mean, norm, sum } from "./reduce.js";
export { type MatmulOptions, matmul } from "./matmul.js";
export { type ConvOptions, conv2d, conv2dInputGrad, conv2dWeightGrad } from "./conv.js";
export { type PoolOptions, avgPool, resizeNearest } from "./resize.js";
export { gather, scatterAdd } from "./indexing.js";
export { groupNorm } from "./norm.js";
export { logSoftmax, softmax } from "./softmax.js";
export { type AttentionOptions, attention } from "./attention.js";
export { crossEntropy } from "./loss.js";
export { type AdamUpdate, adamUpdate, emaUpdate, sumSquares } from "./optimizer.js";
export { type SamplerStep, addNoise, samplerStep } from "./sampler.js";
