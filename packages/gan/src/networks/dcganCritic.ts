// The discriminator of the deep convolutional GAN (Radford, Metz & Chintala 2016, §3): strided convolutions that halve the
// resolution, leaky ReLU, a norm after each but the first, and one number at the end. Labels reach it in one of three ways.

import {
  BatchNorm,
  Conv2d,
  checkCounts,
  checkCountsOf,
  checkFlags,
  Embedding,
  GroupNorm,
  type ImageSize,
  kaimingNormal,
  type Linear,
  Module,
  type SpectralNorm,
  spectralNorm,
} from "@figment/nn";
import {
  checkObject,
  concat,
  leakyRelu,
  ShapeError,
  scope,
  showShape,
  sizeOf,
  type Tensor,
  UsageError,
} from "@figment/tensor";
import { AuxiliaryHead } from "../conditioning/auxiliary.js";
import { type HeadOptions, linearHead, ProjectionHead } from "../conditioning/projection.js";
import type { CriticOutput } from "../conditioning/scores.js";
import { MinibatchStd } from "../layers/minibatchStd.js";
import { checkClasses, checkLabel, halve } from "./checks.js";
import { dcganInit } from "./dcganGenerator.js";
import type { Critic } from "./network.js";

/**
 * What keeps a critic's features in bounds: "batch" norm, "layer" norm over all channels and positions of a sample, for gradient
 * penalties; "spectral", the weights of every layer divided by their largest singular values; or nothing.
 */
export type CriticNorm = "batch" | "layer" | "spectral" | "none";

/**
 * How labels reach a critic: as another channel of the image, a learned plane for each class (Mirza & Osindero 2014, with a plane
 * in place of a vector); by "projection" (Miyato & Koyama 2018); or as the answer of an "auxiliary" classifier (Odena et al. 2017).
 */
export type CriticCondition = "channel" | "projection" | "auxiliary";

/** Options of {@link DcganCritic}. */
export interface DcganCriticOptions {
  /** Height and width of the images. Default 28. */
  readonly imageSize?: number;
  /** Default 1. */
  readonly imageChannels?: number;
  /** Channels of the feature maps from that of half the image's size, rounded up, to the smallest. Default [32, 64, 128]. */
  readonly channels?: readonly number[];
  /** Default "batch". */
  readonly norm?: CriticNorm;
  /** Whether the last features are joined by the spread of their batch: see {@link MinibatchStd}. Default false. */
  readonly minibatchStd?: boolean;
  /** Classes of the labels. Default 0: no labels. */
  readonly classes?: number;
  /** How labels reach the network, where there are classes. Default "projection". */
  readonly condition?: CriticCondition;
}

/** Slope of the leaky ReLU below zero (Radford et al. 2016, §4). */
const slope = 0.2;

/** What keeps the variance through it (He et al. 2015, eq. 15). */
const gain = Math.sqrt(2 / (1 + slope ** 2));

const norms: readonly CriticNorm[] = ["batch", "layer", "spectral", "none"];
const conditions: readonly CriticCondition[] = ["channel", "projection", "auxiliary"];

/**
 * From images [N, imageSize, imageSize, imageChannels] to scores [N, 1], or scores and class logits with an auxiliary classifier:
 * convolutions of 4×4 with a stride of 2, a linear layer of all their features at the end.
 *
 * @example
 * const critic = new DcganCritic({ channels: [4, 8], norm: "spectral", classes: 10 }).init(rng(0));
 * critic.forward(random.normal([2, 28, 28, 1]), tensor([3, 7], { dtype: "i32" })); // [2, 1]
 */
export class DcganCritic extends Module implements Critic {
  readonly imageSize: number;
  readonly imageChannels: number;
  readonly classes: number;
  readonly condition: CriticCondition;
  readonly plane: Embedding | null;
  readonly convs: readonly (Conv2d | SpectralNorm<Conv2d>)[];
  readonly norms: readonly (BatchNorm | GroupNorm | null)[];
  readonly spread: MinibatchStd | null;
  readonly head: Linear | SpectralNorm<Linear> | ProjectionHead | AuxiliaryHead;

  /** @throws UsageError when a number is out of range, a name unknown, or the image cannot be halved that often. */
  constructor(options: DcganCriticOptions = {}) {
    super();
    const {
      imageSize = 28,
      imageChannels = 1,
      channels = [32, 64, 128],
      norm = "batch",
      minibatchStd = false,
      classes = 0,
      condition = "projection",
    } = checkObject("DcganCritic", "options", options);
    const owner = "DcganCritic";
    checkCounts(owner, { imageSize, imageChannels });
    checkCountsOf(owner, "channels", channels);
    checkClasses(owner, classes);
    checkFlags(owner, { minibatchStd });
    if (!norms.includes(norm)) throw new UsageError(`${owner}: norm must be one of ${norms.join(", ")}, got ${norm}`);
    if (!conditions.includes(condition))
      throw new UsageError(`${owner}: condition must be one of ${conditions.join(", ")}, got ${condition}`);
    const { side, imagePadding } = halve(owner, imageSize, channels);
    this.imageSize = imageSize;
    this.imageChannels = imageChannels;
    this.classes = classes;
    this.condition = condition;
    const planes = classes > 0 && condition === "channel" ? 1 : 0;
    this.plane = planes > 0 ? new Embedding(classes, imageSize ** 2) : null;
    const spectral = norm === "spectral";
    this.convs = channels.map((to, i) => {
      const from = i === 0 ? imageChannels + planes : (channels[i - 1] as number);
      // What another norm shifts needs no bias; where none follows, the first weights keep the scale of what they are given.
      const normed = i > 0 && (norm === "batch" || norm === "layer");
      const weightInit = normed ? dcganInit : kaimingNormal(gain);
      const conv = new Conv2d(from, to, 4, {
        stride: 2,
        padding: i === 0 ? imagePadding : 1,
        bias: !normed,
        weightInit,
      });
      return spectral ? spectralNorm(conv) : conv;
    });
    this.norms = channels.map((c, i) => {
      if (i === 0) return null;
      if (norm === "batch") return new BatchNorm(c);
      return norm === "layer" ? new GroupNorm(1, c) : null;
    });
    this.spread = minibatchStd ? new MinibatchStd() : null;
    const inputImage = [side, side, (channels.at(-1) as number) + (minibatchStd ? 1 : 0)] as const;
    this.head = headOf(classes, condition, { spectral, inputImage });
  }

  /** @throws ShapeError when x is of another size; UsageError when a label is missing, or given to a network without classes. */
  forward(x: Tensor, label?: Tensor): CriticOutput {
    const { imageSize: side, imageChannels, plane, spread, head } = this;
    checkLabel("DcganCritic", this.classes, label);
    if (x.rank !== 4 || x.dim(1) !== side || x.dim(2) !== side || x.dim(3) !== imageChannels)
      throw new ShapeError(
        `DcganCritic: expected images [N, ${side}, ${side}, ${imageChannels}], got ${showShape(x.shape)}`,
      );
    return scope(() => {
      const n = x.dim(0);
      const input = plane && label ? concat([x, plane.forward(label).reshape([n, side, side, 1])], 3) : x;
      const maps = this.convs.reduce((h, conv, i) => {
        const y = conv.forward(h);
        return leakyRelu(this.norms[i]?.forward(y) ?? y, slope);
      }, input);
      const last = spread ? spread.forward(maps) : maps;
      const features = last.reshape([n, last.size / n]);
      return head instanceof ProjectionHead ? head.forward(features, label as Tensor) : head.forward(features);
    });
  }
}

function headOf(
  classes: number,
  condition: CriticCondition,
  options: HeadOptions & { readonly inputImage: ImageSize },
): DcganCritic["head"] {
  const features = sizeOf(options.inputImage);
  if (classes > 0 && condition === "projection") return new ProjectionHead(features, classes, options);
  if (classes > 0 && condition === "auxiliary") return new AuxiliaryHead(features, classes, options);
  return linearHead(features, 1, options);
}
