// A variational autoencoder on a GPU: a training step and samples, as on the CPU but for rounding.

import { Adam, compileStep } from "@figment/nn";
import { assertNoLeaks, rng, scope, type Tensor } from "@figment/tensor";
import { negativeElbo } from "@figment/vae";
import { afterAll, describe, expect, it } from "vitest";
import { expectNear, hasGpu, onBoth } from "../../tensor/test/support/onDevices.ts";
import { tinyVae } from "./support.js";

afterAll(assertNoLeaks);

describe.skipIf(!hasGpu)("a VAE on a GPU", () => {
  it("has the losses and draws the samples of the CPU", async () => {
    const { cpu, cuda } = await onBoth(() => {
      const random = rng(4);
      const model = tinyVae();
      const optimizer = new Adam(model, { lr: 1e-2 });
      const step = compileStep(
        model,
        optimizer,
        (net, { image }: { image: Tensor }) => negativeElbo(net, image, random).loss,
      );
      const found = scope(() => {
        const image = random.uniform([4, 4, 4, 1]);
        const losses = [1, 2].map(() => step({ image }).loss.itemSync());
        const z = random.normal([3, 3]);
        return {
          losses,
          image: image.dataSync(),
          z: z.dataSync(),
          samples: model.decode(z).dataSync(),
          at: model.device,
        };
      });
      for (const owner of [step, optimizer, model, random]) owner.dispose();
      return found;
    });
    expect([cpu.at, cuda.at]).toEqual(["cpu", "cuda:0"]);
    expect(cuda.image).toEqual(cpu.image);
    expect(cuda.z).toEqual(cpu.z);
    expectNear(cuda.losses, cpu.losses);
    expectNear(cuda.samples, cpu.samples, 1e-3);
  });
});
