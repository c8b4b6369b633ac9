// @figment/vae: variational autoencoders.
//
//   models/       one model a file: VAE (also conditional), ladder VAE, categorical VAE, VQ-VAE with its codebook
//   objectives/   what is minimised: ELBO, its warm-up, β-TC, the importance-weighted bound
//   likelihoods/  what a decoder's output means: Bernoulli, Gaussian, discretised logistic
//   networks/     encoders and decoders: dense, convolutional, those of disentangling-vae
//   pictures/     interpolations, traversals, manifolds
//   evaluate.ts, evaluateCodes.ts measure; gaussian.ts, units.ts are what all use

export { type Bounds, type EvaluateOptions, evaluateBounds, type Nats } from "./evaluate.js";
export { type CodeUse, type EvaluateCodesOptions, evaluateCodes } from "./evaluateCodes.js";
export { drawGaussian, type Gaussian, gaussianKl, gaussianLogDensity, standardLogDensity } from "./gaussian.js";
export { BernoulliLikelihood, binarise } from "./likelihoods/bernoulli.js";
export { DiscretisedLogisticLikelihood } from "./likelihoods/discretisedLogistic.js";
export { GaussianLikelihood, type GaussianLikelihoodOptions } from "./likelihoods/gaussian.js";
export { Likelihood } from "./likelihoods/likelihood.js";
export { CategoricalVAE, type CategoricalVAEOptions, gumbelSoftmax } from "./models/categoricalVae.js";
export { Codebook, type CodebookOptions, perplexity, type Quantised } from "./models/codebook.js";
export { LadderVAE, type LadderVAEOptions, mergeGaussians } from "./models/ladderVae.js";
export type { Draw, LatentModel } from "./models/latentModel.js";
export { type SampleVaeOptions, VAE, type VAEOptions } from "./models/vae.js";
export { VQVAE, type VQVAEOptions, type VqTerms } from "./models/vqVae.js";
export {
  BurgessDecoder,
  type BurgessDecoderOptions,
  BurgessEncoder,
  type BurgessEncoderOptions,
} from "./networks/burgess.js";
export { ConvDecoder, type ConvDecoderOptions, ConvEncoder, type ConvEncoderOptions } from "./networks/conv.js";
export { DenseDecoder, type DenseDecoderOptions, DenseEncoder, type DenseEncoderOptions } from "./networks/dense.js";
export type { Activation, Decoder, Encoder, ImageShape } from "./networks/network.js";
export { type Annealing, exponentialAnnealing, linearAnnealing } from "./objectives/annealing.js";
export { type ElboOptions, type ElboTerms, elboOf, freeBits, negativeElbo } from "./objectives/elbo.js";
export { type IwaeOptions, importanceWeightedBound, logWeight } from "./objectives/iwae.js";
export {
  type BatchSampling,
  type BetaTcOptions,
  betaTcLoss,
  type TotalCorrelation,
  totalCorrelation,
} from "./objectives/totalCorrelation.js";
export { interpolateLatents, slerp } from "./pictures/interpolate.js";
export { latentManifold, normalQuantile } from "./pictures/manifold.js";
export { type TraversalOptions, traverseLatents } from "./pictures/traversal.js";
export { bitsPerDim, perImage } from "./units.js";
