// Measuring a VQ-VAE on a data set: how near its reconstructions are, and how many of its codes it uses.

import type { Dataset } from "@figment/io";
import { checkCounts } from "@figment/nn";
import { checkObject, compile, ones, scatterAdd, scope, type Tensor, tensor } from "@figment/tensor";
import { perplexity } from "./models/codebook.js";
import type { VQVAE } from "./models/vqVae.js";
import { taken } from "./taken.js";

/** Options of {@link evaluateCodes}. */
export interface EvaluateCodesOptions {
  /** Default 250. */
  readonly batchSize?: number;
  /** Ends the work by rejecting with its reason. */
  readonly signal?: AbortSignal;
}

/** What {@link evaluateCodes} measures. */
export interface CodeUse {
  readonly images: number;
  /** Of the reconstructions, in dB: 10·log₁₀(peak²/MSE), with one mean squared error over all images. */
  readonly psnr: number;
  /** Codes that some image uses. */
  readonly used: number;
  /** How many codes there are. */
  readonly codes: number;
  /** e^entropy of their use, from 1 to `codes`. */
  readonly perplexity: number;
  /** ln codes · codes in an image: nats that an image's codes take, were all codes alike. */
  readonly natsPerImage: number;
}

/** Difference of the values of the bytes 255 and 0 in [−1, 1]. */
const peak = 2;

/**
 * Reconstructs every image of a data set through the codes. The codebook stays as it is.
 *
 * @throws the signal's reason when it is aborted.
 * @example
 * const model = new VQVAE({ imageChannels: 1, channels: [8, 16], codes: 32, dim: 4 }).init(rng(0));
 * const { images } = await evaluateCodes(model, digits({ count: 20 }), { batchSize: 10 });
 * images; // 20
 */
export async function evaluateCodes(model: VQVAE, data: Dataset, options: EvaluateCodesOptions = {}): Promise<CodeUse> {
  const { batchSize = 250, signal } = checkObject("evaluateCodes", "options", options);
  checkCounts("evaluateCodes", { batchSize });
  const { codes } = checkObject("evaluateCodes", "model", model, "codebook").codebook;
  const counts = new Float64Array(codes);
  let [images, squares, places] = [0, 0, 0];
  const program = compile(
    (net: VQVAE, image: Tensor) => {
      const indices = net.encode(image);
      const flat = indices.reshape([indices.size]);
      return {
        squares: net.decode(indices).sub(image).square().sum([1, 2, 3]),
        counts: scatterAdd(ones([flat.size]), flat, codes),
      };
    },
    { mode: "eval", name: "evaluation of codes" },
  );
  try {
    for await (const { image } of data.loader({ batchSize, epochs: 1, shuffle: false, dropLast: false, signal })) {
      const measured = program.run({ signal }, model, image);
      const [errors, used] = await Promise.all([taken(measured.squares), taken(measured.counts)]);
      images += image.dim(0);
      for (const error of errors) squares += error;
      used.forEach((count, code) => {
        counts[code] = (counts[code] as number) + count;
        places += count;
      });
    }
  } finally {
    program.dispose();
  }
  const [height, width, channels] = data.shape;
  return {
    images,
    psnr: 10 * Math.log10((peak ** 2 * images * height * width * channels) / squares),
    used: counts.filter((count) => count > 0).length,
    codes,
    perplexity: scope(() => perplexity(tensor(Float32Array.from(counts))).itemSync() as number),
    natsPerImage: (Math.log(codes) * places) / images,
  };
}
