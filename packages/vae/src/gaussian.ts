// Diagonal Gaussians, the posteriors and priors of most VAEs: reparameterised draws, log-densities and closed-form
// Kullback–Leibler divergences (Kingma & Welling 2014, section 2.4 and appendix B). Imports tensor only.

import { checkObject, checkTensor, type Rng, ShapeError, scope, showShape, type Tensor } from "@figment/tensor";

/** N(mean, diag(exp(logVariance))), one for each element; both of one shape. */
export interface Gaussian {
  readonly mean: Tensor;
  /** ln σ². */
  readonly logVariance: Tensor;
}

/** ln 2π. */
const log2Pi = Math.log(2 * Math.PI);

/** Checks that mean and logVariance are there and of one shape. */
export function checkGaussian(op: string, gaussian: Gaussian): void {
  const { mean, logVariance } = checkObject(op, "a Gaussian", gaussian, "mean", "logVariance");
  if (String(mean.shape) !== String(logVariance.shape))
    throw new ShapeError(
      `${op}: mean ${showShape(mean.shape)} and logVariance ${showShape(logVariance.shape)} must have one shape`,
    );
}

/**
 * A draw through which derivatives flow to mean and variance: z = μ + σ·ε with ε ~ N(0, 1) from `random` (the
 * reparameterisation of Kingma & Welling 2014, section 2.4).
 *
 * @returns of the mean's shape.
 * @throws ShapeError when mean and logVariance differ in shape.
 * @example
 * const z = drawGaussian({ mean: zeros([4, 2]), logVariance: zeros([4, 2]) }, rng(0)); // [4, 2]
 */
export function drawGaussian(q: Gaussian, random: Rng): Tensor {
  checkObject("drawGaussian", "random", random, "normal");
  checkGaussian("drawGaussian", q);
  return scope(() => q.logVariance.mul(0.5).exp().mul(random.normal(q.mean.shape)).add(q.mean));
}

/**
 * ln N(z; μ, σ²) of each element, in nats: −(ln 2π + ln σ² + (z − μ)²/σ²) / 2.
 *
 * @returns of z's shape.
 * @throws ShapeError when mean and logVariance differ in shape.
 * @example
 * gaussianLogDensity({ mean: zeros([1]), logVariance: zeros([1]) }, tensor([0])).at(0); // -0.918939
 */
export function gaussianLogDensity(q: Gaussian, z: Tensor): Tensor {
  checkTensor("gaussianLogDensity", "z", z);
  checkGaussian("gaussianLogDensity", q);
  return scope(() => z.sub(q.mean).square().mul(q.logVariance.neg().exp()).add(q.logVariance).add(log2Pi).mul(-0.5));
}

/**
 * ln N(z; 0, 1) of each element, in nats.
 *
 * @returns of z's shape.
 * @example
 * standardLogDensity(tensor([0])).at(0); // -0.918939
 */
export const standardLogDensity = (z: Tensor): Tensor => {
  checkTensor("standardLogDensity", "z", z);
  return scope(() => z.square().add(log2Pi).mul(-0.5));
};

/**
 * KL(q ‖ p) of each element, in nats: (ln σₚ² − ln σ_q² + (σ_q² + (μ_q − μₚ)²)/σₚ² − 1) / 2. Without `p` it is the
 * divergence from N(0, 1), (σ² + μ² − 1 − ln σ²) / 2 (Kingma & Welling 2014, appendix B).
 *
 * @returns of the means' shape, each ≥ 0.
 * @throws ShapeError when a mean and its logVariance differ in shape.
 * @example
 * gaussianKl({ mean: tensor([1]), logVariance: tensor([0]) }).at(0); // 0.5
 */
export function gaussianKl(q: Gaussian, p?: Gaussian): Tensor {
  checkGaussian("gaussianKl", q);
  if (p) checkGaussian("gaussianKl", p);
  return scope(() => {
    if (!p) return q.logVariance.exp().add(q.mean.square()).sub(1).sub(q.logVariance).mul(0.5);
    const logRatio = q.logVariance.sub(p.logVariance);
    const distance = q.mean.sub(p.mean).square().mul(p.logVariance.neg().exp());
    return logRatio.exp().add(distance).sub(1).sub(logRatio).mul(0.5);
  });
}
