// The compact network of Real-ESRGAN (Wang, Xie, Dong & Shan 2021; the small generator of their anime-video models): plain
// convolutions with parametric ReLUs at the low resolution, one shuffle of channels into pixels at the end (Shi et al. 2016), and
// the enlarged input added, so that the network only draws what is missing.

import { Conv2d, checkCounts, Module } from "@figment/nn";
import { checkObject, pixelShuffle, resizeNearest, scope, type Tensor } from "@figment/tensor";
import { PRelu } from "./prelu.js";

/** Options of {@link CompactUpscaler}. */
export interface CompactUpscalerOptions {
  /** Channels of the images. Default 3. */
  readonly imageChannels?: number;
  /** Channels of the feature maps. Default 64. */
  readonly channels?: number;
  /** Convolutions between the first and the last. Default 16. */
  readonly depth?: number;
  /** How much larger the images become. Default 4. */
  readonly factor?: number;
}

/** A convolution and the activation after it. */
interface Stage {
  readonly conv: Conv2d;
  readonly activation: PRelu;
}

/**
 * Enlarges images: [N,H,W,C] → [N,factor·H,factor·W,C], in [0, 1].
 *
 * @example
 * const upscaler = new CompactUpscaler({ channels: 4, depth: 1, factor: 2 }).init(rng(0));
 * upscaler.forward(random.uniform([1, 6, 8, 3])); // [1, 12, 16, 3]
 */
export class CompactUpscaler extends Module {
  readonly factor: number;
  readonly stages: readonly Stage[];
  readonly last: Conv2d;

  /** @throws UsageError unless the numbers are integers of at least 1, the depth of at least 0. */
  constructor(options: CompactUpscalerOptions = {}) {
    super();
    const {
      imageChannels = 3,
      channels = 64,
      depth = 16,
      factor = 4,
    } = checkObject("CompactUpscaler", "options", options);
    checkCounts("CompactUpscaler", { imageChannels, channels, factor });
    checkCounts("CompactUpscaler", { depth }, 0);
    this.factor = factor;
    this.stages = Array.from({ length: depth + 1 }, (_, i) => ({
      conv: new Conv2d(i === 0 ? imageChannels : channels, channels, 3, { padding: 1 }),
      activation: new PRelu(channels),
    }));
    this.last = new Conv2d(channels, imageChannels * factor ** 2, 3, { padding: 1 });
  }

  /** @throws ShapeError unless x is [N,H,W,C] with the network's channels. */
  forward(x: Tensor): Tensor {
    const [, height, width] = x.dims(4);
    return scope(() => {
      const features = this.stages.reduce((h, { conv, activation }) => activation.forward(conv.forward(h)), x);
      const detail = pixelShuffle(this.last.forward(features), this.factor);
      return detail.add(resizeNearest(x, [this.factor * height, this.factor * width]));
    });
  }
}
