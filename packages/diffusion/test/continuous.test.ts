// Flow matching and EDM: losses, and what samplers make of the best networks for a normal distribution.

import {
  type Denoiser,
  Diffusion,
  edm,
  edmDpmSolver,
  edmLoss,
  euler,
  flowEuler,
  flowMatchingLoss,
  linearBetas,
} from "@figment/diffusion";
import { assertNoLeaks, rng, scope, type Tensor, UsageError } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { functionNet, moments } from "./support.js";

const random = rng(41);
const [mean, deviation] = [0.4, 0.3];
const n = 20_000;
afterAll(() => {
  random.dispose();
  assertNoLeaks();
});

/** E[ε − x₀ | x] where x = (1 − σ)·x₀ + σ·ε and x₀ ~ N(mean, deviation²), scaled by a factor. */
const velocity = (factor = 1): Denoiser =>
  functionNet((x, t) => {
    const sigma = t.mul(1e-3);
    const signal = sigma.neg().add(1);
    const power = signal
      .square()
      .mul(deviation ** 2)
      .add(sigma.square());
    const surprise = x.sub(signal.mul(mean)).div(power);
    return surprise
      .mul(sigma.sub(signal.mul(deviation ** 2)))
      .sub(mean)
      .mul(factor);
  }, `velocity ${factor}`);

/** The best F of EDM for the same. */
const preconditioned = (sigmaData: number, factor = 1): Denoiser =>
  functionNet((scaled, t) => {
    const sigma = t.mul(4).exp();
    const total = sigma.square().add(sigmaData ** 2);
    const x = scaled.mul(total.sqrt());
    const best = x
      .sub(mean)
      .mul(deviation ** 2)
      .div(sigma.square().add(deviation ** 2))
      .add(mean);
    const skip = x.mul(sigmaData ** 2).div(total);
    return best
      .sub(skip)
      .mul(total.sqrt().div(sigma.mul(sigmaData)))
      .mul(factor);
  }, `preconditioned ${sigmaData} ${factor}`);

const data = (): Tensor => scope(() => random.normal([n]).mul(deviation).add(mean));

describe.each([
  ["flow matching", (net: Denoiser, x: Tensor) => flowMatchingLoss(net, x, random), velocity],
  [
    "flow matching, levels in the middle",
    (net: Denoiser, x: Tensor) => flowMatchingLoss(net, x, random, { levels: "logit-normal" }),
    velocity,
  ],
  ["EDM", (net: Denoiser, x: Tensor) => edmLoss(net, x, random), (factor?: number) => preconditioned(0.5, factor)],
] as const)("the loss of %s", (_name, loss, best) => {
  it("is least for the network that knows the distribution", () => {
    using x = data();
    const cost = (factor: number): number => scope(() => loss(best(factor), x).itemSync());
    const least = cost(1);
    for (const factor of [0.8, 1.2]) expect(cost(factor)).toBeGreaterThan(least);
  });
});

describe("with the best network", () => {
  it.each([
    ["Euler's method for flows", flowEuler({ steps: 100 }), velocity()],
    ["a shifted flow", flowEuler({ steps: 100, shift: 3 }), velocity()],
    ["EDM's Heun", edm({ steps: 40 }), preconditioned(0.5)],
    ["EDM's Euler", edm({ steps: 150, order: 1 }), preconditioned(0.5)],
    ["DPM-Solver++ on EDM", edmDpmSolver({ steps: 40 }), preconditioned(0.5)],
  ])("%s recovers the distribution", async (_name, sampler, net) => {
    using diffusion = new Diffusion({ betas: linearBetas(10) });
    const x = await diffusion.sample(net, { shape: [n], sampler, rng: random, clip: false });
    const found = moments(await x.data());
    x.dispose();
    expect(Math.abs(found.mean - mean)).toBeLessThan(0.02);
    expect(Math.abs(found.deviation / deviation - 1)).toBeLessThan(0.06);
  });
});

it.each([
  ["flow matching", flowEuler({ steps: 10 })],
  ["even noise levels", euler({ spacing: "linspace", steps: 28 })],
])("%s tells f32 times even where all are whole", async (_name, sampler) => {
  using diffusion = new Diffusion({ betas: linearBetas(1000) });
  expect(sampler.rows(diffusion).every(({ timestep }) => Number.isInteger(timestep))).toBe(true);
  const told: string[] = [];
  const net = functionNet((x, t) => {
    told.push(t.dtype);
    return x.mul(0);
  });
  (await diffusion.sample(net, { shape: [1], sampler, rng: random })).dispose();
  expect(new Set(told)).toEqual(new Set(["f32"]));
});

it("options out of range are refused", () => {
  using x = data();
  expect(() => edmLoss(velocity(), x, random, { sigmaData: 0 })).toThrow(UsageError);
  expect(() => flowEuler({ shift: 1e-30 })).toThrow(/shift must be from 0.000001 to 1000000/);
  expect(() => flowMatchingLoss(velocity(), x, random, { levels: "even" as "uniform" })).toThrow(/levels/);
});
