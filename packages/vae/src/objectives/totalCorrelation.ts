// β-TC-VAE (Chen et al. 2018): the divergence of the ELBO taken apart into mutual information, total correlation and
// dimension-wise divergence (eq. 2), each estimated within a batch (section 3.1, appendix C).

import { checkCounts, checkNumbers } from "@figment/nn";
import {
  checkObject,
  checkTensor,
  logsumexp,
  type Rng,
  ShapeError,
  scope,
  showShape,
  type Tensor,
  tensor,
  UsageError,
} from "@figment/tensor";
import { type Gaussian, gaussianLogDensity, standardLogDensity } from "../gaussian.js";
import type { VAE } from "../models/vae.js";
import { perImage } from "../units.js";

/** How a batch stands for the data set in q(z) = 1/N Σₙ q(z | xₙ). */
export interface BatchSampling {
  /** Images in the data set, N. */
  readonly datasetSize: number;
  /**
   * "stratified" (appendix C.2) is unbiased for q(z) itself; "weighted" (section 3.1), which divides by N·M for a batch of M,
   * is lower by ln N where all posteriors agree. Default "stratified".
   */
  readonly sampling?: "weighted" | "stratified";
}

/** The parts of the divergence, 0-d: means over the batch, in nats per image. */
export type TotalCorrelation = {
  /** I(z; n) = E ln q(z | x) − ln q(z). */
  readonly mutualInformation: Tensor;
  /** KL(q(z) ‖ Πⱼ q(zⱼ)). */
  readonly totalCorrelation: Tensor;
  /** Σⱼ KL(q(zⱼ) ‖ p(zⱼ)). */
  readonly dimensionKl: Tensor;
};

/** ln of the weight of q(zᵢ | xⱼ) in the estimate of q(zᵢ), row-major [M, M]. */
function logWeights(batch: number, { datasetSize, sampling = "stratified" }: BatchSampling): Float32Array {
  const weights = new Float32Array(batch * batch);
  if (sampling === "weighted") return weights.fill(-Math.log(datasetSize * batch));
  // One other image stands for those of the data set that the others do not.
  const others = batch - 1;
  const remainder = (datasetSize - others) / (datasetSize * others);
  for (let i = 0; i < batch; i++)
    for (let j = 0; j < batch; j++) {
      const weight = j === i ? 1 / datasetSize : j === (i + 1) % batch ? remainder : 1 / others;
      weights[i * batch + j] = Math.log(weight);
    }
  return weights;
}

/**
 * Estimates the three parts of E KL(q(z | x) ‖ p(z)) from one draw z for each image of a batch; together they are
 * ln q(z | x) − ln p(z) at the draws. Costs M²·latents densities.
 *
 * @param z [M, latents], drawn from `posterior`.
 * @param posterior of the M images, two at least.
 * @throws ShapeError when z and the posterior differ in shape, or there is one image; UsageError for a data set smaller
 * than the batch or an unknown sampling.
 * @example
 * const posterior = { mean: zeros([4, 2]), logVariance: zeros([4, 2]) };
 * const z = drawGaussian(posterior, rng(0));
 * totalCorrelation(z, posterior, { datasetSize: 100 }).totalCorrelation; // 0
 */
export function totalCorrelation(z: Tensor, posterior: Gaussian, options: BatchSampling): TotalCorrelation {
  checkTensor("totalCorrelation", "z", z);
  const { datasetSize, sampling = "stratified" } = checkObject("totalCorrelation", "options", options, "datasetSize");
  const { mean, logVariance } = checkObject("totalCorrelation", "posterior", posterior, "mean", "logVariance");
  if (z.rank !== 2 || String(z.shape) !== String(mean.shape) || z.dim(0) < 2)
    throw new ShapeError(
      `totalCorrelation: expected z and the posterior of one shape [M, latents], M ≥ 2, got ${showShape(z.shape)} and ${showShape(mean.shape)}`,
    );
  checkCounts("totalCorrelation", { datasetSize });
  const [batch, latents] = z.dims(2);
  if (datasetSize < batch)
    throw new UsageError(`totalCorrelation: datasetSize ${datasetSize} is below the batch's ${batch} images`);
  if (sampling !== "weighted" && sampling !== "stratified")
    throw new UsageError(`totalCorrelation: sampling must be "weighted" or "stratified", got ${String(sampling)}`);
  return scope(() => {
    const drawn = z.reshape([batch, 1, latents]).broadcastTo([batch, batch, latents]);
    const asEach = (x: Tensor): Tensor => x.reshape([1, batch, latents]).broadcastTo([batch, batch, latents]);
    const pairs = gaussianLogDensity({ mean: asEach(mean), logVariance: asEach(logVariance) }, drawn);
    const weights = tensor(logWeights(batch, options), { shape: [batch, batch] });
    const logConditional = perImage(gaussianLogDensity(posterior, z));
    const logJoint = logsumexp(pairs.sum(2).add(weights), 1);
    const logProduct = perImage(logsumexp(pairs.add(weights.reshape([batch, batch, 1])), 1));
    const logPrior = perImage(standardLogDensity(z));
    return {
      mutualInformation: logConditional.sub(logJoint).mean(),
      totalCorrelation: logJoint.sub(logProduct).mean(),
      dimensionKl: logProduct.sub(logPrior).mean(),
    };
  });
}

/** Options of {@link betaTcLoss}. */
export interface BetaTcOptions extends BatchSampling {
  /** Factor of the mutual information. Default 1. */
  readonly alpha?: number;
  /** Factor of the total correlation: a number or a 0-d tensor. Default 6. */
  readonly beta?: number | Tensor;
  /** Factor of the dimension-wise divergence. Default 1. */
  readonly gamma?: number;
  /** Labels i32 [N], for a conditional model. */
  readonly label?: Tensor;
}

/**
 * The loss of β-TC-VAE, −E ln p(x | z) + α·I(z; n) + β·TC + γ·Σⱼ KLⱼ (Chen et al. 2018, eq. 4), and its parts; with all
 * factors 1 it is the negative ELBO of the draw. 0-d, in nats per image.
 *
 * @throws as {@link totalCorrelation}.
 * @example
 * const { loss } = betaTcLoss(model, images, rng(0), { datasetSize: 60000, beta: 6 });
 */
export function betaTcLoss(
  model: VAE,
  x: Tensor,
  random: Rng,
  options: BetaTcOptions,
): TotalCorrelation & { readonly loss: Tensor; readonly reconstruction: Tensor } {
  checkTensor("betaTcLoss", "x", x);
  const { alpha = 1, beta = 6, gamma = 1, label, ...sampling } = checkObject("betaTcLoss", "options", options);
  checkNumbers("betaTcLoss", { alpha, gamma, ...(typeof beta === "number" ? { beta } : {}) });
  return scope(() => {
    const posterior = model.infer(x, label);
    const { latents, logLikelihood } = model.draw(posterior, x, random, label);
    const parts = totalCorrelation(latents[0] as Tensor, posterior, sampling);
    const reconstruction = logLikelihood.mean().neg();
    const loss = reconstruction
      .add(parts.mutualInformation.mul(alpha))
      .add(parts.totalCorrelation.mul(beta))
      .add(parts.dimensionKl.mul(gamma));
    return { loss, reconstruction, ...parts };
  });
}
