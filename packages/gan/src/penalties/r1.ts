// R1 (Mescheder, Geiger & Nowozin 2018): near the equilibrium the critic should not move at the data, so its slope there is
// penalised. Simple gradient descent of both players then converges locally, where without it it circles.
//
//   R₁ = γ/2·E_x[‖∇s(x)‖²]                                            (eq. 9)

import { checkTensor, scope, type Tensor } from "@figment/tensor";
import { type CriticFunction, sampleAxes, slopesAt } from "./slope.js";

/**
 * ½·E[‖∇s(x)‖²] at real samples, 0-d, without the factor γ (Mescheder et al. 2018, eq. 9; γ = 10 there).
 *
 * @param critic scores of samples [N, ...].
 * @param real [N, ...].
 * @example
 * r1Penalty((x) => x.matmul(tensor([[3], [4]])), random.normal([5, 2])); // 12.5
 */
export function r1Penalty(critic: CriticFunction, real: Tensor): Tensor {
  checkTensor("r1Penalty", "real", real);
  return scope(() => slopesAt("r1Penalty", critic, real).square().sum(sampleAxes(real)).mean().mul(0.5));
}
