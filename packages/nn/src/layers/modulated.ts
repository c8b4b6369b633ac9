// The modulated convolution of StyleGAN2 (Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN",
// §2.2): each sample scales the input channels of the weights by its style (eq. 1), and the result of each output
// channel is brought back to unit variance (eq. 3).

import { checkObject, checkTensor, conv2d, conv2dInputGrad, ShapeError, type Tensor, upfirdn2d } from "@figment/tensor";

/** Options of {@link modulatedConv2d}. */
export interface ModulatedConv2dOptions {
  /** Whether to divide by the norm of each output channel's modulated weights. Default true. */
  readonly demodulate?: boolean;
  /** Rows and columns of zeros on each side. Default: half the kernel, so that odd kernels keep the size. */
  readonly padding?: number;
  /**
   * A filter [k] or [k, k] that sums to 1. Where given, the resolution doubles: the convolution is transposed, with a
   * stride of 2, and its result smoothed by the filter.
   */
  readonly upFilter?: Tensor;
  /** Added to the squared norm. Default 1e-8. */
  readonly eps?: number;
  /**
   * Whether to give each sample weights of its own and convolve all of them at once, a group for each, instead of
   * scaling the image before and after one convolution for all. The same function, at the cost of laying the images
   * side by side and back. Default false.
   */
  readonly perSample?: boolean;
}

/** How the transposed convolution and the filter that follows it line up with the image. */
interface Upsampling {
  readonly filter: Tensor;
  readonly padding: number;
}

const stride = 2;

/** The convolution, or its transpose and the smoothing; groups as many as the samples that lie side by side. */
function convolve(x: Tensor, weight: Tensor, padding: number, up: Upsampling | undefined, groups: number): Tensor {
  if (!up) return conv2d(x, weight, { padding, groups });
  return smooth(conv2dInputGrad(x, weight, { stride, groups }), weight, up);
}

/** Pads and filters, so that pixels come to lie where doubling the image would put them. */
function smooth(y: Tensor, weight: Tensor, { filter, padding }: Upsampling): Tensor {
  const side = (axis: 0 | 1): [number, number] => {
    const taps = filter.shape[axis] ?? filter.size;
    const kernel = weight.dim(1 + axis);
    return [
      padding + Math.floor((taps + stride - 1) / 2) - (kernel - 1),
      padding + Math.floor((taps - stride) / 2) - (kernel - stride),
    ];
  };
  // A stride of 2 leaves a quarter of the brightness; a separable filter is applied twice.
  const gain = filter.rank === 1 ? stride : stride ** 2;
  return upfirdn2d(y, filter.mul(gain), { padding: [side(0), side(1)] });
}

/** 1/√(Σ (w·s)² + ε) over taps and input channels: [N, O]. */
function demodulation(weight: Tensor, styles: Tensor, eps: number): Tensor {
  const power = weight.square().sum([1, 2]); // [O, C]
  return styles.square().matmul(power, { transposeB: true }).add(eps).rsqrt();
}

/**
 * Convolution with weights modulated by each sample's style, w·s, and demodulated, w·s/√(Σ (w·s)² + ε).
 *
 * @param x [N, H, W, C].
 * @param weight [O, kH, kW, C].
 * @param styles [N, C], the scale of each input channel.
 * @returns [N, Ho, Wo, O].
 * @throws ShapeError when the shapes do not belong together.
 * @example
 * const random = rng(0);
 * const [x, weight] = [random.normal([2, 8, 8, 4]), random.normal([6, 3, 3, 4])];
 * modulatedConv2d(x, weight, random.normal([2, 4])); // [2, 8, 8, 6]
 */
export function modulatedConv2d(
  x: Tensor,
  weight: Tensor,
  styles: Tensor,
  options: ModulatedConv2dOptions = {},
): Tensor {
  checkTensor("modulatedConv2d", "x", x);
  checkTensor("modulatedConv2d", "weight", weight);
  checkTensor("modulatedConv2d", "styles", styles);
  const {
    demodulate = true,
    padding = Math.floor((weight.shape[1] ?? 1) / 2),
    upFilter,
    eps = 1e-8,
  } = checkObject("modulatedConv2d", "options", options);
  const [n, , , c] = x.dims(4);
  const [o, , , inChannels] = weight.dims(4);
  if (inChannels !== c || styles.rank !== 2 || styles.dim(0) !== n || styles.dim(1) !== c) {
    throw new ShapeError(
      `modulatedConv2d: expected weights [O, kH, kW, ${c}] and styles [${n}, ${c}] for x [${x.shape.join(", ")}], got [${weight.shape.join(", ")}] and [${styles.shape.join(", ")}]`,
    );
  }
  const up = upFilter && { filter: upFilter, padding };
  const scale = demodulate ? demodulation(weight, styles, eps) : undefined;
  if (options.perSample) return convolvePerSample(x, weight, styles, scale, padding, up);
  const modulated = x.mul(styles.reshape([n, 1, 1, c]));
  const y = convolve(modulated, up ? weight.transpose([3, 1, 2, 0]) : weight, padding, up, 1);
  return scale ? y.mul(scale.reshape([n, 1, 1, o])) : y;
}

/** Weights [N·O, kH, kW, C] (transposed: [N·C, kH, kW, O]) over images [1, H, W, N·C], a group for each sample. */
function convolvePerSample(
  x: Tensor,
  weight: Tensor,
  styles: Tensor,
  scale: Tensor | undefined,
  padding: number,
  up: Upsampling | undefined,
): Tensor {
  const [n, h, w, c] = x.dims(4);
  const [o, kh, kw] = weight.dims(4);
  const modulated = weight.reshape([1, o, kh, kw, c]).mul(styles.reshape([n, 1, 1, 1, c]));
  const own = scale ? modulated.mul(scale.reshape([n, o, 1, 1, 1])) : modulated;
  const weights = up ? own.transpose([0, 4, 2, 3, 1]).reshape([n * c, kh, kw, o]) : own.reshape([n * o, kh, kw, c]);
  const beside = x.transpose([1, 2, 0, 3]).reshape([1, h, w, n * c]);
  const y = convolve(beside, weights, padding, up, n);
  const [, ho, wo] = y.dims(4);
  return y.reshape([ho, wo, n, o]).transpose([2, 0, 1, 3]);
}
