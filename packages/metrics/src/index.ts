// @figment/metrics: how good generated images are.
//
//   images/    one image beside another: PSNR, SSIM, MS-SSIM
//   features/  sets of features in f64, and how images become them
//   sets/      one set beside another: Fréchet and kernel distance, precision and recall, density and coverage; the
//              inception score; mean and covariance batch by batch
//   resampling/  how sure a number is
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
export { type BootstrapOptions, bootstrap, type Interval } from "./resampling/bootstrap.js";
export { frechetDistance } from "./sets/frechet.js";
export { type InceptionScore, type InceptionScoreOptions, inceptionScore } from "./sets/inceptionScore.js";
export { type KernelDistance, type KernelDistanceOptions, kernelDistance } from "./sets/kernel.js";
export {
  type DensityCoverage,
  densityCoverage,
  type NeighbourOptions,
  type PrecisionRecall,
  precisionRecall,
} from "./sets/manifold.js";
export { type GaussianStatistics, gaussianStatistics, RunningStatistics } from "./sets/statistics.js";
