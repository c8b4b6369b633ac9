// Measuring on data sets: the means are those of the bounds, draw for draw, and large k costs no memory.

import { digits, type ImmediateDataset } from "@figment/io";
import { assertNoLeaks, rng, scope, type Tensor, tensor } from "@figment/tensor";
import {
  BernoulliLikelihood,
  DenseDecoder,
  DenseEncoder,
  elboOf,
  evaluateBounds,
  evaluateCodes,
  GaussianLikelihood,
  importanceWeightedBound,
  VAE,
  VQVAE,
} from "@figment/vae";
import { afterAll, describe, expect, it } from "vitest";
import { meanOf } from "./support.js";

const seed = 16;
const image = [28, 28, 1] as const;
const make = (
  classes?: number,
  likelihood = new BernoulliLikelihood() as BernoulliLikelihood | GaussianLikelihood,
): VAE => {
  const stream = rng(seed);
  const encoder = new DenseEncoder({ image, hidden: [16], features: 8, classes });
  const decoder = new DenseDecoder({ latents: 4, hidden: [16], image, classes });
  const model = new VAE({ encoder, decoder, likelihood }).init(stream);
  stream.dispose();
  return model;
};
const data = digits({ count: 25 });
/** The data set's images in [0, 1]. */
const imagesOf = (set: ImmediateDataset): Tensor => {
  const bytes = Array.from({ length: set.length }, (_, i) => set.get(i).image);
  return tensor(Float32Array.from(bytes.flatMap((bytesOf) => [...bytesOf])), { shape: [set.length, 28, 28, 1] }).div(
    255,
  );
};
afterAll(() => assertNoLeaks());

describe("evaluateBounds", () => {
  it("gives the mean of the ELBO over all images, the last small batch included", async () => {
    const model = make();
    const [random, again] = [rng(1), rng(1)];
    const bounds = await evaluateBounds(model, data, { rng: random, batchSize: 25 });
    expect(bounds.images).toBe(25);
    scope(() => {
      const x = imagesOf(data);
      const { mean, error } = meanOf(elboOf(model.draw(model.infer(x), x, again)).dataSync());
      expect(bounds.negativeElbo.mean).toBeCloseTo(-mean, 2);
      expect(bounds.negativeElbo.standardError).toBeCloseTo(error, 2);
      expect(bounds.reconstruction.mean + bounds.kl.mean).toBeCloseTo(bounds.negativeElbo.mean, 3);
      expect(bounds.bitsPerDim).toBeCloseTo(-mean / (784 * Math.LN2), 4);
      expect(bounds.negativeIwae).toBeNull();
    });
    const parts = await evaluateBounds(model, data, { rng: random, batchSize: 10 });
    expect(parts.images).toBe(25);
    expect(Math.abs(parts.negativeElbo.mean - bounds.negativeElbo.mean)).toBeLessThan(10);
    for (const owner of [model, random, again]) owner.dispose();
  });

  it("adds up k weights as the bound of the same draws does", async () => {
    const model = make().eval();
    const [random, again] = [rng(2), rng(2)];
    const k = 7;
    const { negativeIwae } = await evaluateBounds(model, data, { rng: random, k, batchSize: 25 });
    scope(() => {
      const expected = meanOf(importanceWeightedBound(model, imagesOf(data), again, { k }).dataSync());
      expect(negativeIwae?.mean).toBeCloseTo(-expected.mean, 2);
    });
    for (const owner of [model, random, again]) owner.dispose();
  });

  it("gives the same numbers for the same seed, binarised images included", async () => {
    const model = make();
    const run = async (seedOf: number, binarise = true) => {
      const random = rng(seedOf);
      const bounds = await evaluateBounds(model, data, { rng: random, binarise, k: 2 });
      random.dispose();
      return bounds;
    };
    expect(await run(3)).toEqual(await run(3));
    expect((await run(3)).negativeElbo.mean).not.toBe((await run(4)).negativeElbo.mean);
    expect((await run(3)).negativeElbo.mean).not.toBe((await run(3, false)).negativeElbo.mean);
    model.dispose();
  });

  it("tells a conditional model the labels", async () => {
    const model = make(10);
    const random = rng(5);
    const bounds = await evaluateBounds(model, data, { rng: random, conditional: true });
    expect(Number.isFinite(bounds.negativeElbo.mean)).toBe(true);
    await expect(evaluateBounds(model, data, { rng: random })).rejects.toThrow(/give labels/);
    for (const owner of [model, random]) owner.dispose();
  });

  it("refuses to binarise for other likelihoods, and can be stopped", async () => {
    const model = make(undefined, new GaussianLikelihood({ variance: 1 }));
    const random = rng(6);
    await expect(evaluateBounds(model, data, { rng: random, binarise: true })).rejects.toThrow(/Bernoulli/);
    await expect(evaluateBounds(model, data, { rng: random, k: -1 })).rejects.toThrow(/k must be/);
    const reason = new Error("enough");
    await expect(evaluateBounds(model, data, { rng: random, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    for (const owner of [model, random]) owner.dispose();
  });
});

describe("evaluateCodes", () => {
  it("measures reconstructions through codes, and counts the codes in use", async () => {
    const random = rng(8);
    const model = new VQVAE({ imageChannels: 1, channels: [8, 8], codes: 12, dim: 4 }).init(random);
    const use = await evaluateCodes(model, data, { batchSize: 10 });
    expect(use.images).toBe(25);
    scope(() => {
      const x = imagesOf(data).mul(2).sub(1);
      const indices = [...model.encode(x).dataSync()];
      const counts = new Array<number>(12).fill(0);
      for (const code of indices) counts[code]!++;
      const shares = counts.filter((count) => count > 0).map((count) => count / indices.length);
      expect(use.used).toBe(shares.length);
      expect(use.perplexity).toBeCloseTo(Math.exp(-shares.reduce((sum, p) => sum + p * Math.log(p), 0)), 3);
      const error = model.reconstruct(x).sub(x).square().mean().itemSync() as number;
      expect(use.psnr).toBeCloseTo(10 * Math.log10(4 / error), 3);
      expect(use.natsPerImage).toBeCloseTo(49 * Math.log(12), 6);
    });
    for (const owner of [model, random]) owner.dispose();
  });
});
