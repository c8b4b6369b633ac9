// The convolutional networks of Burgess et al. 2018 (appendix), which disentangling-vae uses for all its models: strided
// 4×4 convolutions of 32 channels down to 4×4 pixels, two dense layers of 256, and their mirror image. `importTorch` reads
// that project's files into a VAE of the two, and `exportTorch` writes them.

import { Conv2d, ConvTranspose2d, checkCounts, Linear, Module, type TorchMember } from "@figment/nn";
import { checkObject, relu, ShapeError, showShape, type Tensor, UsageError } from "@figment/tensor";
import type { Decoder, Encoder } from "./network.js";

const channels = 32;
const hidden = 256;
/** Height and width of the coarsest features. */
const coarse = 4;
const image = [coarse, coarse, channels] as const;
const flat = coarse * coarse * channels;
const sampled = { stride: 2, padding: 1 } as const;

/** Options of {@link BurgessEncoder}. */
export interface BurgessEncoderOptions {
  /** Height and width of the images: 32 or 64. */
  readonly size: 32 | 64;
  /** Default 1. */
  readonly imageChannels?: number;
  /** Numbers given for each image; a Gaussian posterior takes two for each latent. */
  readonly features: number;
}

/** Whose PyTorch counterpart gives mean and ln σ² of one latent after another, where ours gives all means first. */
class PosteriorHead extends Linear {
  override torchMember(name: string): TorchMember {
    const { outFeatures, inFeatures } = this;
    const latents = outFeatures / 2;
    if (name === "bias") return { name, layout: { split: [2, latents], axes: [1, 0], shape: [outFeatures] } };
    return { name, layout: { split: [2, latents, inFeatures], axes: [1, 0, 2], shape: [outFeatures, inFeatures] } };
  }
}

/** What disentangling-vae calls the convolutions; those of 64 pixels have one more, beside the coarsest features. */
const convNames = ["conv1", "conv2", "conv3", "conv_64"];
const transposedNames = ["convT_64", "convT1", "convT2", "convT3"];

/** The name that a member has there: a list's by its place. */
function nameThere(member: string, convs: readonly string[]): TorchMember {
  const [list, place] = member.split(".");
  if (list === "convs") return { name: convs[Number(place)] as string };
  if (list === "dense") return { name: `lin${Number(place) + 1}` };
  return { name: list === "head" ? "mu_logvar_gen" : member };
}

function checkSize(owner: string, size: number): void {
  if (size !== 32 && size !== 64) throw new UsageError(`${owner}: size must be 32 or 64, got ${size}`);
}

/**
 * [N,size,size,C] → [N, features], images in [0, 1].
 *
 * @example
 * const net = new BurgessEncoder({ size: 32, features: 20 }).init(rng(0));
 * net.forward(zeros([1, 32, 32, 1])); // [1, 20]
 */
export class BurgessEncoder extends Module implements Encoder {
  readonly size: number;
  readonly imageChannels: number;
  readonly features: number;
  readonly convs: readonly Conv2d[];
  readonly dense: readonly [Linear, Linear];
  readonly head: Linear;

  /** @throws UsageError when a number is out of range. */
  constructor(options: BurgessEncoderOptions) {
    super();
    const { size, imageChannels = 1, features } = checkObject("BurgessEncoder", "options", options, "size", "features");
    checkSize("BurgessEncoder", size);
    checkCounts("BurgessEncoder", { imageChannels, features });
    this.size = size;
    this.imageChannels = imageChannels;
    this.features = features;
    const levels = Math.log2(size / coarse);
    this.convs = Array.from(
      { length: levels },
      (_, i) => new Conv2d(i === 0 ? imageChannels : channels, channels, 4, sampled),
    );
    this.dense = [new Linear(flat, hidden, { inputImage: image }), new Linear(hidden, hidden)];
    this.head = new PosteriorHead(hidden, features);
  }

  /** @throws ShapeError when x is not [N,size,size,C]. */
  forward(x: Tensor): Tensor {
    const { size, imageChannels } = this;
    if (String(x.shape.slice(1)) !== String([size, size, imageChannels]))
      throw new ShapeError(
        `BurgessEncoder: expected x of shape [N, ${size}, ${size}, ${imageChannels}], got ${showShape(x.shape)}`,
      );
    const features = this.convs.reduce((h, conv) => relu(conv.forward(h)), x);
    const h = this.dense.reduce((sums, layer) => relu(layer.forward(sums)), features.reshape([x.dim(0), flat]));
    return this.head.forward(h);
  }

  override torchMember(name: string): TorchMember {
    return nameThere(name, convNames);
  }
}

/** Options of {@link BurgessDecoder}. */
export interface BurgessDecoderOptions {
  readonly latents: number;
  /** Height and width of the images: 32 or 64. */
  readonly size: 32 | 64;
  /** Channels of the result: the image's times the likelihood's `outputs`. Default 1. */
  readonly outputChannels?: number;
}

/**
 * [N, latents] → [N,size,size,C], before the likelihood's sigmoid.
 *
 * @example
 * const net = new BurgessDecoder({ latents: 10, size: 32 }).init(rng(0));
 * net.forward(zeros([1, 10])); // [1, 32, 32, 1]
 */
export class BurgessDecoder extends Module implements Decoder {
  readonly latents: number;
  readonly size: number;
  readonly dense: readonly [Linear, Linear, Linear];
  readonly convs: readonly ConvTranspose2d[];

  /** @throws UsageError when a number is out of range. */
  constructor(options: BurgessDecoderOptions) {
    super();
    const { latents, size, outputChannels = 1 } = checkObject("BurgessDecoder", "options", options, "latents", "size");
    checkSize("BurgessDecoder", size);
    checkCounts("BurgessDecoder", { latents, outputChannels });
    this.latents = latents;
    this.size = size;
    const last = new Linear(hidden, flat, { outputImage: image });
    this.dense = [new Linear(latents, hidden), new Linear(hidden, hidden), last];
    const levels = Math.log2(size / coarse);
    this.convs = Array.from(
      { length: levels },
      (_, i) => new ConvTranspose2d(channels, i === levels - 1 ? outputChannels : channels, 4, sampled),
    );
  }

  /** @throws ShapeError when z is not [N, latents]. */
  forward(z: Tensor): Tensor {
    const h = this.dense.reduce((sums, layer) => relu(layer.forward(sums)), z);
    const features = h.reshape([z.dim(0), coarse, coarse, channels]);
    return this.convs.reduce((x, conv, i) => conv.forward(i === 0 ? x : relu(x)), features);
  }

  override torchMember(name: string): TorchMember {
    return nameThere(name, transposedNames.slice(-this.convs.length));
  }
}
