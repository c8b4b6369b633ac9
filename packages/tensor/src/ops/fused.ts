// How fused ops differentiate through their decompositions.

import { zeros } from "../core/create.js";
import { recordEntry, vjpOf } from "../core/tape.js";
import type { Tensor } from "../core/tensor.js";

/**
 * Cotangents of `primals` through a decomposition, as differentiable tensors; zeros where there is no
 * path. Primals are followed under identities of their own, so one tensor may fill several places.
 */
export function gradientThrough(
  decomposition: (primals: readonly Tensor[]) => readonly Tensor[],
  primals: readonly Tensor[],
  cotangents: readonly (Tensor | undefined)[],
): Tensor[] {
  const own = primals.map((x) => {
    const handle = x.alias();
    recordEntry({ inputs: [x], outputs: [handle], backward: ([cotangent]) => [cotangent] });
    return handle;
  });
  const gradients = vjpOf(decomposition, own, cotangents);
  return primals.map((x, i) => gradients[i] ?? zeros(x.shape, x.dtype));
}
