// @figment/diffusion: denoising diffusion models.
//
//   schedule.ts   βₜ and ᾱₜ
//   diffusion.ts  the forward process, the loss, the posterior
//   samplers.ts   DDPM and DDIM as rows of coefficients; sampling.ts runs them
//   unet.ts       the network

export { type Denoiser, Diffusion, type DiffusionOptions } from "./diffusion.js";
export { patchify, unpatchify } from "./patch.js";
export {
  type DdimOptions,
  type DdpmOptions,
  ddim,
  ddpm,
  type Prediction,
  type Process,
  posterior,
  type Sampler,
  type SamplerRow,
  trailingTimesteps,
} from "./samplers.js";
export type { Frame, SampleOptions, SampleProgress, SampleStepsOptions } from "./sampling.js";
export { alphasCumprod, cosineBetas, linearBetas } from "./schedule.js";
export { UNet, type UNetOptions } from "./unet.js";
