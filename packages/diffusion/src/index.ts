// @figment/diffusion: denoising diffusion models.
//
//   schedule.ts     βₜ and ᾱₜ
//   diffusion.ts    the forward process, the loss, the posterior; lossWeights.ts and bound.ts are parts of the loss
//   continuous.ts   losses of flow matching and EDM
//   samplers/       DDPM, DDIM and the others as rows of coefficients
//   step.ts         the compiled step that takes a row; sampling.ts is the loop around it
//   editing.ts      starting from images, and keeping known pixels
//   noise.ts        PyTorch's noise for a seed, with the functions of float32.ts
//   unet.ts         the network; conditional/ is Stable Diffusion's, which attends to a context; levels.ts is what they share
//   diffusers/      configurations and folders of diffusers

export type { BoundOptions, BoundResult } from "./bound.js";
export { SpatialTransformer, type SpatialTransformerOptions } from "./conditional/spatialTransformer.js";
export { UNet2DConditionModel, type UNet2DConditionOptions } from "./conditional/unet2dCondition.js";
export {
  type ContinuousLossOptions,
  type EdmLossOptions,
  edmLoss,
  type FlowMatchingOptions,
  flowMatchingLoss,
} from "./continuous.js";
export type { UNetConfig } from "./diffusers/fields.js";
export {
  loadPipeline,
  Pipeline,
  type PipelineSampleOptions,
  type PipelineToSave,
  savePipeline,
} from "./diffusers/pipeline.js";
export {
  type Scheduler,
  type SchedulerConfig,
  type SchedulerRun,
  schedulerFromConfig,
} from "./diffusers/scheduler.js";
export { unet2dNames, unetConfig, unetFromConfig } from "./diffusers/unet.js";
export { unet2dConditionFromConfig, unet2dConditionNames } from "./diffusers/unet2dCondition.js";
export { type BoundBatch, Diffusion, type DiffusionOptions } from "./diffusion.js";
export type { FromImage, Inpainting } from "./editing.js";
export type { LossWeighting } from "./lossWeights.js";
export { type NoiseSource, TorchNoise, torchNoise } from "./noise.js";
export { patchify, unpatchify } from "./patch.js";
export * from "./samplers/index.js";
export type { Frame, Guidance, SampleOptions, SampleProgress, SampleStepsOptions } from "./sampling.js";
export {
  alphasCumprod,
  cosineBetas,
  linearBetas,
  scaledLinearBetas,
  sigmoidBetas,
  zeroTerminalSnr,
} from "./schedule.js";
export type { Denoiser } from "./step.js";
export { UNet, type UNetOptions } from "./unet.js";
