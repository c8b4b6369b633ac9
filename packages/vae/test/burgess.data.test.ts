// The public weights disentangling-vae/VAE_mnist, read from their own file, do what they do in PyTorch
// (golden/burgess.py), and reconstruct MNIST.

import path from "node:path";
import { loadTorch, mnist } from "@figment/io";
import { exportTorch, importTorch } from "@figment/nn";
import { assertNoLeaks, rng, scope } from "@figment/tensor";
import { BurgessDecoder, BurgessEncoder, evaluateBounds, VAE } from "@figment/vae";
import { afterAll, describe, expect, it } from "vitest";
import { goldenFile } from "../../tensor/test/support/golden.js";

const data = process.env.FIGMENT_DATA;
const golden = goldenFile("burgess", new URL("./golden/", import.meta.url));
afterAll(() => assertNoLeaks());

/** Nats per image, for 1,024 pixels: a published dense VAE has 103.19 for 784, which is as many for each pixel. */
const goodBound = 145;
/** Largest difference from PyTorch of any element. */
const tolerance = 1e-4;

it("is compared with numbers that the script beside them made", () => {
  expect(golden.metadata.script_sha256).toBe(golden.scriptHash());
});

describe.skipIf(!data)("the public weights VAE_mnist", () => {
  const load = async (): Promise<{ model: VAE; tensors: Awaited<ReturnType<typeof loadTorch>> }> => {
    const tensors = await loadTorch(path.join(data as string, "checkpoints/disentangling-vae/VAE_mnist/model.pt"));
    const model = new VAE({
      encoder: new BurgessEncoder({ size: 32, features: 20 }),
      decoder: new BurgessDecoder({ size: 32, latents: 10 }),
    });
    return { model: importTorch(model, tensors), tensors };
  };

  it("give PyTorch's posteriors and reconstructions", async () => {
    const { model, tensors } = await load();
    scope(() => {
      const x = golden.tensor("mnist/x");
      const { mean, logVariance } = model.infer(x);
      const given = { mean, logVariance, reconstruction: model.reconstruct(x) };
      for (const [name, actual] of Object.entries(given)) {
        const expected = golden.tensor(`mnist/${name}`);
        expect(actual.shape).toEqual(expected.shape);
        expect(actual.sub(expected).abs().max().itemSync(), name).toBeLessThan(tolerance);
      }
      expect(given.reconstruction.sub(x).square().mean().itemSync()).toBeLessThan(0.005);
    });
    model.dispose();
    for (const tensor of Object.values(tensors)) tensor.dispose();
  });

  it("are written back as they were read", async () => {
    const { model, tensors } = await load();
    scope(() => {
      const written = exportTorch(model);
      expect(Object.keys(written).sort()).toEqual(Object.keys(tensors).sort());
      for (const [name, tensor] of Object.entries(tensors))
        expect(written[name]!.sub(tensor).abs().max().itemSync(), name).toBe(0);
    });
    model.dispose();
    for (const tensor of Object.values(tensors)) tensor.dispose();
  });

  it("have a bound on the evidence of MNIST's test images", async () => {
    const { model, tensors } = await load();
    const random = rng(0);
    const test = await mnist(path.join(data as string, "mnist"), { split: "test", size: 32 });
    const bounds = await evaluateBounds(model, test, { rng: random, batchSize: 500 });
    const show = ({ mean }: { readonly mean: number }): string => mean.toFixed(2);
    console.log(
      `VAE_mnist, grey 32×32 test images: ${show(bounds.negativeElbo)} nats (${show(bounds.reconstruction)} + ${show(bounds.kl)})`,
    );
    expect(bounds.images).toBe(10_000);
    expect(bounds.negativeElbo.mean).toBeLessThan(goodBound);
    for (const owner of [model, random, ...Object.values(tensors)]) owner.dispose();
  });
});
