// How steep a critic is at each sample: what the penalties on its derivative have in common.

import { checkFunction, checkTensor, grad, ShapeError, scope, showShape, type Tensor } from "@figment/tensor";

/** A critic with everything but the samples fixed: [N, ...] → scores [N] or [N, 1]. */
export type CriticFunction = (x: Tensor) => Tensor;

/** All axes but that of the samples. */
export const sampleAxes = (x: Tensor): readonly number[] => Array.from({ length: x.rank - 1 }, (_, axis) => axis + 1);

/** ∇f(x) at each sample, of x's shape: samples do not meet in the critic, so that the sum's derivative holds them all. */
export function slopesAt(penalty: string, critic: CriticFunction, x: Tensor): Tensor {
  checkFunction(penalty, "critic", critic);
  if (x.rank < 2)
    throw new ShapeError(`${penalty}: expected samples [N, ...] of at least two axes, got ${showShape(x.shape)}`);
  const total = (samples: Tensor): Tensor => {
    const scores = critic(samples);
    checkTensor(penalty, "the critic's scores", scores);
    return scores.sum();
  };
  return scope(() => grad(total)(x));
}
