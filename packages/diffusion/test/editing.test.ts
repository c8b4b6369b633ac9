// Guidance, conditions, starting from images, and keeping known pixels.

import {
  type Denoiser,
  Diffusion,
  ddim,
  ddimInversion,
  ddpm,
  dpmSolver,
  edm,
  euler,
  flowEuler,
  linearBetas,
} from "@figment/diffusion";
import { assertNoLeaks, concat, rng, scope, type Tensor, tensor } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { functionNet, gaussianNet, moments } from "./support.js";

const random = rng(23);
afterAll(() => {
  random.dispose();
  assertNoLeaks();
});

/** What a sampler gives, as numbers. */
async function numbers(x: Promise<Tensor>): Promise<number[]> {
  const tensor = await x;
  const data = [...(await tensor.data())];
  tensor.dispose();
  return data;
}

describe("guidance", () => {
  /** Predicts v = x·(1 + label); the label 2 stands for none. */
  const net = (calls: number[]): Denoiser => ({
    ...functionNet((x) => x, "guided"),
    nullLabel: 2,
    forward: (x, _t, label) => {
      calls.push(x.dim(0));
      return x.mul(
        (label as Tensor)
          .cast("f32")
          .add(1)
          .reshape([x.dim(0), 1, 1, 1])
          .mul(0.1),
      );
    },
  });

  it("is u + s·(c − u), both from one call of twice the images", async () => {
    using diffusion = new Diffusion({ betas: linearBetas(10), predict: "v" });
    using start = random.normal([2, 3, 3, 1]);
    using label = tensor(Int32Array.of(0, 1));
    const calls: number[] = [];
    const options = { shape: [2, 3, 3, 1], start, rng: random, clip: false, sampler: ddim({ steps: 1 }), label };
    const found = await numbers(diffusion.sample(net(calls), { ...options, guidance: 3 }));
    const factors = [0.1, 0.2].map((c) => 0.3 + 3 * (c - 0.3));
    const byHand = functionNet((x) => x.mul(tensor(Float32Array.from(factors)).reshape([2, 1, 1, 1])), "by hand");
    const { label: _label, ...plain } = options;
    const wanted = await numbers(diffusion.sample(byHand, plain));
    found.forEach((value, i) => {
      expect(value).toBeCloseTo(wanted[i] as number, 5);
    });
    expect(calls).toEqual([4]);
  });

  it("is rescaled to the deviation of the conditional prediction", async () => {
    using diffusion = new Diffusion({ betas: linearBetas(10), predict: "v" });
    using start = random.normal([2, 3, 3, 1]);
    using label = tensor(Int32Array.of(0, 1));
    const options = { shape: [2, 3, 3, 1], start, rng: random, clip: false, sampler: ddim({ steps: 1 }), label };
    const guidance = { scale: 2, rescale: 1 };
    const found = await numbers(diffusion.sample(net([]), { ...options, guidance }));
    // Predictions here are multiples of x: what is left of guidance is their sign.
    const factors = [0.1, 0.2].map((c) => Math.sign(0.3 + 2 * (c - 0.3)) * c);
    const byHand = functionNet(
      (x) => x.mul(tensor(Float32Array.from(factors)).reshape([2, 1, 1, 1])),
      "rescaled by hand",
    );
    const { label: _label, ...plain } = options;
    const wanted = await numbers(diffusion.sample(byHand, plain));
    found.forEach((value, i) => {
      expect(value).toBeCloseTo(wanted[i] as number, 5);
    });
  });

  it("of one scale is compiled once, and another scale is no new program", async () => {
    using diffusion = new Diffusion({ betas: linearBetas(10), predict: "v" });
    using label = tensor(Int32Array.of(0, 1));
    const calls: number[] = [];
    const network = net(calls);
    for (const guidance of [2, 5])
      await numbers(
        diffusion.sample(network, { shape: [2, 3, 3, 1], rng: random, sampler: ddim({ steps: 3 }), label, guidance }),
      );
    expect(calls).toHaveLength(1);
  });

  it("needs labels and a network that does without", async () => {
    using diffusion = new Diffusion({ betas: linearBetas(10) });
    const options = { shape: [2, 3, 3, 1], rng: random, guidance: 2, sampler: ddim({ steps: 2 }) };
    await expect(
      diffusion.sample(
        functionNet((x) => x, "plain"),
        options,
      ),
    ).rejects.toThrow(/without classes/);
    await expect(diffusion.sample(net([]), options)).rejects.toThrow(/labels/);
    for (const guidance of [-1, Number.POSITIVE_INFINITY])
      await expect(diffusion.sample(net([]), { ...options, guidance })).rejects.toThrow(
        /guidance must be a number ≥ 0/,
      );
  });
});

describe("a condition", () => {
  it("is what the network sees beside x", async () => {
    using diffusion = new Diffusion({ betas: linearBetas(10), predict: "x0" });
    using condition = random.normal([2, 3, 3, 2]);
    const copies = functionNet((x) => x.slice([0, 0, 0, 1], [2, 3, 3, 1]), "copies the condition");
    const options = { shape: [2, 3, 3, 1], rng: random, sampler: ddim({ steps: 3 }), clip: false as const, condition };
    const found = await numbers(diffusion.sample(copies, options));
    const wanted = [...(await condition.data())].filter((_, i) => i % 2 === 0);
    found.forEach((value, i) => {
      expect(value).toBeCloseTo(wanted[i] as number, 5);
    });
    using wrong = random.normal([2, 4, 3, 2]);
    await expect(diffusion.sample(copies, { ...options, condition: wrong })).rejects.toThrow(
      /condition.*\[2, 3, 3, K\]/,
    );
  });
});

describe("starting from an image", () => {
  const shape = [1, 8, 8, 1];

  it("takes the last part of the walk, from the image noised as much as there", async () => {
    using diffusion = new Diffusion({ betas: linearBetas(100, 1e-3, 0.1) });
    using image = scope(() => random.normal(shape).mul(0.5));
    const seen: number[] = [];
    const sampler = ddim({ steps: 10 });
    const options = { shape, rng: random, sampler, from: { image, strength: 0.3 } };
    for await (const { timestep, total } of diffusion.sampleSteps(gaussianNet(diffusion, 0, 0.5), options)) {
      seen.push(timestep);
      expect(total).toBe(3);
    }
    expect(seen).toEqual([29, 19, 9]);
  });

  it.each([
    ["DDIM", ddim({ steps: 50 })],
    ["Euler", euler({ steps: 50 })],
  ])("keeps more of it the less is drawn anew, %s", async (_name, sampler) => {
    using diffusion = new Diffusion({ betas: linearBetas(100, 1e-3, 0.1) });
    using image = scope(() => random.normal(shape).mul(0.5));
    const original = [...(await image.data())];
    const net = gaussianNetAnyTime(diffusion, 0.5);
    const distances: number[] = [];
    for (const strength of [0.1, 0.5, 1]) {
      const found = await numbers(
        diffusion.sample(net, { shape, rng: random, clip: false, sampler, from: { image, strength } }),
      );
      distances.push(Math.hypot(...found.map((x, i) => x - (original[i] as number))));
    }
    expect(distances[0]).toBeLessThan((distances[1] as number) * 0.8);
    expect(distances[1]).toBeLessThan((distances[2] as number) * 0.9);
  });

  it.each([
    ["EDM", edm({ steps: 10, order: 1, sigmaData: 0.5 }), 0.5],
    ["flow matching", flowEuler({ steps: 10 }), 0.5],
  ] as const)("adds as much noise as the walk has there, %s", async (_name, sampler, strength) => {
    using diffusion = new Diffusion({ betas: linearBetas(100) });
    using image = scope(() => random.normal([1, 32, 32, 1]).mul(0).add(3));
    const net = functionNet((x) => x.mul(0), "nothing");
    const rows = sampler.rows(diffusion);
    const [signal, level] = (rows[5] as (typeof rows)[number]).level as readonly [number, number];
    for await (const { x, x0 } of diffusion.sampleSteps(net, {
      ...{ shape: [1, 32, 32, 1], rng: random, clip: false, sampler, from: { image, strength }, predictions: true },
    })) {
      expect(x.shape).toEqual([1, 32, 32, 1]);
      // x₀ is a known multiple of what the walk started from.
      const share = (rows[5] as (typeof rows)[number]).x0FromX;
      const { mean, deviation } = moments([...(await (x0 as Tensor).data())].map((value) => value / share));
      expect(Math.abs(mean - 3 * signal)).toBeLessThan(0.2 * level + 1e-6);
      expect(Math.abs(deviation / level - 1)).toBeLessThan(0.15);
      break;
    }
  });

  it("is refused by samplers that look back, by strengths out of range, and beside a start", async () => {
    using diffusion = new Diffusion({ betas: linearBetas(100) });
    using image = random.normal(shape);
    const net = functionNet((x) => x, "identity");
    const from = { image, strength: 0.5 };
    const draw = (options: object): Promise<Tensor> =>
      diffusion.sample(net, { shape, rng: random, sampler: ddim({ steps: 9 }), ...options });
    await expect(draw({ from, sampler: dpmSolver() })).rejects.toThrow(/look back/);
    await expect(draw({ from: { image, strength: 0 } })).rejects.toThrow(/strength/);
    await expect(draw({ from, start: image })).rejects.toThrow(/not both/);
  });

  it("ends at the noise that gives the image, when the walk is taken backwards", async () => {
    using diffusion = new Diffusion({ betas: linearBetas(1000) });
    using image = scope(() => random.normal(shape).mul(0.5).add(0.2));
    const net = gaussianNet(diffusion, 0.2, 0.5);
    const options = { shape, rng: random, clip: false as const };
    using noise = await diffusion.sample(net, { ...options, start: image, sampler: ddimInversion({ steps: 250 }) });
    const { mean, deviation } = moments(await noise.data());
    expect(Math.abs(mean)).toBeLessThan(0.5);
    expect(Math.abs(deviation - 1)).toBeLessThan(0.4);
    const back = await numbers(diffusion.sample(net, { ...options, start: noise, sampler: ddim({ steps: 250 }) }));
    const original = [...(await image.data())];
    const error = Math.hypot(...back.map((x, i) => x - (original[i] as number))) / Math.hypot(...original);
    expect(error).toBeLessThan(0.05);
  });
});

describe("the inversion of DDIM", () => {
  it.each(["leading", "linspace", "trailing"] as const)("goes between the same levels, %s spacing", (spacing) => {
    using diffusion = new Diffusion({ betas: linearBetas(1000), predict: "v" });
    const down = ddim({ steps: 3, spacing, clippedNoise: false }).rows(diffusion);
    const up = ddimInversion({ steps: 3, spacing }).rows(diffusion);
    expect(up.map(({ timestep }) => timestep).reverse()).toEqual(down.map(({ timestep }) => timestep));
    // With a network that says v = 0, x₀ = √ᾱ·x and ε = √(1 − ᾱ)·x where a step begins.
    const signal = (t: number): number => diffusion.alphasCumprod[t] ?? 1;
    up.forEach(({ timestep, x0FromX, onX0, onX }, i) => {
      const [from, to] = [signal(up[i - 1]?.timestep ?? -1), signal(timestep)];
      const scale = Math.sqrt(to * from) + Math.sqrt((1 - to) * (1 - from));
      expect(onX0 * x0FromX + onX).toBeCloseTo(scale, 12);
    });
  });
});

describe("inpainting", () => {
  it("keeps what is known and draws the rest to fit it", async () => {
    using diffusion = new Diffusion({ betas: linearBetas(100, 1e-3, 0.1), predict: "x0" });
    // Images whose two pixels are the same: the best guess of both is the mean of both, as far as noise allows.
    const n = 2000;
    const net = functionNet((x, t) => {
      const alphas = tensor(Float32Array.from(diffusion.alphasCumprod));
      const alphaBar = alphas.takeAlong(t, 0).reshape([n, 1]);
      const sum = x.sum([1], { keepDims: true }).mul(alphaBar.sqrt());
      // Posterior mean of z ~ N(0, 1) seen twice as √ᾱ·z + √(1 − ᾱ)·ε.
      return concat([sum, sum], 1).div(alphaBar.mul(2).add(alphaBar.neg().add(1)));
    }, "equal pixels");
    using values = random.normal([n, 1]);
    using image = scope(() => concat([values, values.mul(0)], 1));
    using mask = tensor([[1, 0]]);
    const options = { shape: [n, 2], rng: random, sampler: ddpm({ steps: 50 }), clip: false as const };
    const correlation = async (resamples: number): Promise<number> => {
      const found = await numbers(diffusion.sample(net, { ...options, inpaint: { image, mask, resamples, jump: 5 } }));
      const known = [...(await values.data())];
      known.forEach((value, i) => {
        expect(found[2 * i]).toBeCloseTo(value, 4);
      });
      return known.reduce((sum, value, i) => sum + value * (found[2 * i + 1] as number), 0) / n;
    };
    const [once, often] = [await correlation(1), await correlation(5)];
    // Five standard errors are 0.11.
    expect(often).toBeGreaterThan(0.9);
    expect(often).toBeGreaterThan(once);
  });

  it("takes each stretch of steps as often as asked", async () => {
    using diffusion = new Diffusion({ betas: linearBetas(100) });
    using image = random.normal([1, 4, 4, 1]);
    using mask = scope(() => image.mul(0));
    const times: number[] = [];
    const inpaint = { image, mask, resamples: 2, jump: 2 };
    const net = functionNet((x) => x.mul(0.5), "half");
    const options = { shape: [1, 4, 4, 1], rng: random, sampler: ddim({ steps: 4 }), inpaint };
    for await (const { timestep } of diffusion.sampleSteps(net, options)) times.push(timestep);
    expect(times).toEqual([99, 74, 99, 74, 49, 24, 49, 24]);
    times.length = 0;
    const uneven = { ...options, inpaint: { ...inpaint, jump: 3 } };
    for await (const { timestep } of diffusion.sampleSteps(net, uneven)) times.push(timestep);
    expect(times).toEqual([99, 74, 49, 99, 74, 49, 24, 24]);
    await expect(diffusion.sample(net, { ...options, sampler: euler() })).rejects.toThrow(/ddim or ddpm/);
    await expect(diffusion.sample(net, { ...options, inpaint: { ...inpaint, jump: 0 } })).rejects.toThrow(/jump/);
    const endless = { ...options, inpaint: { ...inpaint, resamples: 1e6 } };
    await expect(diffusion.sample(net, endless)).rejects.toThrow(/resamples × steps ≤ 1000000, got 1000000 × 4/);
  });
});

/** The best prediction of the noise of N(0, deviation²), for times between steps too. */
function gaussianNetAnyTime({ alphasCumprod }: Diffusion, deviation: number): Denoiser {
  return functionNet((x, t) => {
    const alphas = tensor(Float32Array.from(alphasCumprod));
    const alphaBar = alphas.takeAlong(t.cast("f32").round().cast("i32"), 0).reshape([x.dim(0), 1, 1, 1]);
    const noise = alphaBar.neg().add(1);
    return x.mul(noise.sqrt()).div(alphaBar.mul(deviation ** 2).add(noise));
  }, `gaussian at any time ${deviation}`);
}
