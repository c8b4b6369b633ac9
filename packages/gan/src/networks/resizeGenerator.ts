// A generator that doubles the resolution by repeating pixels and then convolves, in place of transposed convolutions, whose
// overlapping kernels leave a checkerboard (Odena, Dumoulin & Olah 2016). Batch norm with a large ε keeps its channels from being
// blown up where they hardly vary. This is the network of the public conditional WGAN-GP weights on MNIST.

import { BatchNorm, Conv2d, checkCounts, checkCountsOf, Embedding, Linear, Module } from "@figment/nn";
import { checkObject, concat, relu, resizeNearest, scope, type Tensor, tanh } from "@figment/tensor";
import { checkClasses, checkLabel, checkLatents, halve } from "./checks.js";
import type { Generator } from "./network.js";

/** Options of {@link ResizeGenerator}. */
export interface ResizeGeneratorOptions {
  /** Numbers in a latent. Default 10. */
  readonly latents?: number;
  /** Height and width of the images: a multiple of 2 to the number of `channels`. Default 28. */
  readonly imageSize?: number;
  /** Default 1. */
  readonly imageChannels?: number;
  /** Channels that the convolution at each resolution above the smallest gives. Default [128, 64]. */
  readonly channels?: readonly number[];
  /** Draw images of one of so many classes. Default 0: no labels. */
  readonly classes?: number;
  /** Numbers that a label's embedding adds to the latent. Default: as many as there are classes. */
  readonly embedding?: number;
  /** ε of the norms after convolutions. Default 0.8. */
  readonly eps?: number;
}

/**
 * From latents [N, latents] to images [N, imageSize, imageSize, imageChannels] in [-1, 1]: a linear layer to the smallest feature
 * map and its batch norm; for each of the channels a doubling by nearest neighbours, a convolution of 3×3, batch norm and ReLU;
 * a last convolution and tanh. With classes, the latent is continued by the label's embedding.
 *
 * @example
 * const generator = new ResizeGenerator({ channels: [8, 4], classes: 10 }).init(rng(0));
 * generator.forward(random.normal([2, 10]), tensor([3, 7], { dtype: "i32" })); // [2, 28, 28, 1]
 */
export class ResizeGenerator extends Module implements Generator {
  readonly latents: number;
  readonly classes: number;
  readonly side: number;
  readonly label: Embedding | null;
  readonly stem: Linear;
  readonly stemNorm: BatchNorm;
  readonly convs: readonly Conv2d[];
  readonly norms: readonly BatchNorm[];
  readonly last: Conv2d;

  /** @throws UsageError when a number is out of range or the image cannot be halved that often. */
  constructor(options: ResizeGeneratorOptions = {}) {
    super();
    const {
      latents = 10,
      imageSize = 28,
      imageChannels = 1,
      channels = [128, 64],
      classes = 0,
      embedding = Math.max(1, classes),
      eps = 0.8,
    } = checkObject("ResizeGenerator", "options", options);
    const owner = "ResizeGenerator";
    checkCounts(owner, { latents, imageSize, imageChannels, embedding });
    checkCountsOf(owner, "channels", channels);
    checkClasses(owner, classes);
    this.side = halve(owner, imageSize, channels, 0).side;
    this.latents = latents;
    this.classes = classes;
    const [first] = channels as readonly [number, ...number[]];
    this.label = classes > 0 ? new Embedding(classes, embedding) : null;
    const { side } = this;
    this.stem = new Linear(latents + (classes > 0 ? embedding : 0), first * side ** 2, {
      outputImage: [side, side, first],
    });
    this.stemNorm = new BatchNorm(first);
    this.convs = channels.map((to, i) => new Conv2d(channels[Math.max(0, i - 1)] as number, to, 3, { padding: 1 }));
    this.norms = channels.map((c) => new BatchNorm(c, { eps }));
    this.last = new Conv2d(channels.at(-1) as number, imageChannels, 3, { padding: 1 });
  }

  /** @throws ShapeError when z is not [N, latents]; UsageError when a label is missing, or given to a network without classes. */
  forward(z: Tensor, label?: Tensor): Tensor {
    checkLatents("ResizeGenerator", this.latents, z);
    checkLabel("ResizeGenerator", this.classes, label);
    return scope(() => {
      const { side } = this;
      const given = this.label && label ? concat([z, this.label.forward(label).cast(z.dtype)], 1) : z;
      const start = this.stem.forward(given).reshape([z.dim(0), side, side, this.stemNorm.channels]);
      const maps = this.convs.reduce((h, conv, i) => {
        const [, height, width] = h.dims(4);
        const y = conv.forward(resizeNearest(h, [2 * height, 2 * width]));
        return relu((this.norms[i] as BatchNorm).forward(y));
      }, this.stemNorm.forward(start));
      return tanh(this.last.forward(maps));
    });
  }
}
