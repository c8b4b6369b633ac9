// The gradient penalty of WGAN-GP (Gulrajani et al. 2017): a differentiable critic is 1-Lipschitz exactly when its slope is
// nowhere longer than 1, and the best critic's slope is 1 on the lines between real and generated samples it couples. So the
// slope is drawn to 1 at points on such lines:
//
//   λ·E_x̂[(‖∇f(x̂)‖₂ − 1)²],  x̂ = ε·x + (1 − ε)·G(z),  ε ~ U[0, 1]    (eq. 3)
//
// A critic whose norm mixes samples (batch norm) has no slope of one sample: use layer, instance or no norm with it.

import {
  checkObject,
  checkTensor,
  lerp,
  norm,
  type Rng,
  ShapeError,
  scope,
  showShape,
  type Tensor,
  UsageError,
} from "@figment/tensor";
import { type CriticFunction, sampleAxes, slopesAt } from "./slope.js";

/** Options of {@link gradientPenalty}. */
export interface GradientPenaltyOptions {
  /** The length that slopes are drawn to, above 0. Default 1. */
  readonly target?: number;
}

/**
 * E[(‖∇f(x̂)‖ − target)²] at points x̂ between real and generated samples, 0-d, without the factor λ (Gulrajani et al. 2017,
 * eq. 3; λ = 10 there, and 0.1 for points in the plane in its authors' program). Differentiable with respect to the critic's
 * parameters.
 *
 * @param critic scores of samples [N, ...].
 * @param real [N, ...].
 * @param fake of real's shape.
 * @param random where the points on the lines come from: U[0, 1), one a sample.
 * @throws ShapeError when the shapes differ; UsageError unless the target is above 0.
 * @example
 * const [real, fake] = [random.normal([4, 2]), random.normal([4, 2])];
 * gradientPenalty((x) => x.matmul(tensor([[3], [4]])), real, fake, random); // 16
 */
export function gradientPenalty(
  critic: CriticFunction,
  real: Tensor,
  fake: Tensor,
  random: Rng,
  options: GradientPenaltyOptions = {},
): Tensor {
  checkTensor("gradientPenalty", "real", real);
  checkTensor("gradientPenalty", "fake", fake);
  checkObject("gradientPenalty", "random", random, "uniform");
  const { target = 1 } = checkObject("gradientPenalty", "options", options);
  if (!(target > 0 && Number.isFinite(target)))
    throw new UsageError(`gradientPenalty: the target must be a positive number, got ${target}`);
  if (String(real.shape) !== String(fake.shape))
    throw new ShapeError(
      `gradientPenalty: real samples are ${showShape(real.shape)}, generated ones ${showShape(fake.shape)}; expected the same shape`,
    );
  return scope(() => {
    const epsilon = random.uniform([real.dim(0), ...sampleAxes(real).map(() => 1)]);
    const between = lerp(fake, real, epsilon);
    const slopes = slopesAt("gradientPenalty", critic, between);
    return norm(slopes, sampleAxes(between)).sub(target).square().mean();
  });
}
