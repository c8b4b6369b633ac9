// Spectral normalisation (Miyato et al. 2018): a layer whose weight is divided by its largest singular value, which a
// power iteration follows with one step per training call.

import {
  checkObject,
  matmul,
  reshape,
  sizeOf,
  stopGradient,
  sum,
  type Tensor,
  transpose,
  UsageError,
  withCellValues,
} from "@figment/tensor";
import { checkCounts, checkNotNegative } from "../checks.js";
import type { Initialiser } from "../initialisers.js";
import { type TorchMember, vectorAlong } from "../interchange/layout.js";
import { type Layer, Module } from "../module.js";
import { BufferCell, type Parameter } from "../parameter.js";
import { ConvTranspose2d } from "./convTranspose.js";

/** A layer with a weight, such as Linear, Conv2d or ConvTranspose2d. */
export interface WeightedLayer extends Layer {
  readonly weight: Parameter;
}

/** Options of {@link SpectralNorm}. */
export interface SpectralNormOptions {
  /** Steps of the power iteration in each training call. Default 1. */
  readonly powerIterations?: number;
  /** Smallest norm that the vectors are divided by. Default 1e-12. */
  readonly eps?: number;
  /** The axis of the weight that is the rows of the matrix: that of the outputs. Default 0, of ConvTranspose2d 3. */
  readonly axis?: number;
}

const unit = (x: Tensor, eps: number): Tensor => x.div(sum(x.square()).sqrt().maximum(eps));

/** A random direction. */
const unitInit: Initialiser = (random, shape) => {
  const drawn = random.normal(shape);
  return drawn.div(sum(drawn.square()).sqrt());
};

/**
 * A layer whose weight W, seen as a matrix of one row per output, is divided by its largest singular value:
 * σ ≈ uᵀWv (Miyato et al. 2018, algorithm 1). Each training call first improves the vectors, u ← Wv/‖Wv‖ and
 * v ← Wᵀu/‖Wᵀu‖; evaluation uses them as they are. Derivatives take u and v for constants. This bounds a linear layer's slope by
 * 1, a convolution's by the square root of its kernel's taps.
 *
 * @example
 * const layer = new SpectralNorm(new Linear(3, 2)).init(rng(0));
 * layer.forward(tensor([[1, 2, 3]])); // [1, 2]
 */
export class SpectralNorm<L extends WeightedLayer> extends Module {
  /** Left singular vector, [rows]. */
  readonly u: BufferCell;
  /** Right singular vector, [columns]. */
  readonly v: BufferCell;
  readonly powerIterations: number;
  readonly eps: number;
  readonly axis: number;

  /** @throws UsageError when the weight has fewer than two axes or lacks the axis, or there are no iterations. */
  constructor(
    readonly layer: L,
    options: SpectralNormOptions = {},
  ) {
    super();
    const {
      powerIterations = 1,
      eps = 1e-12,
      axis = layer instanceof ConvTranspose2d ? 3 : 0,
    } = checkObject("SpectralNorm", "options", options);
    const { shape } = checkObject("SpectralNorm", "layer", layer, "weight", "forward").weight;
    const rows = shape[axis];
    if (rows === undefined || shape.length < 2)
      throw new UsageError(`SpectralNorm: axis ${axis} of a weight [${shape.join(", ")}] does not make it a matrix`);
    checkCounts("SpectralNorm", { powerIterations });
    checkNotNegative("SpectralNorm", { eps });
    this.powerIterations = powerIterations;
    this.eps = eps;
    this.axis = axis;
    const columns = sizeOf(shape) / rows;
    this.u = new BufferCell({ shape: [rows], init: unitInit, name: "SpectralNorm.u" });
    this.v = new BufferCell({ shape: [columns], init: unitInit, name: "SpectralNorm.v" });
  }

  forward(x: Tensor): Tensor {
    const { layer } = this;
    const weight = layer.weight.as(this.u.dtype);
    const scaled = weight.div(this.sigma(weight));
    return withCellValues(new Map([[layer.weight, scaled]]), () => layer.forward(x));
  }

  /** Members as `torch.nn.utils.parametrizations.spectral_norm` has them; those of the function that it replaced are read. */
  override torchMember(name: string): TorchMember {
    const inTorch = "parametrizations.weight";
    if (name === "layer")
      return { name: "", members: { weight: { name: `${inTorch}.original`, aliases: ["weight_orig"] } } };
    if (name !== "u" && name !== "v") return { name };
    const { shape } = this.layer.weight;
    const { layout = {} } = this.layer.torchMember("weight");
    const others = shape.flatMap((_, axis) => (axis === this.axis ? [] : [axis]));
    const along = vectorAlong(shape, layout, name === "u" ? [this.axis] : others);
    return { name: `${inTorch}.0._${name}`, aliases: [`weight_${name}`], layout: along };
  }

  /** The estimate of the weight's largest singular value; in training, after the iterations of one call. */
  private sigma(weight: Tensor): Tensor {
    const { u, v, eps } = this;
    const order = [this.axis, ...weight.shape.map((_, axis) => axis).filter((axis) => axis !== this.axis)];
    const matrix = reshape(this.axis === 0 ? weight : transpose(weight, order), [
      u.shape[0] as number,
      v.shape[0] as number,
    ]);
    const fixed = stopGradient(matrix);
    const times = (a: Tensor, b: Tensor): Tensor => reshape(matmul(a, reshape(b, [b.size, 1])), [a.shape[0] as number]);
    // A moving average of unit vectors is shorter than they are.
    let [left, right] = [unit(stopGradient(u.value), eps), unit(stopGradient(v.value), eps)];
    if (this.training) {
      for (let i = 0; i < this.powerIterations; i++) {
        left = unit(times(fixed, right), eps);
        right = unit(times(transpose(fixed), left), eps);
      }
      u.set(left);
      v.set(right);
    }
    return sum(left.mul(times(matrix, right)));
  }
}

/**
 * {@link SpectralNorm} as a function.
 *
 * @example
 * const net = new Sequential(spectralNorm(new Linear(2, 8)), silu, spectralNorm(new Linear(8, 1))).init(rng(0));
 */
export const spectralNorm = <L extends WeightedLayer>(layer: L, options: SpectralNormOptions = {}): SpectralNorm<L> =>
  new SpectralNorm(layer, options);
