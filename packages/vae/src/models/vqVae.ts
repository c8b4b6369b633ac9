// VQ-VAE (van den Oord et al. 2017): an encoder to a small image of vectors, each replaced by its nearest code, and a
// decoder. Loss: reconstruction + β·‖z − sg(e)‖² (eq. 3, whose second term the moving averages of codebook.ts replace).

import {
  Conv2d,
  ConvTranspose2d,
  checkCounts,
  checkCountsOf,
  checkNotNegative,
  GroupNorm,
  Module,
  ResidualBlock,
} from "@figment/nn";
import { checkObject, ShapeError, scope, showShape, silu, type Tensor, UsageError } from "@figment/tensor";
import { Codebook, type CodebookOptions } from "./codebook.js";

/** Options of {@link VQVAE}. */
export interface VQVAEOptions extends CodebookOptions {
  /** C of the images. */
  readonly imageChannels: number;
  /** Channels of each level, the finest first; each halves the resolution. */
  readonly channels: readonly number[];
  /** Residual blocks at the coarsest level of encoder and decoder. Default 2. */
  readonly blocks?: number;
  /** β, the weight of the commitment. Default 0.25. */
  readonly commitment?: number;
}

/** The parts of {@link VQVAE.loss}, 0-d. */
export type VqTerms = {
  readonly loss: Tensor;
  /** Mean squared error of the reconstruction, over elements. */
  readonly reconstruction: Tensor;
  /** mean ‖z − sg(e)‖². */
  readonly commitment: Tensor;
  /** e^entropy of the batch's use of codes. */
  readonly perplexity: Tensor;
};

/** Strided convolutions, then residual blocks and a 1×1 convolution to the codes' width. */
class VqEncoder extends Module {
  readonly down: readonly Conv2d[];
  readonly blocks: readonly ResidualBlock[];
  readonly norm: GroupNorm;
  readonly head: Conv2d;

  constructor(inputs: number, channels: readonly number[], blocks: number, dim: number) {
    super();
    const widths = [inputs, ...channels];
    const deepest = channels.at(-1) as number;
    this.down = channels.map((to, i) => new Conv2d(widths[i] as number, to, 4, { stride: 2, padding: 1 }));
    this.blocks = Array.from({ length: blocks }, () => new ResidualBlock(deepest));
    this.norm = new GroupNorm(1, deepest, { silu: true });
    this.head = new Conv2d(deepest, dim, 1);
  }

  forward(x: Tensor): Tensor {
    const coarse = this.down.reduce((h, conv, i) => conv.forward(i === 0 ? h : silu(h)), x);
    const h = this.blocks.reduce((features, block) => block.forward(features), coarse);
    return this.head.forward(this.norm.forward(h));
  }
}

/** The encoder's mirror image. */
class VqDecoder extends Module {
  readonly first: Conv2d;
  readonly blocks: readonly ResidualBlock[];
  readonly up: readonly ConvTranspose2d[];

  constructor(dim: number, channels: readonly number[], blocks: number, outputs: number) {
    super();
    const widths = [outputs, ...channels].reverse();
    const deepest = widths[0] as number;
    this.first = new Conv2d(dim, deepest, 3, { padding: 1 });
    this.blocks = Array.from({ length: blocks }, () => new ResidualBlock(deepest));
    this.up = widths
      .slice(1)
      .map((to, i) => new ConvTranspose2d(widths[i] as number, to, 4, { stride: 2, padding: 1 }));
  }

  forward(codes: Tensor): Tensor {
    const h = this.blocks.reduce((features, block) => block.forward(features), this.first.forward(codes));
    return this.up.reduce((features, up) => up.forward(silu(features)), h);
  }
}

/**
 * Images in [−1, 1] as small images of code numbers and back.
 *
 * @example
 * const model = new VQVAE({ imageChannels: 1, channels: [8, 16], codes: 32, dim: 4 }).init(rng(0));
 * const indices = model.encode(zeros([2, 8, 8, 1])); // [2, 2, 2]
 * model.decode(indices); // [2, 8, 8, 1]
 */
export class VQVAE extends Module {
  readonly encoder: VqEncoder;
  readonly codebook: Codebook;
  readonly decoder: VqDecoder;
  readonly imageChannels: number;
  readonly commitment: number;
  /** How much smaller the image of codes is. */
  readonly factor: number;

  /** @throws UsageError when a number is out of range or there are no levels. */
  constructor(options: VQVAEOptions) {
    super();
    const {
      imageChannels,
      channels,
      blocks = 2,
      commitment = 0.25,
      ...codebook
    } = checkObject("VQVAE", "options", options, "imageChannels", "channels");
    checkCountsOf("VQVAE", "channels", channels);
    if (channels.length === 0) throw new UsageError("VQVAE: channels must name at least one level");
    checkCounts("VQVAE", { imageChannels, blocks });
    checkNotNegative("VQVAE", { commitment });
    this.encoder = new VqEncoder(imageChannels, channels, blocks, codebook.dim);
    this.codebook = new Codebook(codebook);
    this.decoder = new VqDecoder(codebook.dim, channels, blocks, imageChannels);
    this.imageChannels = imageChannels;
    this.commitment = commitment;
    this.factor = 2 ** channels.length;
  }

  /**
   * The loss of a batch; in training the codebook moves.
   *
   * @param x [N,H,W,C] in [−1, 1].
   * @throws ShapeError when the levels do not halve the image.
   */
  loss(x: Tensor): VqTerms {
    return scope(() => {
      const { quantised, commitment, perplexity } = this.codebook.forward(this.latents(x));
      const reconstruction = this.decoder.forward(quantised).sub(x).square().mean();
      return { loss: reconstruction.add(commitment.mul(this.commitment)), reconstruction, commitment, perplexity };
    });
  }

  /** Code numbers i32 [N,H/f,W/f] of images [N,H,W,C]; never moves the codebook. */
  encode(x: Tensor): Tensor {
    return scope(() => this.codebook.nearest(this.latents(x)));
  }

  /** Images [N,H,W,C] of code numbers i32 [N,H/f,W/f], limited to [−1, 1]. */
  decode(indices: Tensor): Tensor {
    return scope(() => this.decoder.forward(this.codebook.lookup(indices)).clamp(-1, 1));
  }

  /** [N,H,W,C] → [N,H,W,C], through the codes. */
  reconstruct(x: Tensor): Tensor {
    return scope(() => this.decode(this.encode(x)));
  }

  /** {@link VQVAE.reconstruct}, so that summaries see the whole model. */
  forward(x: Tensor): Tensor {
    return this.reconstruct(x);
  }

  private latents(x: Tensor): Tensor {
    const [, h, w, c] = x.dims(4);
    if (c !== this.imageChannels || h % this.factor !== 0 || w % this.factor !== 0)
      throw new ShapeError(
        `VQVAE: expected images [N,H,W,${this.imageChannels}] with H and W multiples of ${this.factor}, got ${showShape(x.shape)}`,
      );
    return this.encoder.forward(x);
  }
}
