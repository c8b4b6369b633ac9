// Structural similarity (Wang, Bovik, Sheikh & Simoncelli 2004) at one scale and at several (Wang, Simoncelli & Bovik 2003), in
// f64. Windows lie wholly inside the image, as in the authors' program.

import { ShapeError, show, type Tensor, UsageError } from "@figment/tensor";
import { type ImageScoreOptions, type ImageScores, type Plane, readPair, scorePlanes } from "./scores.js";

/** Pixels a side of the window, and the standard deviation of its Gaussian weights (Wang et al. 2004, §III.C). */
const windowSize = 11;
const windowSigma = 1.5;
/** K₁ and K₂, which keep the quotients from growing where means and variances are near zero (ibid.). */
const [k1, k2] = [0.01, 0.03];
/** Exponents of the five scales, from the finest (Wang et al. 2003, §3.2). */
const scaleWeights = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333];

/** Gaussian weights that sum to 1; the window is their outer product. */
const weights = (() => {
  const bell = Array.from({ length: windowSize }, (_, i) => {
    const distance = i - (windowSize - 1) / 2;
    return Math.exp(-(distance * distance) / (2 * windowSigma * windowSigma));
  });
  const total = bell.reduce((sum, x) => sum + x, 0);
  return bell.map((x) => x / total);
})();

/**
 * The mean over all 11×11 Gaussian windows (σ = 1.5) of (2μₐμᵦ + C₁)(2σₐᵦ + C₂) / ((μₐ² + μᵦ² + C₁)(σₐ² + σᵦ² + C₂)), with
 * C₁ = (0.01·L)², C₂ = (0.03·L)² and L the width of the pixels' range (Wang et al. 2004, eq. 13). 1 for equal images, at most
 * 1, rarely below 0. Symmetric. Channels are taken by themselves and averaged; pass luminance for the authors' own number of
 * a colour image.
 *
 * @param a, b floats [N,H,W,C] or [H,W,C], of at least 11×11 pixels.
 * @throws ShapeError when the shapes differ or images are too small; NonFiniteError for NaN or infinite pixels.
 * @example
 * const { perImage } = await ssim(rng(0).uniform([2, 16, 16, 1]), zeros([2, 16, 16, 1]), { range: [0, 1] });
 * perImage.length; // 2
 */
export async function ssim(a: Tensor, b: Tensor, options: ImageScoreOptions = {}): Promise<ImageScores> {
  const pair = await readPair("ssim", a, b, options);
  expectSize("ssim", pair, windowSize);
  return scorePlanes(pair, (x, y) => similarity(x, y, pair.span).structuralSimilarity);
}

/** Options of {@link msSsim}. */
export interface MsSsimOptions extends ImageScoreOptions {
  /** The exponent of each scale, from the finest. Default the authors' five; fewer suit smaller images. */
  readonly weights?: readonly number[];
}

/**
 * Structural similarity at several scales (Wang et al. 2003, eq. 7): contrast and structure of each scale, and luminance of
 * the coarsest, to the powers of the weights. From scale to scale, 2×2 pixels become their mean. 1 for equal images, within
 * [0, 1]: a scale whose mean of contrast and structure is negative, which has no power, counts as 0.
 *
 * @param a, b floats [N,H,W,C] or [H,W,C], of at least 161×161 pixels for five scales: 10·2^(scales − 1) + 1.
 * @throws ShapeError when the shapes differ or images are too small; UsageError for weights that are no positive numbers.
 * @example
 * const images = rng(0).uniform([1, 44, 44, 3]);
 * const { mean } = await msSsim(images, images, { range: [0, 1], weights: [0.3, 0.4, 0.3] });
 * mean; // 1
 */
export async function msSsim(a: Tensor, b: Tensor, options: MsSsimOptions = {}): Promise<ImageScores> {
  const { weights: exponents = scaleWeights } = options;
  if (!Array.isArray(exponents) || exponents.length === 0 || !exponents.every((x) => x > 0 && Number.isFinite(x)))
    throw new UsageError(`msSsim: weights must be positive numbers, got ${show(exponents)}`);
  const pair = await readPair("msSsim", a, b, options);
  expectSize("msSsim", pair, (windowSize - 1) * 2 ** (exponents.length - 1) + 1);
  return scorePlanes(pair, (first, second) => {
    let [x, y, product] = [first, second, 1];
    for (const [scale, exponent] of exponents.entries()) {
      const { contrastStructure, structuralSimilarity } = similarity(x, y, pair.span);
      const last = scale === exponents.length - 1;
      product *= Math.max(0, last ? structuralSimilarity : contrastStructure) ** exponent;
      if (!last) [x, y] = [halved(x), halved(y)];
    }
    return product;
  });
}

function expectSize(owner: string, { height, width }: { height: number; width: number }, least: number): void {
  if (height < least || width < least)
    throw new ShapeError(`${owner}: expected images of at least ${least}×${least} pixels, got ${height}×${width}`);
}

/** The means over all windows of the contrast and structure term, and of its product with the luminance term. */
function similarity(a: Plane, b: Plane, span: number): { contrastStructure: number; structuralSimilarity: number } {
  const [c1, c2] = [(k1 * span) ** 2, (k2 * span) ** 2];
  const [meanA, meanB] = [windowed(a), windowed(b)];
  const [squareA, squareB, product] = [windowed(times(a, a)), windowed(times(b, b)), windowed(times(a, b))];
  let [contrastStructure, structuralSimilarity] = [0, 0];
  for (let i = 0; i < meanA.length; i++) {
    const [ma, mb] = [meanA[i] as number, meanB[i] as number];
    const varianceA = (squareA[i] as number) - ma * ma;
    const varianceB = (squareB[i] as number) - mb * mb;
    const covariance = (product[i] as number) - ma * mb;
    const contrast = (2 * covariance + c2) / (varianceA + varianceB + c2);
    contrastStructure += contrast;
    structuralSimilarity += (contrast * (2 * ma * mb + c1)) / (ma * ma + mb * mb + c1);
  }
  return {
    contrastStructure: contrastStructure / meanA.length,
    structuralSimilarity: structuralSimilarity / meanA.length,
  };
}

const times = ({ height, width, data }: Plane, other: Plane): Plane => ({
  height,
  width,
  data: data.map((x, i) => x * (other.data[i] as number)),
});

/** The weighted mean of every window that lies inside, along rows and then along columns. */
function windowed({ height, width, data }: Plane): Float64Array {
  const [across, down] = [width - windowSize + 1, height - windowSize + 1];
  const rows = new Float64Array(height * across);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < across; x++) {
      let sum = 0;
      for (let k = 0; k < windowSize; k++) sum += (weights[k] as number) * (data[y * width + x + k] as number);
      rows[y * across + x] = sum;
    }
  }
  const result = new Float64Array(down * across);
  for (let y = 0; y < down; y++) {
    for (let x = 0; x < across; x++) {
      let sum = 0;
      for (let k = 0; k < windowSize; k++) sum += (weights[k] as number) * (rows[(y + k) * across + x] as number);
      result[y * across + x] = sum;
    }
  }
  return result;
}

/** The mean of each 2×2 pixels; the last row and column of odd extents count twice, as in the authors' program. */
function halved({ height, width, data }: Plane): Plane {
  const [down, across] = [Math.ceil(height / 2), Math.ceil(width / 2)];
  const half = new Float64Array(down * across);
  for (let y = 0; y < down; y++) {
    const [upper, lower] = [2 * y * width, Math.min(2 * y + 1, height - 1) * width];
    for (let x = 0; x < across; x++) {
      const [left, right] = [2 * x, Math.min(2 * x + 1, width - 1)];
      const sum =
        (data[upper + left] as number) +
        (data[upper + right] as number) +
        (data[lower + left] as number) +
        (data[lower + right] as number);
      half[y * across + x] = sum / 4;
    }
  }
  return { height: down, width: across, data: half };
}
