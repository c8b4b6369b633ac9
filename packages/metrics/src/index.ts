// @figment/metrics: how good generated images are.
//
//   images/    one image beside another: PSNR, SSIM, MS-SSIM
//   features/  sets of features in f64, and how images become them
//   sets/      one set beside another: Fréchet and kernel distance, precision and recall, density and coverage; the
//              inception score; mean and covariance batch by batch
//   resampling/  how sure a number is
//   classifier/  a classifier of digits, whose features distances between digits are taken over
//   linear/    matrices and eigenvalues in f64
//   evaluation/  samplers beside real images, as a table
// Imports @figment/tensor, @figment/io and @figment/nn.

export {
  MnistClassifier,
  type MnistClassifierOptions,
  mnistClassifier,
} from "./classifier/mnistClassifier.js";
export type { ClassifierProgress, TrainingControl } from "./classifier/train.js";
export { type Evaluation, type EvaluationOptions, type EvaluationRow, evaluateSamples } from "./evaluation/evaluate.js";
export { type RealImagesOptions, realImages, type SampleSource } from "./evaluation/sources.js";
export { evaluationTable } from "./evaluation/table.js";
export {
  type ExtractOptions,
  extractFeatures,
  type FeatureExtractor,
  type ImageBatch,
  type ImageSource,
} from "./features/extract.js";
export { FeatureSet } from "./features/featureSet.js";
export { gaussianBlur } from "./images/blur.js";
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
