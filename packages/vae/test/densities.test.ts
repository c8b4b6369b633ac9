// Gaussians and likelihoods: closed forms against torch.distributions and against their own draws.

import { assertNoLeaks, concat, full, grad, rng, scope, type Tensor, tensor } from "@figment/tensor";
import {
  BernoulliLikelihood,
  binarise,
  bitsPerDim,
  DiscretisedLogisticLikelihood,
  drawGaussian,
  GaussianLikelihood,
  gaussianKl,
  gaussianLogDensity,
  standardLogDensity,
} from "@figment/vae";
import { afterAll, describe, expect, it } from "vitest";
import { goldenFile } from "../../tensor/test/support/golden.js";
import { expectClose, meanOf } from "./support.js";

const seed = 11;
console.log(`density tests: seed ${seed}`);
const random = rng(seed);
const golden = goldenFile("densities", new URL("./golden/", import.meta.url));
const { tensor: recorded } = golden;
afterAll(() => {
  random.dispose();
  assertNoLeaks();
});

it("is compared with numbers that the script beside them made", () => {
  expect(golden.metadata.script_sha256).toBe(golden.scriptHash());
});

describe("diagonal Gaussians", () => {
  const read = () => ({
    q: { mean: recorded("gaussian/qMean"), logVariance: recorded("gaussian/qLogVariance") },
    p: { mean: recorded("gaussian/pMean"), logVariance: recorded("gaussian/pLogVariance") },
    z: recorded("gaussian/z"),
  });

  it("have torch's divergences and densities", () =>
    scope(() => {
      const { q, p, z } = read();
      golden.expect(gaussianKl(q), "gaussian/klToStandard");
      golden.expect(gaussianKl(q, p), "gaussian/kl");
      golden.expect(gaussianLogDensity(q, z), "gaussian/logDensity");
    }));

  it("diverge as much as their draws say: KL(q ‖ p) = E ln q(z) − ln p(z)", () =>
    scope(() => {
      const n = 200_000;
      const filled = (mean: number, logVariance: number) => ({
        mean: full([n], mean),
        logVariance: full([n], logVariance),
      });
      const [q, p] = [filled(0.7, -0.6), filled(-0.2, 0.5)];
      const z = drawGaussian(q, random);
      const compare = (ratio: Tensor, kl: Tensor): void => {
        const { mean, error } = meanOf(ratio.dataSync());
        expect(Math.abs(mean - (kl.at(0).itemSync() as number))).toBeLessThan(5 * error);
      };
      compare(gaussianLogDensity(q, z).sub(gaussianLogDensity(p, z)), gaussianKl(q, p));
      compare(gaussianLogDensity(q, z).sub(standardLogDensity(z)), gaussianKl(q));
    }));

  it("do not diverge from themselves", () =>
    scope(() => {
      const { q } = read();
      expect(Math.max(...gaussianKl(q, q).abs().dataSync())).toBeLessThan(1e-6);
    }));

  it("let derivatives through their draws: of E z² by μ it is 2μ, by ln σ² it is σ²", () =>
    scope(() => {
      const n = 200_000;
      const at = [0.5, -0.4] as const;
      const slope = grad((parameters: Tensor) => {
        const mean = parameters.at(0).broadcastTo([n]);
        const logVariance = parameters.at(1).broadcastTo([n]);
        return drawGaussian({ mean, logVariance }, random).square().mean();
      })(tensor([...at]));
      const [byMean, byLogVariance] = slope.dataSync();
      expect(byMean).toBeCloseTo(2 * at[0], 1);
      expect(byLogVariance).toBeCloseTo(Math.exp(at[1]), 1);
    }));

  it("refuse a mean and a variance of different shapes", () =>
    scope(() => {
      const q = { mean: full([2, 3], 0), logVariance: full([2, 2], 0) };
      for (const f of [() => drawGaussian(q, random), () => gaussianKl(q), () => gaussianLogDensity(q, q.mean)])
        expect(f).toThrow(/mean \[2, 3\] and logVariance \[2, 2\]/);
    }));
});

describe("the Bernoulli likelihood", () => {
  const likelihood = new BernoulliLikelihood();

  it("has torch's densities", () =>
    scope(() => {
      golden.expect(
        likelihood.logDensity(recorded("bernoulli/logits"), recorded("bernoulli/x")),
        "bernoulli/logDensity",
      );
    }));

  it("stays finite for logits of any size", () =>
    scope(() => {
      const logits = tensor([-1e4, 1e4, -1e4, 1e4], { shape: [1, 2, 2, 1] });
      const x = tensor([0, 1, 1, 0], { shape: [1, 2, 2, 1] });
      expect(likelihood.logDensity(logits, x).itemSync()).toBe(-2e4);
    }));

  it("draws ones as often as its mean says", () =>
    scope(() => {
      const logits = full([1, 200, 200, 1], 0.8);
      const { mean, error } = meanOf(likelihood.draw(logits, random).dataSync());
      expect(Math.abs(mean - (likelihood.mean(logits).dataSync()[0] as number))).toBeLessThan(5 * error);
    }));

  it("refuses an output that does not fit the images", () =>
    scope(() => {
      expect(() => likelihood.logDensity(full([1, 4, 4, 2], 0), full([1, 4, 4, 1], 0))).toThrow(
        /expected an output \[1, 4, 4, 1\]/,
      );
    }));

  it("binarises a pixel to 1 with its own probability", () =>
    scope(() => {
      const drawn = binarise(full([40_000], 0.3), random);
      expect(new Set(drawn.dataSync())).toEqual(new Set([0, 1]));
      const { mean, error } = meanOf(drawn.dataSync());
      expect(Math.abs(mean - 0.3)).toBeLessThan(5 * error);
    }));
});

describe("the Gaussian likelihood", () => {
  it("with a fixed variance is a scaled squared error plus a constant", () =>
    scope(() => {
      const likelihood = new GaussianLikelihood({ variance: 0.25 });
      const [output, x] = [random.normal([2, 3, 3, 1]), random.normal([2, 3, 3, 1])];
      const errors = output.sub(x).square().sum([1, 2, 3]).dataSync();
      const constant = 4.5 * Math.log(2 * Math.PI * 0.25);
      const expected = errors.map((error) => -2 * error - constant);
      expectClose(likelihood.logDensity(output, x).dataSync(), expected, 3);
    }));

  it("learns the variance of the errors where it is shared", () => {
    const likelihood = new GaussianLikelihood().init(random);
    scope(() => {
      const x = random.normal([4, 50, 50, 1]).mul(0.3);
      const output = x.mul(0);
      // The derivative by ln σ² vanishes where σ² is the mean squared error.
      const variance = x.square().mean().itemSync() as number;
      likelihood.logVariance?.setData([Math.log(variance)]);
      const best = likelihood.logDensity(output, x).mean().itemSync() as number;
      for (const factor of [0.9, 1.1]) {
        likelihood.logVariance?.setData([Math.log(variance * factor)]);
        expect(likelihood.logDensity(output, x).mean().itemSync()).toBeLessThan(best);
      }
    });
    likelihood.dispose();
  });

  it("takes the variance of each pixel from the decoder, bounded below", () =>
    scope(() => {
      const likelihood = new GaussianLikelihood({ variance: "pixel" });
      const output = concat([full([1, 2, 2, 1], 0), full([1, 2, 2, 1], -1000)], -1);
      const density = likelihood.logDensity(output, full([1, 2, 2, 1], 0)).itemSync() as number;
      expect(density).toBeCloseTo(4 * ((9.7 - Math.log(2 * Math.PI)) / 2), 3);
      const drawn = likelihood.draw(concat([full([1, 99, 99, 1], 2), full([1, 99, 99, 1], Math.log(4))], -1), random);
      expect(meanOf(drawn.dataSync()).error).toBeCloseTo(2 / 99, 2);
    }));

  it.each([0, -1, Number.NaN, "shared pixel"])("refuses the variance %s", (variance) => {
    expect(() => new GaussianLikelihood({ variance: variance as number })).toThrow(/variance must be/);
  });
});

describe("the discretised logistic likelihood", () => {
  const likelihood = new DiscretisedLogisticLikelihood();
  const softplusInverse = (y: number): number => Math.log(Math.expm1(y));
  /** What the decoder must give for a logarithm of the scale. */
  const rawOf = (logScale: number): number => softplusInverse(logScale + 7) - 7;

  it("has the densities of torch's logistic distribution", () =>
    scope(() => {
      const raw = tensor(recorded("logistic/logScale").dataSync().map(rawOf) as Float32Array, { shape: [2, 4, 4, 1] });
      const output = concat([recorded("logistic/mean"), raw], -1);
      golden.expect(likelihood.logDensity(output, recorded("logistic/x")), "logistic/logDensity");
    }));

  it.each([
    [0, -2],
    [0.99, -4],
    [-3, -1],
    [0.3, -6.9],
    [5, 3],
  ])("sums to 1 over the 256 values for mean %d and log scale %d", (mean, logScale) =>
    scope(() => {
      const values = Float32Array.from({ length: 256 }, (_, i) => (2 * i) / 255 - 1);
      const x = tensor(values, { shape: [256, 1, 1, 1] });
      const output = concat([full([256, 1, 1, 1], mean), full([256, 1, 1, 1], rawOf(logScale))], -1);
      const total = likelihood.logDensity(output, x).exp().sum().itemSync() as number;
      expect(Math.abs(total - 1)).toBeLessThan(2e-5);
    }),
  );

  it("stays finite, with a finite derivative, however far the mean is off", () =>
    scope(() => {
      const x = tensor([-1, 1, 0, 0], { shape: [1, 2, 2, 1] });
      const density = (output: Tensor): Tensor => likelihood.logDensity(output, x).sum();
      const output = concat([full([1, 2, 2, 1], 50), full([1, 2, 2, 1], -50)], -1);
      expect(density(output).itemSync()).toBeLessThan(-1e4);
      expect(grad(density)(output).dataSync().every(Number.isFinite)).toBe(true);
    }));

  it("draws levels as often as it gives them probability", () =>
    scope(() => {
      const n = 90_000;
      const output = concat([full([1, 300, 300, 1], 0.9), full([1, 300, 300, 1], rawOf(-2.5))], -1);
      const drawn = likelihood.draw(output, random).dataSync();
      const levels = [...drawn].map((value) => Math.round(((value + 1) * 255) / 2));
      for (const level of [255, 243, 230]) {
        const one = concat([full([1, 1, 1, 1], 0.9), full([1, 1, 1, 1], rawOf(-2.5))], -1);
        const x = full([1, 1, 1, 1], (2 * level) / 255 - 1);
        const p = Math.exp(likelihood.logDensity(one, x).itemSync() as number);
        const share = levels.filter((drawnLevel) => drawnLevel === level).length / n;
        expect(Math.abs(share - p)).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / n));
      }
    }));
});

describe("units", () => {
  it("say that a uniform byte costs 8 bits", () => {
    expect(bitsPerDim(3 * 32 * 32 * Math.log(256), [32, 32, 3])).toBeCloseTo(8, 12);
  });
});
