// The bounds: what they are made of, where they meet, and what is known of them in closed form.

import { AdamW } from "@figment/nn";
import { assertNoLeaks, compile, full, grad, rng, scalar, scope, type Tensor, tensor } from "@figment/tensor";
import {
  betaTcLoss,
  drawGaussian,
  elboOf,
  exponentialAnnealing,
  freeBits,
  gaussianKl,
  importanceWeightedBound,
  linearAnnealing,
  logWeight,
  negativeElbo,
  totalCorrelation,
} from "@figment/vae";
import { afterAll, describe, expect, it } from "vitest";
import { expectClose, linearGaussian, meanOf, rowsOf, tinyVae } from "./support.js";

const seed = 12;
console.log(`objective tests: seed ${seed}`);
const random = rng(seed);
afterAll(() => {
  random.dispose();
  assertNoLeaks();
});

/** Rows of data and mixing weights for models of known evidence. */
const data = [
  [0.5, -1.2, 0.3, 2],
  [-0.7, 0.4, 1.5, -0.2],
];
const orthogonal = [
  [1, 1],
  [1, -1],
  [0.5, 0.8],
  [0.8, -0.5],
];
const skewed = [
  [1, 0.6],
  [0.3, 1],
  [0.2, 0.4],
  [-0.3, 0.1],
];

/** The same draws again and again. */
const withStream = <T>(seedOf: number, fn: (stream: ReturnType<typeof rng>) => T): T => {
  const stream = rng(seedOf);
  try {
    return fn(stream);
  } finally {
    stream.dispose();
  }
};

describe("the ELBO", () => {
  it("is reconstruction plus divergence, and its loss weighs the divergence by β", () => {
    const model = tinyVae();
    scope(() => {
      const x = random.uniform([5, 4, 4, 1]);
      const value = (beta: number | Tensor) => {
        const terms = withStream(1, (stream) => negativeElbo(model, x, stream, { beta }));
        return Object.fromEntries(Object.entries(terms).map(([name, t]) => [name, t.itemSync() as number]));
      };
      const plain = value(1);
      expect(plain.loss).toBeCloseTo(plain.reconstruction! + plain.kl!, 4);
      expect(plain.negativeElbo).toBeCloseTo(plain.loss!, 4);
      for (const beta of [0.25, 4]) {
        const weighted = value(beta);
        expect(weighted.loss).toBeCloseTo(plain.reconstruction! + beta * plain.kl!, 3);
        expect(weighted.negativeElbo).toBeCloseTo(plain.negativeElbo!, 4);
        expect(value(scalar(beta)).loss).toBeCloseTo(weighted.loss!, 4);
      }
    });
    model.dispose();
  });

  it("has the divergence that its draws have in the mean", () => {
    const model = tinyVae();
    scope(() => {
      const x = random.uniform([1, 4, 4, 1]).broadcastTo([20_000, 4, 4, 1]);
      const draw = model.draw(model.infer(x), x, random);
      const { mean, error } = meanOf(draw.logRatio.dataSync());
      const closed = gaussianKl(model.infer(x)).sum(1).at(0).itemSync() as number;
      expect(Math.abs(mean + closed)).toBeLessThan(5 * error);
      expect(elboOf(draw).shape).toEqual([20_000]);
    });
    model.dispose();
  });

  it("equals the evidence where the posterior is exact", () => {
    const { model, evidence } = linearGaussian(orthogonal, 0.6);
    scope(() => {
      const x = rowsOf(data);
      const draw = model.draw(model.infer(x), x, random);
      expectClose(logWeight(draw).dataSync(), data.map(evidence), 4);
    });
    model.dispose();
  });

  it("counts no latent below the free bits, and gives it no derivative", () =>
    scope(() => {
      const kl = tensor([
        [0.1, 1, 2],
        [0.3, 3, 0],
      ]);
      expect(freeBits(kl, 0.5).itemSync()).toBeCloseTo(0.5 + 2 + 1, 6);
      const slope = grad((x: Tensor) => freeBits(x, 0.5))(kl);
      expect([...slope.dataSync()]).toEqual([0, 0.5, 0.5, 0, 0.5, 0.5]);
    }));

  it("refuses free bits below 0", () => {
    const model = tinyVae();
    scope(() => {
      const x = full([1, 4, 4, 1], 0);
      expect(() => negativeElbo(model, x, random, { freeBits: -1 })).toThrow(/freeBits/);
    });
    model.dispose();
  });
});

describe("annealing", () => {
  it("rises in a line and stays, also inside a compiled step", () => {
    const rise = linearAnnealing({ from: 0.2, to: 1, steps: 4 });
    const program = compile((step: Tensor) => rise(step));
    const at = (step: number): number => scope(() => program(scalar(step)).itemSync() as number);
    expect([0, 1, 4, 100].map(at)).toEqual([0.2, 0.4, 1, 1].map((x) => expect.closeTo(x, 6)));
    program.dispose();
  });

  it("cools exponentially down to its floor", () => {
    const cool = exponentialAnnealing({ from: 2, to: 0.5, rate: 0.1 });
    const at = (step: number): number => scope(() => cool(scalar(step)).itemSync() as number);
    expect(at(10)).toBeCloseTo(2 * Math.exp(-1), 5);
    expect(at(100)).toBe(0.5);
  });

  it("refuses schedules that lead nowhere", () => {
    expect(() => linearAnnealing({ steps: 0 })).toThrow(/steps/);
    expect(() => linearAnnealing({ steps: 2 ** 24 + 1 })).toThrow(/at most 2²⁴ updates/);
    expect(() => exponentialAnnealing({ from: 0.1, to: 0.5, rate: 1 })).toThrow(/from ≥ to/);
  });
});

describe("the importance-weighted bound", () => {
  it("with k = 1 is the ELBO of the same draw", () => {
    const model = tinyVae();
    scope(() => {
      const x = random.uniform([6, 4, 4, 1]);
      const bound = withStream(4, (stream) => importanceWeightedBound(model, x, stream, { k: 1 })).dataSync();
      const draw = withStream(4, (stream) => model.draw(model.infer(x), x, stream));
      const single = draw.logLikelihood.add(draw.logRatio).dataSync();
      expectClose(bound, single, 4);
      // In the mean over many draws it is the ELBO with the divergence in closed form.
      const many = x.at(0).reshape([1, 4, 4, 1]).broadcastTo([20_000, 4, 4, 1]);
      const difference = importanceWeightedBound(model, many, random, { k: 1 }).sub(
        elboOf(model.draw(model.infer(many), many, random)),
      );
      const { mean, error } = meanOf(difference.dataSync());
      expect(Math.abs(mean)).toBeLessThan(5 * error);
    });
    model.dispose();
  });

  it("grows with k and approaches the evidence of a linear Gaussian model", () => {
    const { model, evidence } = linearGaussian(skewed, 0.5, 0.5);
    scope(() => {
      const n = 4000;
      const truth = evidence(data[0]!);
      const x = rowsOf(new Array(n).fill(data[0]));
      const bounds = [1, 5, 50].map((k) => meanOf(importanceWeightedBound(model, x, random, { k }).dataSync()));
      for (let i = 1; i < bounds.length; i++) {
        const [less, more] = [bounds[i - 1]!, bounds[i]!];
        expect(more.mean - less.mean).toBeGreaterThan(5 * (more.error + less.error));
      }
      for (const { mean, error } of bounds) expect(mean).toBeLessThan(truth + 5 * error);
      expect(truth - bounds[0]!.mean).toBeGreaterThan(0.2);
      expect(truth - bounds[2]!.mean).toBeLessThan(0.02);
    });
    model.dispose();
  });

  it("has the derivative that weighs each draw by its share (eq. 14)", () => {
    const model = tinyVae();
    scope(() => {
      const x = random.uniform([3, 4, 4, 1]);
      const loss = (): Tensor => importanceWeightedBound(model, x, random, { k: 4 }).mean().neg();
      const before = random.cell.value;
      const again = rng(0);
      again.cell.set(before);
      const byBound = grad(loss, { wrt: model })();
      // The same draws, weighed by hand: the shares are constants.
      const posterior = model.infer(x);
      const weights = Array.from({ length: 4 }, () => logWeight(model.draw(posterior, x, again)).dataSync());
      again.cell.set(before);
      const byShares = grad(
        () => {
          const shared = model.infer(x);
          const terms = weights.map((weight) => {
            const share = weight.map(
              (w, n) => Math.exp(w) / weights.reduce((sum, other) => sum + Math.exp(other[n]!), 0),
            );
            return logWeight(model.draw(shared, x, again)).mul(tensor(share as Float32Array));
          });
          return terms
            .reduce((a, b) => a.add(b))
            .mean()
            .neg();
        },
        { wrt: model },
      )();
      for (const parameter of model.parameters()) {
        const [a, b] = [byBound.get(parameter).dataSync(), byShares.get(parameter).dataSync()];
        expect(Math.hypot(...a.map((v, i) => v - b[i]!))).toBeLessThan(1e-4 * Math.max(1, Math.hypot(...b)));
      }
      byBound.dispose();
      byShares.dispose();
      again.dispose();
    });
    model.dispose();
  });

  it("keeps a few numbers for each image and draw, and nothing else that grows with k", () => {
    const model = tinyVae(8);
    const optimizer = new AdamW(model, {});
    const x = random.uniform([64, 4, 4, 1]);
    const units: Readonly<Record<string, number>> = { B: 1, kB: 1e3, MB: 1e6 };
    const arenaOf = (k: number): number => {
      const step = compile(() =>
        optimizer.minimize(() => importanceWeightedBound(model, x, random, { k }).mean().neg()),
      );
      step();
      const [, number, unit] = /arena ([\d.]+) ?(\w+)/.exec(step.explain()) as RegExpExecArray;
      step.dispose();
      return Number(number) * (units[unit as string] as number);
    };
    // Of each draw its weight stays, in the sum and on the way back; what the networks make of it is 50 times as much.
    const numbers = 4 * x.dim(0);
    expect((arenaOf(32) - arenaOf(4)) / 28).toBeLessThan(4 * numbers);
    for (const owner of [model, optimizer, x]) owner.dispose();
  });

  it("refuses k = 0", () => {
    const model = tinyVae();
    scope(() => {
      const x = full([1, 4, 4, 1], 0);
      expect(() => importanceWeightedBound(model, x, random, { k: 0 })).toThrow(/k must be an integer ≥ 1/);
    });
    model.dispose();
  });
});

describe("the decomposition of β-TC-VAE", () => {
  const values = (parts: Readonly<Record<string, Tensor>>): Record<string, number> =>
    Object.fromEntries(Object.entries(parts).map(([name, part]) => [name, part.itemSync() as number]));
  const same = (batch: number, latents: number) => ({
    mean: full([batch, latents], 0.4),
    logVariance: full([batch, latents], -0.5),
  });

  it("finds nothing in latents that know nothing of the image", () =>
    scope(() => {
      const posterior = same(7, 3);
      const z = drawGaussian(posterior, random);
      const parts = values(totalCorrelation(z, posterior, { datasetSize: 500 }));
      expect(parts.mutualInformation).toBeCloseTo(0, 4);
      expect(parts.totalCorrelation).toBeCloseTo(0, 4);
    }));

  it("is off by ln N there when minibatch-weighted", () =>
    scope(() => {
      const posterior = same(7, 3);
      const z = drawGaussian(posterior, random);
      const parts = values(totalCorrelation(z, posterior, { datasetSize: 500, sampling: "weighted" }));
      expect(parts.mutualInformation).toBeCloseTo(Math.log(500), 3);
      expect(parts.totalCorrelation).toBeCloseTo(2 * Math.log(500), 3);
    }));

  it("finds ln N in latents that name the image, and as much correlation in two that both do", () =>
    scope(() => {
      const n = 50;
      // Posteriors so far apart that each draw is explained by its own image alone.
      const places = Array.from({ length: n }, (_, i) => [100 * i, -100 * i]);
      const posterior = { mean: tensor(places), logVariance: full([n, 2], 0) };
      const z = drawGaussian(posterior, random);
      const parts = values(totalCorrelation(z, posterior, { datasetSize: n }));
      expect(parts.mutualInformation).toBeCloseTo(Math.log(n), 2);
      expect(parts.totalCorrelation).toBeCloseTo(Math.log(n), 2);
    }));

  it.each(["weighted", "stratified"] as const)("adds up to the divergence of the draw: %s", (sampling) => {
    const model = tinyVae();
    scope(() => {
      const x = random.uniform([9, 4, 4, 1]);
      const tc = withStream(6, (stream) =>
        values(betaTcLoss(model, x, stream, { datasetSize: 1000, beta: 1, sampling })),
      );
      const draw = withStream(6, (stream) => model.draw(model.infer(x), x, stream));
      const sampled = -(draw.logRatio.mean().itemSync() as number);
      expect(tc.mutualInformation! + tc.totalCorrelation! + tc.dimensionKl!).toBeCloseTo(sampled, 3);
      expect(tc.loss).toBeCloseTo(sampled - (draw.logLikelihood.mean().itemSync() as number), 3);
      const six = withStream(6, (stream) => values(betaTcLoss(model, x, stream, { datasetSize: 1000, sampling })));
      expect(six.loss).toBeCloseTo(tc.loss! + 5 * tc.totalCorrelation!, 3);
    });
    model.dispose();
  });

  it("refuses what it cannot estimate from", () =>
    scope(() => {
      const posterior = same(4, 2);
      const z = drawGaussian(posterior, random);
      expect(() => totalCorrelation(z, posterior, { datasetSize: 3 })).toThrow(/below the batch/);
      expect(() => totalCorrelation(z, same(4, 3), { datasetSize: 9 })).toThrow(/one shape/);
      expect(() => totalCorrelation(z, posterior, { datasetSize: 9, sampling: "exact" as "weighted" })).toThrow(
        /sampling/,
      );
      const single = same(1, 2);
      expect(() => totalCorrelation(single.mean, single, { datasetSize: 9 })).toThrow(/M ≥ 2/);
    }));
});
