// An adversarial step on a GPU, second derivatives included, as on the CPU but for rounding.

import { compileGame, DcganCritic, DcganGenerator, wasserstein } from "@figment/gan";
import { Adam, EMA } from "@figment/nn";
import { assertNoLeaks, rng, scope } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { expectNear, hasGpu, onBoth } from "../../tensor/test/support/onDevices.ts";

afterAll(assertNoLeaks);

describe.skipIf(!hasGpu)("a game on a GPU", () => {
  it("has the losses and draws the samples of the CPU", async () => {
    const { cpu, cuda } = await onBoth(() => {
      const random = rng(6);
      const generator = new DcganGenerator({ latents: 4, imageSize: 8, channels: [4, 4] }).init(random.fork("G"));
      const critic = new DcganCritic({ imageSize: 8, channels: [4, 4], norm: "layer" }).init(random.fork("D"));
      const generatorOptimizer = new Adam(generator, { lr: 1e-3 });
      const criticOptimizer = new Adam(critic, { lr: 1e-3 });
      const ema = new EMA(generator, { decay: 0.9 });
      const players = { generator, critic, generatorOptimizer, criticOptimizer, ema, random };
      const step = compileGame(players, { objective: wasserstein(), gradientPenalty: 10 });
      const found = scope(() => {
        const image = random.normal([2, 8, 8, 1]);
        const losses = [1, 2].flatMap(() => Object.values(step({ image })).map((loss) => loss.itemSync()));
        const samples = ema.model.forward(random.normal([2, 4])).dataSync();
        return { losses, image: image.dataSync(), samples, at: critic.device };
      });
      for (const owner of [step, ema, generatorOptimizer, criticOptimizer, generator, critic, random]) owner.dispose();
      return found;
    });
    expect([cpu.at, cuda.at]).toEqual(["cpu", "cuda:0"]);
    expect(cuda.image).toEqual(cpu.image);
    expectNear(cuda.losses, cpu.losses, 1e-3);
    expectNear(cuda.samples, cpu.samples, 1e-3);
  });
});
