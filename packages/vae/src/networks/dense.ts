// Fully connected encoder and decoder, the networks of the first VAEs (Kingma & Welling 2014, appendix C).

import { checkCounts, checkCountsOf, type Embedding, Linear, Module } from "@figment/nn";
import { checkObject, ShapeError, showShape, silu, sizeOf, type Tensor, UsageError } from "@figment/tensor";
import {
  type Activation,
  checkImage,
  type Decoder,
  type Encoder,
  type ImageShape,
  labelTable,
  labelVector,
} from "./network.js";

/** Options of {@link DenseEncoder}. */
export interface DenseEncoderOptions {
  /** [H, W, C] of the images. */
  readonly image: ImageShape;
  /** Widths of the hidden layers, the first nearest to the image. */
  readonly hidden: readonly number[];
  /** Numbers given for each image; a Gaussian posterior takes two for each latent. */
  readonly features: number;
  /** Number of classes, where the network is told labels. Default: none. */
  readonly classes?: number;
  /** Default SiLU. */
  readonly activation?: Activation;
}

function checkHidden(owner: string, hidden: readonly number[]): void {
  if (!Array.isArray(hidden) || hidden.length === 0)
    throw new UsageError(`${owner}: hidden must name at least one layer`);
  checkCountsOf(owner, "hidden", hidden);
}

/** Layers of the given widths, one from each to the next; the first or the last lists the pixels of an image. */
const layersOf = (
  widths: readonly number[],
  { input, output }: { readonly input?: ImageShape; readonly output?: ImageShape },
): readonly Linear[] =>
  widths.slice(1).map((to, i) => {
    const images = {
      inputImage: i === 0 ? input : undefined,
      outputImage: i === widths.length - 2 ? output : undefined,
    };
    return new Linear(widths[i] as number, to, images);
  });

/** Applies layers with the activation after each but the last; the label's vector joins the first sums. */
function through(layers: readonly Linear[], activation: Activation, x: Tensor, label: Tensor | null): Tensor {
  return layers.reduce((h, layer, i) => {
    const sums = layer.forward(h);
    const told = i === 0 && label ? sums.add(label) : sums;
    return i < layers.length - 1 ? activation(told) : told;
  }, x);
}

/**
 * Flattens images and applies dense layers: [N,H,W,C] → [N, features].
 *
 * @example
 * const net = new DenseEncoder({ image: [8, 8, 1], hidden: [32, 32], features: 8 }).init(rng(0));
 * net.forward(zeros([2, 8, 8, 1])); // [2, 8]
 */
export class DenseEncoder extends Module implements Encoder {
  readonly image: ImageShape;
  readonly features: number;
  readonly layers: readonly Linear[];
  readonly label: Embedding | null;
  readonly activation: Activation;

  /** @throws UsageError when a number is out of range or there is no hidden layer. */
  constructor(options: DenseEncoderOptions) {
    super();
    const {
      image,
      hidden,
      features,
      classes,
      activation = silu,
    } = checkObject("DenseEncoder", "options", options, "image", "hidden", "features");
    checkImage("DenseEncoder", image);
    checkHidden("DenseEncoder", hidden);
    checkCounts("DenseEncoder", { features, ...(classes === undefined ? {} : { classes }) });
    this.image = image;
    this.features = features;
    this.layers = layersOf([sizeOf(image), ...hidden, features], { input: image });
    this.label = labelTable(classes, hidden[0] as number);
    this.activation = activation;
  }

  /** @throws ShapeError when x is not [N, ...image]. */
  forward(x: Tensor, label?: Tensor): Tensor {
    if (String(x.shape.slice(1)) !== String(this.image))
      throw new ShapeError(
        `DenseEncoder: expected x of shape [N, ${this.image.join(", ")}], got ${showShape(x.shape)}`,
      );
    const flat = x.reshape([x.dim(0), sizeOf(this.image)]);
    return through(this.layers, this.activation, flat, labelVector("DenseEncoder", this.label, label));
  }
}

/** Options of {@link DenseDecoder}. */
export interface DenseDecoderOptions {
  readonly latents: number;
  /** Widths of the hidden layers, the first nearest to the latents. */
  readonly hidden: readonly number[];
  /** [H, W, C] of the images. */
  readonly image: ImageShape;
  /** Numbers for each of an image: the likelihood's `outputs`. Default 1. */
  readonly outputs?: number;
  /** Number of classes, where the network is told labels. Default: none. */
  readonly classes?: number;
  /** Default SiLU. */
  readonly activation?: Activation;
}

/**
 * Dense layers from latents to the parameters of a likelihood: [N, latents] → [N,H,W, outputs·C].
 *
 * @example
 * const net = new DenseDecoder({ latents: 4, hidden: [32], image: [8, 8, 1] }).init(rng(0));
 * net.forward(zeros([2, 4])); // [2, 8, 8, 1]
 */
export class DenseDecoder extends Module implements Decoder {
  readonly latents: number;
  readonly output: ImageShape;
  readonly layers: readonly Linear[];
  readonly label: Embedding | null;
  readonly activation: Activation;

  /** @throws UsageError when a number is out of range or there is no hidden layer. */
  constructor(options: DenseDecoderOptions) {
    super();
    const {
      latents,
      hidden,
      image,
      outputs = 1,
      classes,
      activation = silu,
    } = checkObject("DenseDecoder", "options", options, "latents", "hidden", "image");
    checkImage("DenseDecoder", image);
    checkHidden("DenseDecoder", hidden);
    checkCounts("DenseDecoder", { latents, outputs, ...(classes === undefined ? {} : { classes }) });
    this.latents = latents;
    this.output = [image[0], image[1], outputs * image[2]];
    this.layers = layersOf([latents, ...hidden, sizeOf(this.output)], { output: this.output });
    this.label = labelTable(classes, hidden[0] as number);
    this.activation = activation;
  }

  /** @throws ShapeError when z is not [N, latents]. */
  forward(z: Tensor, label?: Tensor): Tensor {
    const flat = through(this.layers, this.activation, z, labelVector("DenseDecoder", this.label, label));
    return flat.reshape([z.dim(0), ...this.output]);
  }
}
