// The generator of the deep convolutional GAN (Radford, Metz & Chintala 2016, §3): no pooling and no dense hidden layers,
// transposed convolutions that double the resolution, batch norm after each but the last, ReLU, and tanh at the end.

import { BatchNorm, ConvTranspose2d, checkCounts, checkCountsOf, Embedding, Module, normalInit } from "@figment/nn";
import { checkObject, concat, relu, scope, type Tensor, tanh } from "@figment/tensor";
import { checkClasses, checkLabel, checkLatents, halve } from "./checks.js";
import { LatentStem } from "./latentStem.js";
import type { Generator } from "./network.js";

/** Options of {@link DcganGenerator}. */
export interface DcganGeneratorOptions {
  /** Numbers in a latent. Default 64. */
  readonly latents?: number;
  /** Height and width of the images. Default 28. */
  readonly imageSize?: number;
  /** Default 1. */
  readonly imageChannels?: number;
  /** Channels of the feature maps from the smallest to that of half the image's size, rounded up. Default [128, 64, 32]. */
  readonly channels?: readonly number[];
  /** Draw images of one of so many classes. Default 0: no labels. */
  readonly classes?: number;
  /** Numbers that a label's embedding adds to the latent (Mirza & Osindero 2014). Default: as many as there are classes. */
  readonly embedding?: number;
}

/** Deviation of the first weights (Radford et al. 2016, §4). */
export const dcganInit = normalInit(0.02);

/**
 * From latents [N, latents] to images [N, imageSize, imageSize, imageChannels] in [-1, 1] (Radford et al. 2016, figure 1): a
 * stem and then transposed convolutions of 4×4 with a stride of 2, batch norm and ReLU between, and no biases but those of the norms. With classes, the latent is
 * continued by the label's embedding.
 *
 * @example
 * const generator = new DcganGenerator({ latents: 16, channels: [8, 4] }).init(rng(0));
 * generator.forward(random.normal([2, 16])); // [2, 28, 28, 1]
 */
export class DcganGenerator extends Module implements Generator {
  readonly latents: number;
  readonly classes: number;
  readonly label: Embedding | null;
  readonly stem: LatentStem;
  readonly norms: readonly BatchNorm[];
  readonly ups: readonly ConvTranspose2d[];

  /** @throws UsageError when a number is out of range or the image cannot be halved that often. */
  constructor(options: DcganGeneratorOptions = {}) {
    super();
    const {
      latents = 64,
      imageSize = 28,
      imageChannels = 1,
      channels = [128, 64, 32],
      classes = 0,
      embedding = Math.max(1, classes),
    } = checkObject("DcganGenerator", "options", options);
    const owner = "DcganGenerator";
    checkCounts(owner, { latents, imageSize, imageChannels, embedding });
    checkCountsOf(owner, "channels", channels);
    checkClasses(owner, classes);
    const { side, imagePadding } = halve(owner, imageSize, channels);
    this.latents = latents;
    this.classes = classes;
    this.label = classes > 0 ? new Embedding(classes, embedding) : null;
    this.stem = new LatentStem(latents + (classes > 0 ? embedding : 0), side, channels[0] as number, dcganInit);
    this.norms = channels.map((c) => new BatchNorm(c));
    this.ups = channels.map((c, i) => {
      const to = channels[i + 1] ?? imageChannels;
      const padding = i + 1 === channels.length ? imagePadding : 1;
      return new ConvTranspose2d(c, to, 4, { stride: 2, padding, bias: false, weightInit: dcganInit });
    });
  }

  /** @throws ShapeError when z is not [N, latents]; UsageError when a label is missing, or given to a network without classes. */
  forward(z: Tensor, label?: Tensor): Tensor {
    checkLatents("DcganGenerator", this.latents, z);
    checkLabel("DcganGenerator", this.classes, label);
    return scope(() => {
      const given = this.label && label ? concat([z, this.label.forward(label).cast(z.dtype)], 1) : z;
      const features = this.ups.reduce(
        (h, up, i) => up.forward(relu((this.norms[i] as BatchNorm).forward(h))),
        this.stem.forward(given),
      );
      return tanh(features);
    });
  }
}
