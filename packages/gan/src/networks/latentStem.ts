// From a latent to the first feature map.

import {
  channelsFirst,
  checkCounts,
  type Initialiser,
  Module,
  normalInit,
  Parameter,
  type TorchMember,
} from "@figment/nn";
import { matmul, scope, type Tensor } from "@figment/tensor";

/**
 * Makes a feature map of a latent: [N, latents] → [N, side, side, channels]. It is the transposed convolution of a 1×1 image
 * with a kernel of side×side and no bias (Radford et al. 2016, figure 1), computed as the matrix product that it is. Weight
 * [latents, side, side, channels].
 *
 * @example
 * new LatentStem(16, 7, 8).init(rng(0)).forward(random.normal([2, 16])); // [2, 7, 7, 8]
 */
export class LatentStem extends Module {
  readonly weight: Parameter;

  /** @throws UsageError unless the numbers are integers of at least 1. */
  constructor(
    readonly latents: number,
    readonly side: number,
    readonly channels: number,
    weightInit: Initialiser = normalInit(0.02),
  ) {
    super();
    checkCounts("LatentStem", { latents, side, channels });
    this.weight = new Parameter({
      shape: [latents, side, side, channels],
      init: weightInit,
      name: "LatentStem.weight",
    });
  }

  forward(z: Tensor): Tensor {
    const { latents, side, channels } = this;
    return scope(() =>
      matmul(z, this.weight.as(z.dtype).reshape([latents, side * side * channels])).reshape([
        z.dim(0),
        side,
        side,
        channels,
      ]),
    );
  }

  override torchMember(name: string): TorchMember {
    return { name, layout: channelsFirst };
  }
}
