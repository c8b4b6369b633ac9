// The operations whose first argument is the tensor that they are about: functions, and methods of Tensor too.

export { elu, type GeluOptions, gelu, leakyRelu } from "./activation.js";
export { argmax, argmin } from "./argReduce.js";
export {
  add,
  cos,
  div,
  exp,
  lerp,
  log,
  maximum,
  minimum,
  mul,
  neg,
  relu,
  rsqrt,
  sigmoid,
  silu,
  sin,
  sqrt,
  square,
  sub,
  tanh,
} from "./arithmetic.js";
export { type AttentionOptions, attention } from "./attention.js";
export { type BatchNormResult, batchNorm, batchNormWith } from "./batchNorm.js";
export { type BiasActivation, type BiasActOptions, biasAct } from "./biasAct.js";
export { edgePad, reflectPad } from "./borderPad.js";
export { type CachedAttentionOptions, cachedAttention, type PastKeys } from "./cachedAttention.js";
export { cast } from "./cast.js";
export { eq, ge, gt, le, lt, ne, select } from "./comparison.js";
export { conv2d, conv2dInputGrad, conv2dWeightGrad } from "./conv.js";
export type { ConvOptions } from "./convGeometry.js";
export { type CumsumOptions, cumsum } from "./cumsum.js";
export { at, dynamicSlice, dynamicUpdateSlice, type Starts } from "./dynamicSlice.js";
export { flip } from "./flip.js";
export { gather, scatterAdd } from "./indexing.js";
export { isFinite, isNaN, logicalAnd, logicalNot, logicalOr, logicalXor } from "./logic.js";
export { crossEntropy } from "./loss.js";
export { abs, ceil, clamp, erf, expm1, floor, log1p, pow, rem, round, sign, softplus } from "./math.js";
export { type MatmulOptions, matmul } from "./matmul.js";
export { maxPool } from "./maxPool.js";
export { broadcastTo, reshape, transpose } from "./movement.js";
export { groupNorm } from "./norm.js";
export { pixelShuffle, pixelUnshuffle } from "./pixelShuffle.js";
export { type Axes, max, mean, min, norm, type ReduceOptions, sum } from "./reduce.js";
export { avgPool, type PoolOptions, resizeNearest } from "./resize.js";
export { type ResizeBilinearOptions, resizeBilinear } from "./resizeBilinear.js";
export { layerNorm, type RowNormOptions, rmsNorm } from "./rowNorm.js";
export { addNoise } from "./sampler.js";
export { pad, slice, split } from "./slicing.js";
export { logSoftmax, softmax } from "./softmax.js";
export { argsort, type Sorted, type SortOptions, sort, type TopkOptions, topk } from "./sort.js";
export { all, any, logsumexp, prod, std, type VarianceOptions, variance } from "./statistics.js";
export { scatterAddAlong, takeAlong } from "./takeAlong.js";
export { to } from "./to.js";
export { type Upfirdn2dOptions, upfirdn2d } from "./upfirdn2d.js";
