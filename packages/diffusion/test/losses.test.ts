// Loss weights, learned variances, label dropout, and the variational bound.

import { type Denoiser, Diffusion, ddim, linearBetas, posterior, UNet, zeroTerminalSnr } from "@figment/diffusion";
import { AdamW, compileStep, Linear, Module } from "@figment/nn";
import {
  addNoise,
  assertNoLeaks,
  concat,
  FigmentError,
  grad,
  rng,
  scope,
  type Tensor,
  tensor,
  UsageError,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { functionNet, gaussianNet } from "./support.js";

const random = rng(11);
afterAll(() => {
  random.dispose();
  assertNoLeaks();
});

/** A network that is told what it answers: the loss is then a mean of known errors. */
const wrongBy = (error: number, target: (x: Tensor, t: Tensor) => Tensor): Denoiser =>
  functionNet((x, t) => target(x, t).add(error), `wrong by ${error}`);

describe("loss weights", () => {
  /** Σ over timesteps of what an error of 1 everywhere costs, as the mean of many draws at one timestep each. */
  const costs = (options: object, steps: number): number[] => {
    using diffusion = new Diffusion({ betas: linearBetas(steps, 0.1, 0.4), predict: "x0", ...options });
    return Array.from({ length: steps }, (_, t) => {
      const only = Object.assign(Object.create(diffusion), {
        timesteps: (n: number) => tensor(new Int32Array(n).fill(t)),
      });
      return scope(() => {
        const x0 = random.normal([2, 4]);
        const noise = { normal: () => x0.mul(0), uniform: random.uniform.bind(random) };
        // Noise 0: ε = 0, x₀ = x0, v = −√(1 − ᾱ)·x₀.
        const answer = diffusion.target(x0, tensor(new Int32Array(2).fill(t)), x0.mul(0)).add(1);
        return only
          .loss(
            functionNet(() => answer, `fixed ${t}`),
            x0,
            noise,
          )
          .itemSync();
      });
    });
  };
  const snr = (steps: number): number[] => {
    using diffusion = new Diffusion({ betas: linearBetas(steps, 0.1, 0.4) });
    return [...diffusion.alphasCumprod].map((a) => a / (1 - a));
  };
  const expectClose = (found: readonly number[], wanted: readonly number[]): void => {
    found.forEach((value, i) => {
      expect(value / (wanted[i] as number)).toBeCloseTo(1, 4);
    });
  };

  it("are 1 by default", () => expectClose(costs({}, 6), new Array(6).fill(1)));

  it("min-SNR-γ: the ratio of signal to noise, at most γ, as a weight of errors in x₀", () => {
    const ratios = snr(6);
    const capped = ratios.map((r) => Math.min(r, 1.5));
    expectClose(costs({ weighting: { minSnr: 1.5 } }, 6), capped);
    expectClose(
      costs({ weighting: { minSnr: 1.5 }, predict: "epsilon" }, 6),
      capped.map((w, t) => w / (ratios[t] as number)),
    );
    expectClose(
      costs({ weighting: { minSnr: 1.5 }, predict: "v" }, 6),
      capped.map((w, t) => w / ((ratios[t] as number) + 1)),
    );
  });

  it("P2: 1/(k + SNR)^γ on errors in ε, and the same errors in x₀ and v", () => {
    const ratios = snr(6);
    const onEpsilon = ratios.map((r) => 1 / (2 + r) ** 0.5);
    expectClose(costs({ weighting: { p2: 0.5, k: 2 }, predict: "epsilon" }, 6), onEpsilon);
    expectClose(
      costs({ weighting: { p2: 0.5, k: 2 } }, 6),
      onEpsilon.map((w, t) => w * (ratios[t] as number)),
    );
    expectClose(costs({ weighting: { k: 2, p2: 0.5 }, predict: "epsilon" }, 6), onEpsilon);
  });

  it("refuse what is none", () => {
    for (const weighting of [{ p2: 1, k: Number.NaN }, { k: 1 }, { p2: 1, minSnr: 5 }, {}])
      expect(() => new Diffusion({ betas: [0.1], weighting: weighting as unknown as "simple" })).toThrow(/weighting/);
    expect(() => new Diffusion({ betas: [0.1], boundWeight: Number.NaN })).toThrow(/boundWeight.*NaN/);
    expect(() => new Diffusion({ betas: [0.1], weighting: { minSnr: 0 } })).toThrow(/weighting/);
    expect(() => new Diffusion({ betas: [0.1], weighting: "snr" as "simple" })).toThrow(UsageError);
  });
});

describe("zero terminal SNR", () => {
  it("leaves nothing of the image at the end and the first step as it was", () => {
    const betas = linearBetas(1000);
    using diffusion = new Diffusion({ betas: zeroTerminalSnr(betas), predict: "v" });
    expect(diffusion.alphasCumprod.at(-1)).toBe(0);
    expect(diffusion.alphasCumprod[0]).toBeCloseTo(1 - (betas[0] as number), 12);
  });

  it("needs a last step that is not the first", () => {
    expect(() => zeroTerminalSnr([0.1])).toThrow("the last leaves less of the image than the first");
    expect(() => zeroTerminalSnr([1e-18, 1e-18])).toThrow("1e-18 at step 0 is too small");
  });

  it("cannot be walked by a network that predicts the noise", async () => {
    using diffusion = new Diffusion({ betas: zeroTerminalSnr(linearBetas(10)) });
    const net = functionNet((x) => x, "identity");
    await expect(diffusion.sample(net, { shape: [1, 2], rng: random, sampler: ddim({ steps: 5 }) })).rejects.toThrow(
      /predict v or x0/,
    );
  });
});

describe("the variational bound", () => {
  const batch = (): { image: Tensor } => {
    // 8-bit values.
    const levels = Float32Array.from({ length: 2 * 16 }, (_, i) => ((i * 37) % 256) / 127.5 - 1);
    return { image: tensor(levels, { shape: [2, 4, 4, 1] }) };
  };

  it("is the sum of its parts, the prior's as its formula says", async () => {
    using diffusion = new Diffusion({ betas: linearBetas(20, 0.01, 0.4) });
    const data = batch();
    const net = functionNet((x) => x.mul(0.3), "some");
    const { bitsPerDim, prior, decoder, steps, images } = await diffusion.bitsPerDim(net, [data], { rng: random });
    expect(images).toBe(2);
    expect(steps).toHaveLength(20);
    expect(decoder).toBe(steps[0]);
    expect(bitsPerDim).toBeCloseTo(prior + steps.reduce((a, b) => a + b), 10);
    const last = diffusion.alphasCumprod.at(-1) as number;
    const values = [...(await data.image.data())];
    const each = values.map((x) => (-Math.log(1 - last) - last + last * x * x) / 2 / Math.LN2);
    expect(prior).toBeCloseTo(each.reduce((a, b) => a + b) / values.length, 6);
    data.image.dispose();
  });

  it("costs what a wrong mean costs: KL = error²/(2σ̃²) with the posterior's variance", async () => {
    const steps = 8;
    using diffusion = new Diffusion({ betas: linearBetas(steps, 0.05, 0.4), predict: "x0" });
    const data = batch();
    const truth = data.image;
    const found = await diffusion.bitsPerDim(
      wrongBy(0.1, () => truth),
      [data],
      { rng: random, clip: false },
    );
    for (let t = 1; t < steps; t++) {
      const [now, before] = [diffusion.alphasCumprod[t] as number, diffusion.alphasCumprod[t - 1] as number];
      const { onX0, variance } = posterior(now, before);
      expect(found.steps[t]).toBeCloseTo((0.1 * onX0) ** 2 / (2 * variance) / Math.LN2, 4);
    }
    truth.dispose();
  });

  it("of a normal distribution is its entropy, for the network that knows mean and variance", async () => {
    using diffusion = new Diffusion({ betas: linearBetas(1000), variance: "learned" });
    const [mean, deviation] = [0.1, 0.2];
    const noise = gaussianNet(diffusion, mean, deviation);
    // p(xₜ₋₁ | xₜ) has the posterior's variance and that of x₀ given xₜ, as much as the mean depends on x₀.
    const logVariances = diffusion.alphasCumprod.map((now, t) => {
      const { onX0, variance } = posterior(now, diffusion.alphasCumprod[t - 1] ?? 1);
      return Math.log(variance + (onX0 ** 2 * deviation ** 2 * (1 - now)) / (now * deviation ** 2 + 1 - now));
    });
    const net = functionNet((x, t) => {
      const table = tensor(Float32Array.from(logVariances));
      return concat([noise.forward(x, t), addNoise(x.mul(0).add(1), x, t, table, table.mul(0))], 3);
    }, "best mean and variance");
    const drawn = scope(() => random.normal([64, 8, 8, 1]).mul(deviation).add(mean));
    // To the nearest of 256 levels.
    const image = scope(() => drawn.add(1).mul(127.5).round().div(127.5).sub(1));
    const { bitsPerDim } = await diffusion.bitsPerDim(net, [{ image }], { rng: random, clip: false });
    const entropy = 0.5 * Math.log2(2 * Math.PI * Math.E * (deviation * 127.5) ** 2);
    for (const owner of [drawn, image]) owner.dispose();
    // 4096 numbers: their own mean code length varies by a hundredth of a bit.
    expect(Math.abs(bitsPerDim - entropy)).toBeLessThan(0.06);
  });

  it("stops when it is told to", async () => {
    using diffusion = new Diffusion({ betas: linearBetas(20) });
    const { image } = batch();
    const net = functionNet((x) => x, "identity");
    const reason = new Error("enough");
    await expect(
      diffusion.bitsPerDim(net, [{ image }], { rng: random, signal: AbortSignal.abort(reason) }),
    ).rejects.toBe(reason);
    await expect(diffusion.bitsPerDim(net, [], { rng: random })).rejects.toThrow(/no batches/);
    image.dispose();
  });
});

describe("learned variances", () => {
  /** Answers a fixed spread. */
  class Spread extends Module {
    readonly value = new Linear(1, 1, { bias: false });
    forward(x: Tensor): Tensor {
      return concat([x, this.value.forward(x.mul(0).add(1))], x.rank - 1);
    }
  }

  it("are moved by the bound, and the mean is not", () => {
    using diffusion = new Diffusion({ betas: linearBetas(50), variance: "learned-range", boundWeight: 1 });
    const net = new Spread().init(random);
    scope(() => {
      const x0 = random.normal([4, 3, 3, 1]).mul(0.1);
      const slope = grad(() => diffusion.loss(net, x0, random), { wrt: net })();
      expect(Math.abs((slope.get(net.value.weight) as Tensor).itemSync())).toBeGreaterThan(0);
      // Of the bound alone: an error in the mean leaves no derivative.
      const shift = (by: Tensor): Tensor => {
        const shifted = functionNet((x) => concat([x.mul(0).add(by), x.mul(0)], 3), "shifted");
        using plain = new Diffusion({ betas: linearBetas(50), variance: "learned-range", boundWeight: 0 });
        const [withBound, without] = [diffusion, plain].map((process) => {
          const stream = rng(3);
          const loss = process.loss(shifted, x0, stream);
          stream.dispose();
          return loss;
        }) as [Tensor, Tensor];
        return withBound.sub(without);
      };
      expect(grad(shift)(tensor(0.3)).itemSync()).toBe(0);
    });
    net.dispose();
  });

  it("are trained to the best variance: a network that may only choose it comes to it", async () => {
    // One pixel, x₀ ~ N(0, 1): given xₜ, the best p(xₜ₋₁ | xₜ) has the variance βₜ, the upper bound: v → 1.
    using diffusion = new Diffusion({
      betas: linearBetas(20, 0.05, 0.3),
      predict: "x0",
      variance: "learned-range",
      boundWeight: 1,
    });
    class Best extends Module {
      readonly value = new Linear(1, 1, { bias: false });
      forward(x: Tensor, t: Tensor): Tensor {
        // E[x₀ | xₜ] = √ᾱₜ·xₜ.
        const table = tensor(Float32Array.from(diffusion.alphasCumprod, Math.sqrt));
        const root = t.cast("f32").mul(0).add(table.mean().mul(0));
        const best = x.mul(
          rootAt(t)
            .add(root)
            .reshape([x.dim(0), 1]),
        );
        return concat([best, this.value.forward(x.mul(0).add(1))], 1);
      }
    }
    const rootAt = (t: Tensor): Tensor => {
      const table = tensor(Float32Array.from(diffusion.alphasCumprod, Math.sqrt));
      return table.takeAlong(t.cast("i32"), 0);
    };
    const net = new Best().init(random);
    const optimizer = new AdamW(net, { lr: 0.05, weightDecay: 0 });
    const step = compileStep(net, optimizer, (model: Best, { image }: { image: Tensor }) =>
      diffusion.loss(model, image, random),
    );
    using image = random.normal([512, 1]);
    for (let i = 0; i < 150; i++) await step({ image }).loss.item();
    using chosen = net.value.weight.value;
    expect(Math.abs(chosen.itemSync() - 1)).toBeLessThan(0.4);
    for (const owner of [step, optimizer, net]) owner.dispose();
  });
});

describe("a condition", () => {
  it("is what the network sees beside the noisy image while it is trained", () => {
    using diffusion = new Diffusion({ betas: linearBetas(10), predict: "x0" });
    const shapes: (readonly number[])[] = [];
    const net = functionNet((x) => {
      shapes.push(x.shape);
      return x.slice([0, 0, 0, 1], [2, 3, 3, 1]);
    }, "copies the condition");
    scope(() => {
      const x0 = random.normal([2, 3, 3, 1]);
      expect(diffusion.loss(net, x0, random, undefined, x0).itemSync()).toBe(0);
    });
    expect(shapes).toEqual([[2, 3, 3, 2]]);
  });
});

describe("label dropout", () => {
  it("tells the network of no class as often as asked", () => {
    using diffusion = new Diffusion({ betas: linearBetas(10), labelDropout: 0.25 });
    const seen: number[] = [];
    const net: Denoiser = {
      ...functionNet((x) => x, "labels"),
      nullLabel: 7,
      forward: (x, _t, label) => {
        seen.push(...(label as Tensor).dataSync());
        return x;
      },
    };
    scope(() => {
      diffusion.loss(net, random.normal([4000, 1]), random, tensor(new Int32Array(4000).fill(2)));
    });
    const share = seen.filter((label) => label === 7).length / seen.length;
    expect(new Set(seen)).toEqual(new Set([2, 7]));
    // Five standard deviations.
    expect(Math.abs(share - 0.25)).toBeLessThan(5 * Math.sqrt((0.25 * 0.75) / 4000));
  });

  it("refuses what is no network, tensor, stream or batch by name, and so does the bound", async () => {
    using diffusion = new Diffusion({ betas: linearBetas(10) });
    const net = functionNet((x) => x, "checked");
    using x = random.normal([1, 4]);
    const none = null as unknown;
    for (const [make, message] of [
      [() => diffusion.loss(net, "x" as unknown as Tensor, random), /loss: .*x0/],
      [() => diffusion.loss(net, x, undefined as unknown as typeof random), /loss: expected random/],
      [() => diffusion.loss(none as Denoiser, x, random), /loss: expected net/],
    ] as const) {
      expect(make).toThrow(FigmentError);
      expect(make).toThrow(message);
    }
    for (const batches of [null, {}, [{}], [null]]) {
      const found = diffusion.bitsPerDim(net, batches as unknown as { image: Tensor }[], { rng: random });
      await expect(found).rejects.toThrow(FigmentError);
    }
  });

  it("needs a network with a label for no class", () => {
    using diffusion = new Diffusion({ betas: linearBetas(10), labelDropout: 0.25 });
    const net = new UNet({ inChannels: 1, channels: [8], classes: 3 }).init(random);
    scope(() => {
      const label = tensor(Int32Array.of(0));
      expect(() => diffusion.loss(net, random.normal([1, 4, 4, 1]), random, label)).toThrow(/nullClass/);
    });
    net.dispose();
    expect(() => new UNet({ inChannels: 1, channels: [8], nullClass: true })).toThrow(/nullClass/);
    expect(() => new Diffusion({ betas: [0.1], labelDropout: 2 })).toThrow(/labelDropout/);
  });
});
