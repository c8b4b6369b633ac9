import { Diffusion, ddim, linearBetas, UNet } from "@figment/diffusion";
import { AdamW, compileStep } from "@figment/nn";
import { assertNoLeaks, rng, type Tensor, tensor, UsageError } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

afterAll(() => assertNoLeaks());

const options = { inChannels: 1, channels: [8], groups: 4, classes: 2, imageSize: 4 } as const;

describe("a network with classes", () => {
  it("asks for labels, and one without refuses them", () => {
    const random = rng(1);
    const conditional = new UNet(options).init(random);
    const plain = new UNet({ ...options, classes: undefined }).init(random);
    using x = random.normal([2, 4, 4, 1]);
    using t = tensor(Int32Array.of(1, 2));
    expect(() => conditional.forward(x, t)).toThrow(UsageError);
    expect(() => plain.forward(x, t, t)).toThrow(UsageError);
    for (const cell of [...conditional.cells(), ...plain.cells()]) cell.dispose();
    random.dispose();
  });

  it("draws the class that it is asked for: dark images for one label, bright ones for the other", async () => {
    const random = rng(2);
    const model = new UNet(options).init(random.fork("weights"));
    const diffusion = new Diffusion({ betas: linearBetas(50, 1e-3, 0.2), predict: "v" });
    const optimizer = new AdamW(model, { lr: 5e-3 });
    const step = compileStep(model, optimizer, (net: UNet, { image, label }: { image: Tensor; label: Tensor }) =>
      diffusion.loss(net, image, random, label),
    );
    const labels = Int32Array.from({ length: 32 }, (_, i) => i % 2);
    const pixels = Float32Array.from({ length: 32 * 16 }, (_, i) => (Math.floor(i / 16) % 2 ? 0.8 : -0.8));
    using image = tensor(pixels, { shape: [32, 4, 4, 1] });
    using label = tensor(labels);
    for (let i = 0; i < 200; i++) await step({ image, label }).loss.item();
    using wanted = tensor(Int32Array.of(0, 1, 1, 0));
    using drawn = await diffusion.sample(model, {
      shape: [4, 4, 4, 1],
      sampler: ddim({ steps: 10 }),
      rng: random,
      label: wanted,
    });
    using means = drawn.mean([1, 2, 3]);
    expect([...(await means.data())].map((mean) => Math.sign(mean))).toEqual([-1, 1, 1, -1]);
    step.dispose();
    optimizer.dispose();
    diffusion.dispose();
    random.dispose();
    for (const cell of model.cells()) cell.dispose();
  });
});
