// @figment/metrics: how good generated images are.
//
//   images/    one image beside another: PSNR, SSIM, MS-SSIM
//   features/  sets of features in f64, and how images become them
//   sets/      one set beside another: Fréchet distance; mean and covariance batch by batch
//   linear/    matrices and eigenvalues in f64
// Imports @figment/tensor, @figment/io and @figment/nn.

export {
  type ExtractOptions,
  extractFeatures,
  type FeatureExtractor,
  type ImageBatch,
  type ImageSource,
} from "./features/extract.js";
export { FeatureSet } from "./features/featureSet.js";
export { psnr } from "./images/psnr.js";
export type { ImageScoreOptions, ImageScores } from "./images/scores.js";
export { type MsSsimOptions, msSsim, ssim } from "./images/ssim.js";
export { frechetDistance } from "./sets/frechet.js";
export { type GaussianStatistics, gaussianStatistics, RunningStatistics } from "./sets/statistics.js";
