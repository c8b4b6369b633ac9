// @figment/gan: generative adversarial networks.
//
//   objectives/    what the two players minimise: minimax, non-saturating, hinge, least squares, Wasserstein
//   penalties/     what keeps a critic smooth: gradient penalty, R1, weight clipping
//   conditioning/  how labels enter: projection, auxiliary classifier
//   layers/        minibatch standard deviation
//   networks/      generators and critics: DCGAN, resize and convolve, dense
//   training/      the game: its rounds, and as one compiled step
//   sampling.ts    drawing from a generator
//   diagnostics/   the grid of Gaussians and points drawn from it, modes covered, classes drawn, points as a picture
//   foreign/       what other people's files call the weights of these networks
//   restoration/   networks of the family that mend images: DnCNN, the compact Real-ESRGAN
// Imports @figment/nn, @figment/io and @figment/tensor.

export { AuxiliaryHead, auxiliaryLoss } from "./conditioning/auxiliary.js";
export { type HeadOptions, ProjectionHead } from "./conditioning/projection.js";
export { type ClassifiedScores, type CriticOutput, scoresOf } from "./conditioning/scores.js";
export { type ClassHistogram, classHistogram } from "./diagnostics/classHistogram.js";
export { GaussianGrid, type GaussianGridOptions } from "./diagnostics/gaussianGrid.js";
export { type Mixture, type ModeCoverage, type ModeCoverageOptions, modeCoverage } from "./diagnostics/modeCoverage.js";
export { type PointSource, PointStream, type PointStreamOptions } from "./diagnostics/pointStream.js";
export { type ScatterOptions, scatter } from "./diagnostics/scatter.js";
export { compactUpscalerNames, dcganNames, dnCnnNames, resizeGeneratorNames } from "./foreign/names.js";
export { MinibatchStd, type MinibatchStdOptions } from "./layers/minibatchStd.js";
export { type CriticCondition, type CriticNorm, DcganCritic, type DcganCriticOptions } from "./networks/dcganCritic.js";
export { DcganGenerator, type DcganGeneratorOptions } from "./networks/dcganGenerator.js";
export { LatentStem } from "./networks/latentStem.js";
export { MlpCritic, type MlpCriticOptions, MlpGenerator, type MlpGeneratorOptions } from "./networks/mlp.js";
export type { Critic, Generator } from "./networks/network.js";
export { ResizeGenerator, type ResizeGeneratorOptions } from "./networks/resizeGenerator.js";
export { hinge } from "./objectives/hinge.js";
export { type LeastSquaresOptions, leastSquares } from "./objectives/leastSquares.js";
export { minimax, type SmoothingOptions } from "./objectives/minimax.js";
export { nonSaturating } from "./objectives/nonSaturating.js";
export type { Objective } from "./objectives/objective.js";
export { wasserstein } from "./objectives/wasserstein.js";
export { clipWeights } from "./penalties/clipWeights.js";
export { type GradientPenaltyOptions, gradientPenalty } from "./penalties/gradientPenalty.js";
export { r1Penalty } from "./penalties/r1.js";
export type { CriticFunction } from "./penalties/slope.js";
export { CompactUpscaler, type CompactUpscalerOptions } from "./restoration/compactUpscaler.js";
export { DnCnn, type DnCnnOptions } from "./restoration/dncnn.js";
export { PRelu } from "./restoration/prelu.js";
export { type GenerateFromOptions, type GenerateOptions, generate, generateFrom } from "./sampling.js";
export { compileGame, type GameStep } from "./training/compileGame.js";
export { Game, type GameResults } from "./training/game.js";
export type { GameBatch, GameRules, Players } from "./training/players.js";
