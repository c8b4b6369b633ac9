// Every architecture of the package loads, strictly, into a PyTorch model of the same structure (golden/torch_models.py),
// which reconstructs the same images.

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadTensors, saveTensors } from "@figment/io";
import { exportTorch, type Module } from "@figment/nn";
import { assertNoLeaks, rng, scope, type Tensor } from "@figment/tensor";
import {
  CategoricalVAE,
  ConvDecoder,
  ConvEncoder,
  DenseDecoder,
  DenseEncoder,
  LadderVAE,
  VAE,
  VQVAE,
} from "@figment/vae";
import { afterAll, describe, expect, it } from "vitest";

const seed = 17;
console.log(`interchange tests: seed ${seed}`);
const random = rng(seed);
const folder = mkdtempSync(join(tmpdir(), "figment-vae-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
  random.dispose();
  assertNoLeaks();
});

const image = [8, 8, 2] as const;
const conv = { image, channels: [8, 16], hidden: 12 };
const models: Readonly<Record<string, () => Module & { reconstruct(x: Tensor): Tensor }>> = {
  dense: () =>
    new VAE({
      encoder: new DenseEncoder({ image, hidden: [10], features: 6 }),
      decoder: new DenseDecoder({ latents: 3, hidden: [10], image }),
    }),
  convolutional: () =>
    new VAE({ encoder: new ConvEncoder({ ...conv, features: 6 }), decoder: new ConvDecoder({ ...conv, latents: 3 }) }),
  categorical: () =>
    new CategoricalVAE({
      encoder: new DenseEncoder({ image, hidden: [10], features: 12 }),
      decoder: new DenseDecoder({ latents: 12, hidden: [10], image }),
      variables: 3,
      classes: 4,
    }),
  ladder: () => new LadderVAE({ image, latents: [4, 2], hidden: [10, 8] }),
  vq: () => new VQVAE({ imageChannels: 2, channels: [8, 16], blocks: 1, codes: 10, dim: 4 }),
};

/** What keeps PyTorch from being used here, or null. */
const noTorch = ((): string | null => {
  const { status, error, stderr } = spawnSync("python3", ["-c", "import torch"], { encoding: "utf8" });
  return status === 0 ? null : (error?.message ?? stderr.trim().split("\n").at(-1) ?? "python3 failed");
})();

describe.skipIf(noTorch !== null)(`PyTorch${noTorch ? ` (${noTorch})` : ""}`, () => {
  it.each(Object.keys(models))("reconstructs what our %s model does, from its exported weights", async (name) => {
    const model = models[name]!().init(random).eval();
    // Blocks begin as their shortcuts; these weights make every one of them count.
    scope(() => {
      for (const cell of Object.values(model.stateDict())) cell.set(random.normal(cell.shape).mul(0.3));
    });
    const [weights, input, output] = ["weights", "x", "y"].map((file) => join(folder, `${name}-${file}.safetensors`));
    const exported = scope(() => exportTorch(model));
    const x = random.uniform([3, ...image]);
    const first = x.transpose([0, 3, 1, 2]);
    await saveTensors(weights!, exported);
    await saveTensors(input!, { x: first });
    const script = new URL("./golden/torch_models.py", import.meta.url).pathname;
    const { status, stderr } = spawnSync("python3", ["-B", script, name, weights!, input!, output!], {
      encoding: "utf8",
    });
    expect(status, stderr).toBe(0);
    const theirs = await loadTensors(output!);
    scope(() => {
      const ours = model.reconstruct(x).transpose([0, 3, 1, 2]);
      expect(theirs.y?.shape).toEqual(ours.shape);
      expect(
        ours
          .sub(theirs.y as Tensor)
          .abs()
          .max()
          .itemSync(),
      ).toBeLessThan(1e-4);
    });
    for (const owner of [model, x, first, ...Object.values(exported), ...Object.values(theirs)]) owner.dispose();
  });
});
