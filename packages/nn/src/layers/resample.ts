// Changing the resolution of images, and the room around them.

import {
  checkObject,
  checkTensor,
  pixelShuffle,
  pixelUnshuffle,
  reflectPad,
  resizeBilinear,
  resizeNearest,
  type Tensor,
} from "@figment/tensor";
import { checkChoice, checkCounts, checkPadding, type Padding, type Pair, pairOf } from "../checks.js";
import { Module } from "../module.js";
import { Conv2d } from "./conv.js";

/** Options of {@link Downsample}. */
export interface DownsampleOptions {
  /** Default: as many as come in. */
  readonly outChannels?: number;
  /** Rows and columns of zeros: on all sides, or at the bottom and the right alone. Default "around". */
  readonly padding?: "around" | "end";
}

/**
 * Halves height and width by a 3×3 convolution of stride 2: [N,H,W,C] → [N,⌈H/2⌉,⌈W/2⌉,out]; with the padding "end", ⌊H/2⌋.
 *
 * @example
 * new Downsample(8).init(rng(0)).forward(rng(1).normal([1, 7, 7, 8])); // [1, 4, 4, 8]
 */
export class Downsample extends Module {
  readonly conv: Conv2d;

  constructor(channels: number, options: DownsampleOptions = {}) {
    super();
    const { outChannels = channels, padding = "around" } = checkObject("Downsample", "options", options);
    checkChoice("Downsample", "padding", padding, ["around", "end"]);
    const sides =
      padding === "around"
        ? 1
        : ([
            [0, 1],
            [0, 1],
          ] as const);
    this.conv = new Conv2d(channels, outChannels, 3, { stride: 2, padding: sides });
  }

  forward(x: Tensor): Tensor {
    checkTensor("Downsample", "x", x);
    return this.conv.forward(x);
  }
}

/**
 * Doubles height and width (or brings them to `size`) by nearest-neighbour, then a 3×3 convolution:
 * [N,H,W,C] → [N,2H,2W,out].
 *
 * @example
 * new Upsample(8).init(rng(0)).forward(rng(1).normal([1, 4, 4, 8]), [7, 7]); // [1, 7, 7, 8]
 */
export class Upsample extends Module {
  readonly conv: Conv2d;

  constructor(channels: number, outChannels = channels) {
    super();
    this.conv = new Conv2d(channels, outChannels, 3, { padding: 1 });
  }

  forward(x: Tensor, size?: readonly [height: number, width: number]): Tensor {
    checkTensor("Upsample", "x", x);
    const [, h, w] = x.dims(4);
    return this.conv.forward(resizeNearest(x, size ?? [2 * h, 2 * w]));
  }
}

/**
 * Multiplies height and width by `factor`, each pixel blended from its neighbours: [N,H,W,C] → [N,fH,fW,C], as
 * PyTorch's `Upsample` with mode "bilinear".
 *
 * @example
 * new BilinearUpsample(2).forward(rng(0).normal([1, 4, 5, 3])); // [1, 8, 10, 3]
 */
export class BilinearUpsample extends Module {
  /** @param alignCorners whether the centres of the corner pixels fall on each other. Default false. */
  constructor(
    readonly factor = 2,
    readonly alignCorners = false,
  ) {
    super();
    checkCounts("BilinearUpsample", { factor });
  }

  forward(x: Tensor): Tensor {
    checkTensor("BilinearUpsample", "x", x);
    const [, h, w] = x.dims(4);
    return resizeBilinear(x, [h * this.factor, w * this.factor], { alignCorners: this.alignCorners });
  }
}

/**
 * Each pixel's channels become a block of pixels: [N,H,W,C·r²] → [N,H·r,W·r,C] (Shi et al. 2016), channels in
 * PyTorch's order.
 *
 * @example
 * new PixelShuffle(2).forward(rng(0).normal([1, 4, 4, 12])); // [1, 8, 8, 3]
 */
export class PixelShuffle extends Module {
  /** @throws UsageError unless the factor is an integer of at least 1. */
  constructor(readonly factor: number) {
    super();
    checkCounts("PixelShuffle", { factor });
  }

  /** @throws ShapeError when r² does not divide the channels. */
  forward(x: Tensor): Tensor {
    checkTensor("PixelShuffle", "x", x);
    return pixelShuffle(x, this.factor);
  }
}

/**
 * The inverse of {@link PixelShuffle}: [N,H·r,W·r,C] → [N,H,W,C·r²].
 *
 * @example
 * new PixelUnshuffle(2).forward(rng(0).normal([1, 8, 8, 3])); // [1, 4, 4, 12]
 */
export class PixelUnshuffle extends Module {
  /** @throws UsageError unless the factor is an integer of at least 1. */
  constructor(readonly factor: number) {
    super();
    checkCounts("PixelUnshuffle", { factor });
  }

  /** @throws ShapeError when r does not divide height and width. */
  forward(x: Tensor): Tensor {
    checkTensor("PixelUnshuffle", "x", x);
    return pixelUnshuffle(x, this.factor);
  }
}

/**
 * Extends images by their reflection at the border pixels, which are not repeated: [N,H,W,C] →
 * [N, H + top + bottom, W + left + right, C].
 *
 * @example
 * new ReflectionPad2d(3).forward(rng(0).normal([1, 8, 8, 3])); // [1, 14, 14, 3]
 */
export class ReflectionPad2d extends Module {
  /** @param padding pixels on each side: a number, [height, width], or [[top, bottom], [left, right]]. */
  constructor(readonly padding: Padding) {
    super();
    checkPadding("ReflectionPad2d", padding);
  }

  /** @throws ShapeError when the image is not larger than the padding. */
  forward(x: Tensor): Tensor {
    checkTensor("ReflectionPad2d", "x", x);
    x.dims(4);
    const [rows, columns] = pairOf<Pair>(this.padding);
    const [top, bottom] = pairOf(rows);
    const [left, right] = pairOf(columns);
    return reflectPad(x, [0, top, left, 0], [0, bottom, right, 0]);
  }
}
