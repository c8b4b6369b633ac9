// Convolutional encoder and decoder: strided convolutions with residual blocks between (He et al. 2016, as the U-Net of
// Ho et al. 2020 has them), and their mirror image.

import {
  Conv2d,
  ConvTranspose2d,
  checkCounts,
  checkCountsOf,
  checkFractions,
  type Embedding,
  Linear,
  Module,
  ResidualBlock,
} from "@figment/nn";
import {
  checkObject,
  pixelShuffle,
  ShapeError,
  showShape,
  silu,
  sizeOf,
  type Tensor,
  UsageError,
} from "@figment/tensor";
import { checkImage, type Decoder, type Encoder, type ImageShape, labelTable, labelVector } from "./network.js";

/** What {@link ConvEncoder} and {@link ConvDecoder} share. */
interface ConvOptions {
  /** [H, W, C] of the images; each level must divide height and width by 2. */
  readonly image: ImageShape;
  /** Channels of each level, the finest first; the finest has half the image's resolution. */
  readonly channels: readonly number[];
  /** Residual blocks of each level. Default 1. */
  readonly blocks?: number;
  /** Width of the dense layer between the last level and the features. Default 256. */
  readonly hidden?: number;
  /** Of the residual blocks. Default 0. */
  readonly dropout?: number;
  /** Number of classes, where the network is told labels. Default: none. */
  readonly classes?: number;
}

/** Options of {@link ConvEncoder}. */
export interface ConvEncoderOptions extends ConvOptions {
  /** Numbers given for each image; a Gaussian posterior takes two for each latent. */
  readonly features: number;
}

/** Options of {@link ConvDecoder}. */
export interface ConvDecoderOptions extends ConvOptions {
  readonly latents: number;
  /** Numbers for each of an image: the likelihood's `outputs`. Default 1. */
  readonly outputs?: number;
}

/** Checks the options and gives the extents of the coarsest level. */
function coarsest(owner: string, options: ConvOptions): readonly [number, number, number] {
  const { image, channels, blocks = 1, hidden = 256, dropout = 0, classes } = options;
  checkImage(owner, image);
  if (!Array.isArray(channels) || channels.length === 0)
    throw new UsageError(`${owner}: channels must name at least one level`);
  checkCountsOf(owner, "channels", channels);
  checkCounts(owner, { hidden, ...(classes === undefined ? {} : { classes }) });
  checkCounts(owner, { blocks }, 0);
  checkFractions(owner, { dropout });
  const [height, width] = [image[0] / 2 ** channels.length, image[1] / 2 ** channels.length];
  if (!Number.isInteger(height) || !Number.isInteger(width))
    throw new UsageError(`${owner}: ${channels.length} levels do not halve an image of ${image[0]}×${image[1]} pixels`);
  return [height, width, channels.at(-1) as number];
}

/** The residual blocks of each level. */
const blocksOf = (
  channels: readonly number[],
  blocks: number,
  dropout: number,
): readonly (readonly ResidualBlock[])[] =>
  channels.map((width) => Array.from({ length: blocks }, () => new ResidualBlock(width, { dropout })));

const run = (blocks: readonly ResidualBlock[] | undefined, x: Tensor): Tensor =>
  (blocks ?? []).reduce((h, block) => block.forward(h), x);

/**
 * Each level halves the resolution by a strided convolution and applies its residual blocks; a dense layer follows:
 * [N,H,W,C] → [N, features].
 *
 * @example
 * const net = new ConvEncoder({ image: [8, 8, 1], channels: [8, 16], hidden: 32, features: 8 }).init(rng(0));
 * net.forward(zeros([2, 8, 8, 1])); // [2, 8]
 */
export class ConvEncoder extends Module implements Encoder {
  readonly image: ImageShape;
  readonly features: number;
  readonly down: readonly Conv2d[];
  readonly blocks: readonly (readonly ResidualBlock[])[];
  readonly dense: Linear;
  readonly head: Linear;
  readonly label: Embedding | null;

  /** @throws UsageError when a number is out of range or the levels do not halve the image. */
  constructor(options: ConvEncoderOptions) {
    super();
    const {
      image,
      channels,
      blocks = 1,
      hidden = 256,
      dropout = 0,
      features,
      classes,
    } = checkObject("ConvEncoder", "options", options, "image", "channels", "features");
    const inputImage = coarsest("ConvEncoder", options);
    checkCounts("ConvEncoder", { features });
    this.image = image;
    this.features = features;
    const widths = [image[2], ...channels];
    this.down = channels.map((to, i) => new Conv2d(widths[i] as number, to, 4, { stride: 2, padding: 1 }));
    this.blocks = blocksOf(channels, blocks, dropout);
    this.dense = new Linear(sizeOf(inputImage), hidden, { inputImage });
    this.head = new Linear(hidden, features);
    this.label = labelTable(classes, channels[0] as number);
  }

  /** @throws ShapeError when x is not [N, ...image]. */
  forward(x: Tensor, label?: Tensor): Tensor {
    if (String(x.shape.slice(1)) !== String(this.image))
      throw new ShapeError(`ConvEncoder: expected x of shape [N, ${this.image.join(", ")}], got ${showShape(x.shape)}`);
    const told = labelVector("ConvEncoder", this.label, label);
    const h = this.down.reduce((features, conv, level) => {
      const sums = conv.forward(features);
      const [n, , , c] = sums.dims(4);
      return run(this.blocks[level], silu(level === 0 && told ? sums.add(told.reshape([n, 1, 1, c])) : sums));
    }, x);
    const flat = h.reshape([h.dim(0), h.size / h.dim(0)]);
    return this.head.forward(silu(this.dense.forward(flat)));
  }
}

/**
 * A dense layer, then each level applies its residual blocks and doubles the resolution by a transposed convolution; the
 * last doubling is a 3×3 convolution and a pixel shuffle: [N, latents] → [N,H,W, outputs·C].
 *
 * @example
 * const net = new ConvDecoder({ latents: 4, image: [8, 8, 1], channels: [8, 16], hidden: 32 }).init(rng(0));
 * net.forward(zeros([2, 4])); // [2, 8, 8, 1]
 */
export class ConvDecoder extends Module implements Decoder {
  readonly latents: number;
  readonly first: Linear;
  readonly dense: Linear;
  readonly start: readonly [number, number, number];
  readonly blocks: readonly (readonly ResidualBlock[])[];
  readonly up: readonly ConvTranspose2d[];
  readonly last: Conv2d;
  readonly label: Embedding | null;

  /** @throws UsageError when a number is out of range or the levels do not halve the image. */
  constructor(options: ConvDecoderOptions) {
    super();
    const {
      latents,
      image,
      channels,
      blocks = 1,
      hidden = 256,
      dropout = 0,
      outputs = 1,
      classes,
    } = checkObject("ConvDecoder", "options", options, "latents", "image", "channels");
    this.start = coarsest("ConvDecoder", options);
    checkCounts("ConvDecoder", { latents, outputs });
    this.latents = latents;
    this.first = new Linear(latents, hidden);
    this.dense = new Linear(hidden, sizeOf(this.start), { outputImage: this.start });
    const coarseFirst = [...channels].reverse();
    this.blocks = blocksOf(coarseFirst, blocks, dropout);
    this.up = coarseFirst
      .slice(1)
      .map((to, i) => new ConvTranspose2d(coarseFirst[i] as number, to, 4, { stride: 2, padding: 1 }));
    this.last = new Conv2d(channels[0] as number, 4 * outputs * image[2], 3, { padding: 1 });
    this.label = labelTable(classes, hidden);
  }

  /** @throws ShapeError when z is not [N, latents]. */
  forward(z: Tensor, label?: Tensor): Tensor {
    const told = labelVector("ConvDecoder", this.label, label);
    const sums = this.first.forward(z);
    const flat = silu(this.dense.forward(silu(told ? sums.add(told) : sums)));
    const coarse = run(this.blocks[0], flat.reshape([z.dim(0), ...this.start]));
    const fine = this.up.reduce((h, up, i) => run(this.blocks[i + 1], silu(up.forward(h))), coarse);
    return pixelShuffle(this.last.forward(fine), 2);
  }
}
