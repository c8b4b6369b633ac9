// Halving and doubling the resolution of images.

import { resizeNearest, type Tensor } from "@figment/tensor";
import { Module } from "../module.js";
import { Conv2d } from "./conv.js";

/**
 * Halves height and width by a 3×3 convolution of stride 2: [N,H,W,C] → [N,⌈H/2⌉,⌈W/2⌉,out].
 *
 * @example
 * new Downsample(8).init(rng(0)).forward(rng(1).normal([1, 7, 7, 8])); // [1, 4, 4, 8]
 */
export class Downsample extends Module {
  readonly conv: Conv2d;

  constructor(channels: number, outChannels = channels) {
    super();
    this.conv = new Conv2d(channels, outChannels, 3, { stride: 2, padding: 1 });
  }

  forward(x: Tensor): Tensor {
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
    const [, h, w] = x.dims(4);
    return this.conv.forward(resizeNearest(x, size ?? [2 * h, 2 * w]));
  }
}
