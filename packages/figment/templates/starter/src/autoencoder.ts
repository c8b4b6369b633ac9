// The model: images to a few numbers and back.

import { Linear, Module, sigmoid, silu, type Tensor } from "figment";

/** What an autoencoder looks like. */
export interface AutoencoderOptions {
  /** [H, W, C] of the images. */
  readonly shape: readonly [height: number, width: number, channels: number];
  readonly hidden: number;
  readonly latent: number;
}

export class Autoencoder extends Module {
  readonly shape: readonly [number, number, number];
  readonly pixels: number;
  readonly encoder: readonly [Linear, Linear];
  readonly decoder: readonly [Linear, Linear];

  constructor({ shape, hidden, latent }: AutoencoderOptions) {
    super();
    this.shape = shape;
    this.pixels = shape[0] * shape[1] * shape[2];
    this.encoder = [new Linear(this.pixels, hidden), new Linear(hidden, latent)];
    this.decoder = [new Linear(latent, hidden), new Linear(hidden, this.pixels)];
  }

  /** Images [N, H, W, C] in [0, 1] to latents [N, latent]. */
  encode(images: Tensor): Tensor {
    const [first, last] = this.encoder;
    return last.forward(silu(first.forward(images.reshape([images.dim(0), this.pixels]))));
  }

  /** Latents [N, latent] to images [N, H, W, C] in [0, 1]. */
  decode(latents: Tensor): Tensor {
    const [first, last] = this.decoder;
    return sigmoid(last.forward(silu(first.forward(latents)))).reshape([latents.dim(0), ...this.shape]);
  }

  forward(images: Tensor): Tensor {
    return this.decode(this.encode(images));
  }
}
