// DnCNN (Zhang, Zuo, Chen, Meng & Zhang 2017, "Beyond a Gaussian denoiser"): a plain stack of 3×3 convolutions that predicts the
// noise in an image; subtracting it is easier to learn than drawing the clean image anew (eq. 1, residual learning). The public
// weights have their batch norms folded into the convolutions, so there are none here.

import { Conv2d, checkCounts, Module } from "@figment/nn";
import { checkObject, relu, scope, type Tensor } from "@figment/tensor";

/** Options of {@link DnCnn}. */
export interface DnCnnOptions {
  /** Channels of the images. Default 1: grey. */
  readonly imageChannels?: number;
  /** Channels of the feature maps. Default 64. */
  readonly channels?: number;
  /** Convolutions. Default 17, for a known level of noise; the blind network has 20. */
  readonly depth?: number;
}

/**
 * Removes Gaussian noise: [N,H,W,C] → [N,H,W,C], in [0, 1], the network's noise subtracted. Trained for one level of noise; the
 * public weights for σ = 25/255.
 *
 * @example
 * const denoiser = new DnCnn({ channels: 4, depth: 3 }).init(rng(0));
 * denoiser.forward(random.uniform([1, 8, 8, 1])); // [1, 8, 8, 1]
 */
export class DnCnn extends Module {
  readonly convs: readonly Conv2d[];

  /** @throws UsageError unless the numbers are integers of at least 1, and the depth of at least 2. */
  constructor(options: DnCnnOptions = {}) {
    super();
    const { imageChannels = 1, channels = 64, depth = 17 } = checkObject("DnCnn", "options", options);
    checkCounts("DnCnn", { imageChannels, channels });
    checkCounts("DnCnn", { depth }, 2);
    this.convs = Array.from({ length: depth }, (_, i) => {
      const from = i === 0 ? imageChannels : channels;
      return new Conv2d(from, i === depth - 1 ? imageChannels : channels, 3, { padding: 1 });
    });
  }

  /** The noise that the network sees in x. */
  noise(x: Tensor): Tensor {
    return scope(() => this.convs.reduce((h, conv, i) => conv.forward(i === 0 ? h : relu(h)), x));
  }

  /** @throws ShapeError unless x is [N,H,W,C] with the network's channels. */
  forward(x: Tensor): Tensor {
    return scope(() => x.sub(this.noise(x)));
  }
}
