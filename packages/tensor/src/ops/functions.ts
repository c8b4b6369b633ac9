// The operations that are functions only: those of several tensors on an equal footing, and updates of state.

export { lerp } from "./arithmetic.js";
export { type CachedAttentionOptions, cachedAttention, type PastKeys } from "./cachedAttention.js";
export { checkFinite } from "./checkFinite.js";
export { conv2dInputGrad, conv2dWeightGrad } from "./conv.js";
export { einsum } from "./einsum.js";
export { scatterAdd } from "./indexing.js";
export { concat, stack } from "./movement.js";
export { type AdamUpdate, adamUpdate, emaUpdate, sumSquares } from "./optimizer.js";
export { type RmspropUpdate, rmspropUpdate } from "./rmsprop.js";
export { addNoise, type SamplerStep, samplerStep } from "./sampler.js";
export { type SgdUpdate, sgdUpdate } from "./sgd.js";
export { scatterAddAlong } from "./takeAlong.js";
export type { ParameterUpdate } from "./update.js";
