// The operations that are functions only: those that take a list of tensors or an equation, and updates of state.

export { checkFinite } from "./checkFinite.js";
export { einsum } from "./einsum.js";
export { concat, stack } from "./movement.js";
export { type AdamUpdate, adamUpdate, emaUpdate, sumSquares } from "./optimizer.js";
export { type RmspropUpdate, rmspropUpdate } from "./rmsprop.js";
export { type SamplerStep, samplerStep } from "./sampler.js";
export { type SgdUpdate, sgdUpdate } from "./sgd.js";
export type { ParameterUpdate } from "./update.js";
