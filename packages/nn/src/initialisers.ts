// Initialisers: how a parameter's first value is drawn. Each is a function of a random stream and a shape,
// and each states its formula. Imports tensor only.

import {
  checkArray,
  full,
  type Rng,
  type Shape,
  ShapeError,
  sizeOf,
  type Tensor,
  zeros as zeroTensor,
} from "@figment/tensor";

/** Draws the first value of a parameter of the given shape. */
export type Initialiser = (random: Rng, shape: Shape) => Tensor;

/** How many inputs and outputs one element of a weight connects. */
export interface Fans {
  readonly fanIn: number;
  readonly fanOut: number;
}

/**
 * The fans of a weight whose first axis counts outputs and last axis counts inputs, as in this library:
 * Linear [out, in], Conv2d [O, kH, kW, I/groups]. Axes between them multiply both.
 *
 * @throws ShapeError for fewer than two axes.
 * @example
 * fansOf([16, 3, 3, 8]).fanIn; // 72
 */
export function fansOf(shape: Shape): Fans {
  checkArray("fansOf", "shape", shape);
  const outputs = shape[0];
  const inputs = shape.at(-1);
  if (outputs === undefined || inputs === undefined || shape.length < 2) {
    throw new ShapeError(`initialiser: fans need a weight of at least two axes, got shape [${shape.join(", ")}]`);
  }
  const receptive = sizeOf(shape.slice(1, -1));
  return { fanIn: inputs * receptive, fanOut: outputs * receptive };
}

/**
 * All zeros.
 *
 * @example
 * zeroInit(rng(0), [2, 3]).sum(); // 0
 */
export const zeroInit: Initialiser = (_random, shape) => zeroTensor(shape);

/**
 * All ones.
 *
 * @example
 * oneInit(rng(0), [2, 3]).sum(); // 6
 */
export const oneInit: Initialiser = (_random, shape) => full(shape, 1);

/**
 * Every element `value`.
 *
 * @example
 * constantInit(0.5)(rng(0), [2, 3]).sum(); // 3
 */
export const constantInit =
  (value: number): Initialiser =>
  (_random, shape) =>
    full(shape, value);

/**
 * U(low, high).
 *
 * @example
 * new Linear(8, 4, { weightInit: uniformInit(-0.1, 0.1) }).init(rng(0));
 */
export const uniformInit =
  (low: number, high: number): Initialiser =>
  (random, shape) =>
    random
      .uniform(shape)
      .mul(high - low)
      .add(low);

/**
 * N(mean, deviation²).
 *
 * @example
 * new Linear(8, 4, { weightInit: normalInit(0.02) }).init(rng(0));
 */
export const normalInit =
  (deviation: number, mean = 0): Initialiser =>
  (random, shape) =>
    random.normal(shape).mul(deviation).add(mean);

/**
 * N(0, deviation²) with values beyond two deviations set to that bound.
 *
 * @example
 * const bounded = clippedNormalInit(0.5)(rng(0), [1000]);
 * Math.max(...bounded.abs().dataSync()) <= 1; // true
 */
export const clippedNormalInit =
  (deviation: number): Initialiser =>
  (random, shape) =>
    random.normal(shape).maximum(-2).minimum(2).mul(deviation);

/**
 * U(−b, b) with b = gain·√(3 / fanIn): keeps the variance of activations going forward
 * (He et al. 2015, eq. 10). `gain` is √2 for ReLU, 1 for a linear layer.
 *
 * @example
 * new Conv2d(3, 8, 3, { weightInit: kaimingUniform() }).init(rng(0));
 */
export const kaimingUniform =
  (gain = Math.SQRT2): Initialiser =>
  (random, shape) => {
    const bound = gain * Math.sqrt(3 / fansOf(shape).fanIn);
    return uniformInit(-bound, bound)(random, shape);
  };

/**
 * N(0, gain² / fanIn) (He et al. 2015, eq. 10).
 *
 * @example
 * new Conv2d(3, 8, 3, { weightInit: kaimingNormal() }).init(rng(0));
 */
export const kaimingNormal =
  (gain = Math.SQRT2): Initialiser =>
  (random, shape) =>
    normalInit(gain / Math.sqrt(fansOf(shape).fanIn))(random, shape);

/**
 * U(−b, b) with b = gain·√(6 / (fanIn + fanOut)) (Glorot & Bengio 2010, eq. 16).
 *
 * @example
 * new Linear(8, 4, { weightInit: xavierUniform() }).init(rng(0));
 */
export const xavierUniform =
  (gain = 1): Initialiser =>
  (random, shape) => {
    const { fanIn, fanOut } = fansOf(shape);
    const bound = gain * Math.sqrt(6 / (fanIn + fanOut));
    return uniformInit(-bound, bound)(random, shape);
  };

/**
 * N(0, gain²·2 / (fanIn + fanOut)) (Glorot & Bengio 2010, eq. 12).
 *
 * @example
 * new Linear(8, 4, { weightInit: xavierNormal() }).init(rng(0));
 */
export const xavierNormal =
  (gain = 1): Initialiser =>
  (random, shape) => {
    const { fanIn, fanOut } = fansOf(shape);
    return normalInit(gain * Math.sqrt(2 / (fanIn + fanOut)))(random, shape);
  };

/**
 * U(−1/√fanIn, 1/√fanIn): the default of Linear and Conv2d, for their weights and biases alike.
 *
 * @example
 * fanInUniform(4)(rng(0), [16, 4]); // [16, 4]
 */
export const fanInUniform = (fanIn: number): Initialiser => {
  const bound = 1 / Math.sqrt(fanIn);
  return uniformInit(-bound, bound);
};
