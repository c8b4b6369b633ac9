// Players of dense layers, for points in the plane and other samples without a grid (Gulrajani et al. 2017, appendix on toy
// distributions: three hidden layers of ReLU).

import { checkCounts, checkCountsOf, Linear, Module } from "@figment/nn";
import { checkObject, leakyRelu, relu, ShapeError, scope, showShape, type Tensor } from "@figment/tensor";
import { checkLatents } from "./checks.js";
import type { Critic, Generator } from "./network.js";

/** Options of {@link MlpGenerator}. */
export interface MlpGeneratorOptions {
  /** Numbers in a latent. Default 2. */
  readonly latents?: number;
  /** Numbers in a sample. Default 2. */
  readonly features?: number;
  /** Features of each hidden layer. Default [128, 128, 128]. */
  readonly hidden?: readonly number[];
}

/** Options of {@link MlpCritic}. */
export interface MlpCriticOptions {
  /** Numbers in a sample. Default 2. */
  readonly features?: number;
  /** Features of each hidden layer. Default [128, 128, 128]. */
  readonly hidden?: readonly number[];
}

const slope = 0.2;

/** Linear layers from one width to the next. */
const layersOf = (widths: readonly number[]): Linear[] =>
  widths.slice(1).map((to, i) => new Linear(widths[i] as number, to));

const checkHidden = (owner: string, hidden: readonly number[]): void => checkCountsOf(owner, "hidden", hidden);

/** Applies layers with an activation between, none after the last. */
const through = (layers: readonly Linear[], x: Tensor, activation: (x: Tensor) => Tensor): Tensor =>
  layers.reduce((h, layer, i) => layer.forward(i === 0 ? h : activation(h)), x);

/**
 * Dense layers with ReLU between: latents [N, latents] → samples [N, features], unbounded.
 *
 * @example
 * new MlpGenerator({ hidden: [8] }).init(rng(0)).forward(random.normal([4, 2])); // [4, 2]
 */
export class MlpGenerator extends Module implements Generator {
  readonly latents: number;
  readonly classes = 0;
  readonly layers: readonly Linear[];

  /** @throws UsageError unless the numbers are integers of at least 1. */
  constructor(options: MlpGeneratorOptions = {}) {
    super();
    const { latents = 2, features = 2, hidden = [128, 128, 128] } = checkObject("MlpGenerator", "options", options);
    checkCounts("MlpGenerator", { latents, features });
    checkHidden("MlpGenerator", hidden);
    this.latents = latents;
    this.layers = layersOf([latents, ...hidden, features]);
  }

  /** @throws ShapeError when z is not [N, latents]. */
  forward(z: Tensor): Tensor {
    checkLatents("MlpGenerator", this.latents, z);
    return scope(() => through(this.layers, z, relu));
  }
}

/**
 * Dense layers with leaky ReLU between: samples [N, ...] of `features` numbers → scores [N, 1].
 *
 * @example
 * new MlpCritic({ hidden: [8] }).init(rng(0)).forward(random.normal([4, 2])); // [4, 1]
 */
export class MlpCritic extends Module implements Critic {
  readonly features: number;
  readonly classes = 0;
  readonly layers: readonly Linear[];

  /** @throws UsageError unless the numbers are integers of at least 1. */
  constructor(options: MlpCriticOptions = {}) {
    super();
    const { features = 2, hidden = [128, 128, 128] } = checkObject("MlpCritic", "options", options);
    checkCounts("MlpCritic", { features });
    checkHidden("MlpCritic", hidden);
    this.features = features;
    this.layers = layersOf([features, ...hidden, 1]);
  }

  /** @throws ShapeError when a sample has another number of features. */
  forward(x: Tensor): Tensor {
    const n = x.shape[0] ?? 0;
    if (n === 0 || x.size !== n * this.features)
      throw new ShapeError(`MlpCritic: expected samples [N, ${this.features}], got ${showShape(x.shape)}`);
    return scope(() =>
      through(this.layers, x.rank === 2 ? x : x.reshape([n, this.features]), (h) => leakyRelu(h, slope)),
    );
  }
}
