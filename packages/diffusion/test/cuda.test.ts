// Diffusion on a GPU: a training step of a small U-Net and sampling, as on the CPU but for rounding.

import { cosineBetas, Diffusion, ddim, UNet } from "@figment/diffusion";
import { AdamW, compileStep } from "@figment/nn";
import { assertNoLeaks, rng, scope, type Tensor } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { expectNear, hasGpu, onBoth } from "../../tensor/test/support/onDevices.ts";

afterAll(assertNoLeaks);

describe.skipIf(!hasGpu)("diffusion on a GPU", () => {
  it("has the losses and draws the samples of the CPU", async () => {
    const { cpu, cuda } = await onBoth(async () => {
      const random = rng(8);
      const net = new UNet({ inChannels: 1, channels: [4, 8], attention: [2], dropout: 0.1 }).init(
        random.fork("weights"),
      );
      const diffusion = new Diffusion({ betas: cosineBetas(10) });
      const optimizer = new AdamW(net, { lr: 1e-3 });
      const step = compileStep(
        net,
        optimizer,
        (model, { image }: { image: Tensor }) => diffusion.loss(model, image, random),
        { clipNorm: 1, ema: 0.9 },
      );
      const losses = scope(() => {
        const image = random.normal([2, 4, 4, 1]);
        return [1, 2].map(() => step({ image }).loss.itemSync());
      });
      const draws = rng(1);
      const images = await diffusion.sample(step.ema.model, {
        shape: [2, 4, 4, 1],
        sampler: ddim({ steps: 2 }),
        rng: draws,
      });
      const found = { losses, samples: await images.data(), at: net.device, samplesAt: images.device };
      for (const owner of [images, step, optimizer, diffusion, net, random, draws]) owner.dispose();
      return found;
    });
    expect([cpu.at, cuda.at, cuda.samplesAt]).toEqual(["cpu", "cuda:0", "cuda:0"]);
    expectNear(cuda.losses, cpu.losses);
    expectNear(cuda.samples, cpu.samples, 2e-3);
  });
});
