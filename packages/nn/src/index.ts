// @figment/nn: modules, layers, initialisers, optimisers, losses, moving averages and the compiled training step.
//
//   module.ts       what a module is; members.ts finds its parts, parameter.ts is a trainable cell
//   layers/         one file per kind of layer; kvCache.ts is what decoders remember
//   optim/          Adam, AdamW, SGD, RMSProp, learning-rate schedules
//   training.ts     compiled steps of any family; train.ts those of one model, checking.ts what they look at
//   interchange/     weights from and for PyTorch: names, layouts, tables of foreign names
//   trainer/        drives such steps: data, logs, checkpoints, hooks, interruptions
//   checks.ts       what constructors ask of their numbers
//   initialisers.ts, losses.ts, ema.ts, summary.ts

export {
  checkChoice,
  checkCounts,
  checkCountsOf,
  checkFlags,
  checkFractions,
  checkNotNegative,
  checkNumbers,
  checkPositive,
  checkUpdates,
  type Padding,
  type Pair,
} from "./checks.js";
export { EMA, type EmaOptions } from "./ema.js";
export * from "./initialisers.js";
export {
  channelsFirst,
  flattenedImages,
  fromTorch,
  type ImageSize,
  type TorchLayout,
  type TorchMember,
  toTorch,
} from "./interchange/layout.js";
export type { TorchRule, TorchRules } from "./interchange/rules.js";
export {
  type ExportTorchOptions,
  exportTorch,
  type ImportTorchOptions,
  importTorch,
  torchShapes,
} from "./interchange/torch.js";
export { KVCache, type KVCacheOptions, type LayerCache, placeOfNext } from "./kvCache.js";
export {
  fittingGroups,
  MultiHeadAttention,
  type MultiHeadAttentionOptions,
  SelfAttention2d,
  type SelfAttention2dOptions,
} from "./layers/attention.js";
export { BatchNorm, type BatchNormOptions } from "./layers/batchNorm.js";
export { Conv2d, type Conv2dOptions } from "./layers/conv.js";
export { ConvTranspose2d, type ConvTranspose2dOptions } from "./layers/convTranspose.js";
export { Dropout } from "./layers/dropout.js";
export { Embedding, type EmbeddingOptions } from "./layers/embedding.js";
export { InstanceNorm, type InstanceNormOptions } from "./layers/instanceNorm.js";
export { LayerNorm, type LayerNormOptions, RMSNorm, type RMSNormOptions } from "./layers/layerNorm.js";
export { Linear, type LinearOptions } from "./layers/linear.js";
export { type ModulatedConv2dOptions, modulatedConv2d } from "./layers/modulated.js";
export { GroupNorm, type GroupNormOptions } from "./layers/norm.js";
export { AvgPool2d, MaxPool2d, type Pool2dOptions } from "./layers/pool.js";
export {
  BilinearUpsample,
  Downsample,
  type DownsampleOptions,
  PixelShuffle,
  PixelUnshuffle,
  ReflectionPad2d,
  Upsample,
} from "./layers/resample.js";
export { ResidualBlock, type ResidualBlockOptions } from "./layers/residual.js";
export { Sequential, type Stage } from "./layers/sequential.js";
export {
  SpectralNorm,
  type SpectralNormOptions,
  spectralNorm,
  type WeightedLayer,
} from "./layers/spectralNorm.js";
export { type SinusoidOptions, TimestepEmbedding, timestepEmbedding } from "./layers/timestep.js";
export {
  Transformer,
  TransformerBlock,
  type TransformerBlockInputs,
  type TransformerBlockOptions,
  type TransformerOptions,
} from "./layers/transformer.js";
export * from "./losses.js";
export { type ForwardObserver, type Layer, Module, observeForward } from "./module.js";
export { Adam, type AdamOptions, AdamW } from "./optim/adam.js";
export type { LossScaleOptions } from "./optim/lossScale.js";
export {
  type GroupUpdate,
  type MinimizeOptions,
  Optimizer,
  type OptimizerOptions,
  type UpdateOptions,
} from "./optim/optimizer.js";
export { RMSProp, type RMSPropOptions } from "./optim/rmsprop.js";
export {
  constantLr,
  cosineLr,
  exponentialLr,
  type LrSpan,
  type LrStage,
  linearLr,
  polynomialLr,
  type Schedule,
  sequentialLr,
  stepLr,
  type WarmupCosineOptions,
  warmupCosineLr,
  warmupLr,
} from "./optim/schedule.js";
export { SGD, type SGDOptions } from "./optim/sgd.js";
export { type ParameterGroup, type Trainable, vectorsWithoutDecay } from "./optim/slots.js";
export { BufferCell, InitialisedCell, Parameter, type ParameterOptions } from "./parameter.js";
export { type Summary, type SummaryRow, summary } from "./summary.js";
export { compileStep, type StepOptions, type TrainStep } from "./train.js";
export * from "./trainer/index.js";
export {
  compileTraining,
  type StepBatch,
  type StepResults,
  type TrainingOptions,
  type TrainingStep,
} from "./training.js";
