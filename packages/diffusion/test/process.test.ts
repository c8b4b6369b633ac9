// The forward process, its posterior and the training loss.

import { alphasCumprod, cosineBetas, Diffusion, linearBetas, posterior } from "@figment/diffusion";
import { assertNoLeaks, rng, scope, type Tensor, tensor } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { functionNet, moments, times } from "./support.js";

const seed = 3;
console.log(`process tests: seed ${seed}`);
afterAll(() => assertNoLeaks());

describe("noise schedules", () => {
  it("linear: from 1e-4 to 0.02 in equal steps", () => {
    const betas = linearBetas(1000);
    expect(betas[0]).toBe(1e-4);
    expect(betas[999]).toBeCloseTo(0.02, 12);
    expect((betas[500] as number) - (betas[499] as number)).toBeCloseTo(0.0199 / 999, 12);
    expect(alphasCumprod(betas)[999]).toBeCloseTo(4.0358e-5, 8);
  });

  it("cosine: ᾱ follows the squared cosine until the last βs are clipped", () => {
    const betas = cosineBetas(1000);
    const f = (t: number): number => Math.cos(((t / 1000 + 0.008) / 1.008) * (Math.PI / 2)) ** 2;
    const product = alphasCumprod(betas);
    for (const t of [0, 10, 500, 900]) expect((product[t] as number) / (f(t + 1) / f(0))).toBeCloseTo(1, 10);
    expect(Math.max(...betas)).toBe(0.999);
  });

  it("refuse what is no schedule", () => {
    expect(() => linearBetas(0)).toThrow(/steps/);
    expect(() => cosineBetas(1.5)).toThrow(/steps/);
    expect(() => alphasCumprod([0.1, 1.5])).toThrow(/betas.*1.5 at step 1/);
    expect(() => new Diffusion({ betas: [] })).toThrow(/betas/);
    expect(() => new Diffusion({ betas: [1e-20, 0.1] })).toThrow(/betas: 1e-20 at step 0 is too small/);
    expect(() => new Diffusion({ betas: ["0.1"] as unknown as number[] })).toThrow(/betas.*"0.1" at step 0/);
    expect(() => new Diffusion({ betas: { length: 1e9 } })).toThrow(/betas: expected an array/);
    expect(() => new Diffusion({ betas: new Float32Array(1_000_001) })).toThrow(/betas: expected a number of steps/);
    expect(() => new Diffusion({ betas: [0.1], predict: "noise" as "epsilon" })).toThrow(/predict/);
  });
});

describe("q(xₜ | x₀)", () => {
  it("has the ᾱ that iterating q(xₜ | xₜ₋₁) gives", () => {
    const betas = cosineBetas(50);
    const { alphasCumprod: product } = new Diffusion({ betas });
    // Mean factor and variance after each step x ← √(1 − β)·x + √β·ε.
    let factor = 1;
    let variance = 0;
    for (const [t, beta] of betas.entries()) {
      factor *= Math.sqrt(1 - beta);
      variance = (1 - beta) * variance + beta;
      expect(Math.sqrt(product[t] as number)).toBeCloseTo(factor, 12);
      expect(1 - (product[t] as number)).toBeCloseTo(variance, 12);
    }
  });

  it("draws what walking step by step draws, in distribution", () => {
    const n = 40_000;
    using diffusion = new Diffusion({ betas: linearBetas(20, 0.01, 0.2) });
    const random = rng(seed);
    scope(() => {
      const x0 = random.uniform([n]).mul(2);
      let walked: Tensor = x0;
      for (const beta of diffusion.betas) {
        walked = walked.mul(Math.sqrt(1 - beta)).add(random.normal([n]).mul(Math.sqrt(beta)));
      }
      const jumped = diffusion.qSample(x0, times(n, 19), random.normal([n]));
      const [a, b] = [moments(walked.dataSync()), moments(jumped.dataSync())];
      // Five standard errors of a mean, and of a deviation, of numbers that vary by about one.
      expect(Math.abs(a.mean - b.mean)).toBeLessThan((5 * Math.SQRT2) / Math.sqrt(n));
      expect(Math.abs(a.deviation - b.deviation)).toBeLessThan(5 / Math.sqrt(n));
      // The part of x₀ that is left is √ᾱ.
      const left = x0.sub(1).mul(jumped).mean().itemSync() / x0.sub(1).square().mean().itemSync();
      expect(left).toBeCloseTo(Math.sqrt(diffusion.alphasCumprod[19] as number), 1);
    });
    random.dispose();
  });

  it("is √ᾱₜ·x₀ + √(1 − ᾱₜ)·ε, each sample at its own time", () => {
    using diffusion = new Diffusion({ betas: cosineBetas(1000) });
    const random = rng(seed);
    scope(() => {
      const [x0, noise] = [random.normal([3, 4, 4, 2]), random.normal([3, 4, 4, 2])];
      const steps = [0, 400, 999];
      const xt = diffusion.qSample(x0, tensor(Int32Array.from(steps)), noise).dataSync();
      const [a, b] = [x0.dataSync(), noise.dataSync()];
      xt.forEach((x, i) => {
        const alphaBar = diffusion.alphasCumprod[steps[Math.floor(i / 32)] as number] as number;
        expect(x).toBeCloseTo(Math.sqrt(alphaBar) * (a[i] as number) + Math.sqrt(1 - alphaBar) * (b[i] as number), 5);
      });
    });
    random.dispose();
  });

  it("fails by its own code for a time that there is not", async () => {
    using diffusion = new Diffusion({ betas: cosineBetas(10) });
    const x = tensor([1, 2]);
    const t = times(2, 10);
    const noisy = diffusion.qSample(x, t, x);
    await expect(noisy.data()).rejects.toMatchObject({ code: "ERR_FIGMENT_INDEX" });
    for (const owned of [x, t, noisy]) owned.dispose();
  });
});

describe("the posterior q(xₜ₋₁ | xₜ, x₀)", () => {
  it("satisfies Bayes' rule: q(xₜ | xₜ₋₁)·q(xₜ₋₁ | x₀) is proportional to it", () => {
    const betas = linearBetas(30, 0.01, 0.3);
    const product = alphasCumprod(betas);
    for (const t of [1, 7, 29]) {
      const [beta, previous] = [betas[t] as number, product[t - 1] as number];
      const { onX0, onX, variance } = posterior(product[t] as number, previous);
      // Precisions add, and precision-weighted means add.
      const precision = (1 - beta) / beta + 1 / (1 - previous);
      expect(variance).toBeCloseTo(1 / precision, 12);
      expect(onX0).toBeCloseTo(Math.sqrt(previous) / (1 - previous) / precision, 12);
      expect(onX).toBeCloseTo(Math.sqrt(1 - beta) / beta / precision, 12);
    }
  });

  it("leads from q(xₜ | x₀) to q(xₜ₋₁ | x₀)", () => {
    const product = alphasCumprod(cosineBetas(40));
    for (let t = 1; t < 40; t++) {
      const [now, previous] = [product[t] as number, product[t - 1] as number];
      const { onX0, onX, variance } = posterior(now, previous);
      expect(onX0 + onX * Math.sqrt(now)).toBeCloseTo(Math.sqrt(previous), 10);
      expect(onX ** 2 * (1 - now) + variance).toBeCloseTo(1 - previous, 10);
    }
  });

  it("is given for each sample at its own time, and is x₀ itself at the first", () => {
    using diffusion = new Diffusion({ betas: cosineBetas(100) });
    const random = rng(seed);
    scope(() => {
      const [x0, xt] = [random.normal([2, 5]), random.normal([2, 5])];
      const { mean, variance } = diffusion.posterior(x0, xt, tensor(Int32Array.from([0, 60])));
      const {
        onX0,
        onX,
        variance: expected,
      } = posterior(diffusion.alphasCumprod[60] as number, diffusion.alphasCumprod[59] as number);
      const [a, b] = [x0.dataSync(), xt.dataSync()];
      mean.dataSync().forEach((m, i) => {
        const clean = a[i] as number;
        expect(m).toBeCloseTo(i < 5 ? clean : onX0 * clean + onX * (b[i] as number), 5);
      });
      expect(variance.dataSync()[0]).toBe(0);
      expect(variance.dataSync()[1]).toBeCloseTo(expected, 6);
    });
    random.dispose();
  });
});

describe("the training loss", () => {
  it("draws every timestep about equally often", () => {
    using diffusion = new Diffusion({ betas: cosineBetas(10) });
    const random = rng(seed);
    const n = 50_000;
    const counts = new Array<number>(10).fill(0);
    for (const t of scope(() => diffusion.timesteps(n, random).dataSync())) counts[t] = (counts[t] as number) + 1;
    for (const count of counts) expect(Math.abs(count - n / 10)).toBeLessThan(5 * Math.sqrt(n * 0.1 * 0.9));
    random.dispose();
  });

  it.each(["epsilon", "x0", "v"] as const)("is zero for a network that knows the answer, predicting %s", (predict) => {
    using diffusion = new Diffusion({ betas: cosineBetas(100), predict });
    const random = rng(seed);
    scope(() => {
      const x0 = random.normal([4, 6]);
      const [t, noise] = [tensor(Int32Array.from([0, 30, 60, 99])), random.normal([4, 6])];
      const xt = diffusion.qSample(x0, t, noise).dataSync();
      const target = diffusion.target(x0, t, noise).dataSync();
      const [clean, epsilon] = [x0.dataSync(), noise.dataSync()];
      [0, 30, 60, 99].forEach((time, row) => {
        const alphaBar = diffusion.alphasCumprod[time] as number;
        const [signal, sigma] = [Math.sqrt(alphaBar), Math.sqrt(1 - alphaBar)];
        for (let i = 6 * row; i < 6 * row + 6; i++) {
          const [x, answer] = [xt[i] as number, target[i] as number];
          if (predict === "epsilon") expect(answer).toBe(epsilon[i]);
          else if (predict === "x0") expect(answer).toBe(clean[i]);
          else expect(signal * x - sigma * answer).toBeCloseTo(clean[i] as number, 4);
        }
      });
    });
    random.dispose();
  });

  it("of a network that says nothing is the noise's variance", () => {
    using diffusion = new Diffusion({ betas: cosineBetas(100) });
    const random = rng(seed);
    const loss = scope(() =>
      diffusion
        .loss(
          functionNet((x) => x.mul(0)),
          random.normal([64, 8, 8, 1]),
          random,
        )
        .itemSync(),
    );
    expect(Math.abs(loss - 1)).toBeLessThan(5 * Math.sqrt(2 / 4096));
    random.dispose();
  });
});
