// Penalties on the critic: values and derivatives recorded from PyTorch, finite differences, and what clipping leaves.

import { clipWeights, gradientPenalty, r1Penalty } from "@figment/gan";
import { BatchNorm, Linear, Sequential } from "@figment/nn";
import {
  assertNoLeaks,
  conv2d,
  grad,
  matmul,
  ones,
  type Rng,
  rng,
  scope,
  type Tensor,
  tanh,
  tensor,
  zeros,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { goldenFile } from "./golden.js";
import { contents } from "./support.js";

const seed = 5;
console.log(`penalties: seed ${seed}`);
const golden = goldenFile("losses");
afterAll(() => assertNoLeaks());

/** A stream whose one draw is known. */
const streamOf = (drawn: Tensor): Rng => ({ uniform: () => drawn }) as unknown as Rng;

type Weights = Readonly<Record<"a" | "b" | "c", Tensor>>;

/** The recorded critic: [N,6,6,3] → [N,1]. */
const recordedCritic =
  ({ a, b, c }: Weights) =>
  (x: Tensor): Tensor => {
    const h = tanh(conv2d(x, a, { stride: 2, padding: 1, bias: b }));
    return matmul(h.reshape([x.dim(0), h.size / x.dim(0)]), c, { transposeB: true });
  };

describe("penalties agree with PyTorch", () => {
  const at = (key: string): Tensor => golden.tensor(`penalties/${key}`);
  const cases: Readonly<Record<string, (weights: Weights) => Tensor>> = {
    gradientPenalty: (w) => gradientPenalty(recordedCritic(w), at("real"), at("fake"), streamOf(at("epsilon"))),
    "gradientPenaltyTo0.5": (w) =>
      gradientPenalty(recordedCritic(w), at("real"), at("fake"), streamOf(at("epsilon")), { target: 0.5 }),
    r1: (w) => r1Penalty(recordedCritic(w), at("real")),
  };

  it.each(Object.entries(cases))("%s, with the derivatives of the critic's parameters", (name, penalty) => {
    scope(() => {
      const weights = { a: at("a"), b: at("b"), c: at("c") };
      golden.expect(penalty(weights), `${name}/value`);
      for (const key of ["a", "b", "c"] as const)
        golden.expect(grad((w: Tensor) => penalty({ ...weights, [key]: w }))(weights[key]), `${name}/d${key}`);
    });
  });
});

describe("penalties are what finite differences of the critic give", () => {
  const step = 1e-2;

  /** Runs `fn` with a smooth critic and two batches of points in three dimensions. */
  const withCritic = (fn: (critic: (x: Tensor) => Tensor, x: Tensor, y: Tensor, random: Rng) => void): void => {
    const random = rng(seed);
    scope(() => {
      const [w, v] = [random.normal([3, 8]), random.normal([8, 1])];
      fn((x) => x.matmul(w).tanh().matmul(v), random.normal([6, 3]), random.normal([6, 3]), random);
    });
    random.dispose();
  };

  /** ‖∇f‖ of each sample [N, 3], by central differences. */
  const lengths = (critic: (x: Tensor) => Tensor, points: Tensor): number[] => {
    const along = [0, 1, 2].map((axis) => {
      const move = tensor([0, 1, 2].map((d) => (d === axis ? step : 0)));
      return critic(points.add(move))
        .sub(critic(points.sub(move)))
        .div(2 * step)
        .dataSync();
    });
    return Array.from({ length: points.dim(0) }, (_, i) => Math.hypot(...along.map((slopes) => slopes[i] as number)));
  };
  const mean = (list: readonly number[]): number => list.reduce((sum, x) => sum + x, 0) / list.length;

  it("gradientPenalty", () => {
    withCritic((critic, real, fake, random) => {
      const epsilon = random.uniform([6, 1]);
      const between = real.mul(epsilon).add(fake.mul(epsilon.neg().add(1)));
      const expected = mean(lengths(critic, between).map((length) => (length - 1) ** 2));
      const value = gradientPenalty(critic, real, fake, streamOf(epsilon)).itemSync();
      expect(Math.abs(value / expected - 1)).toBeLessThan(1e-3);
    });
  });

  it("r1Penalty", () => {
    withCritic((critic, real) => {
      const expected = mean(lengths(critic, real).map((length) => length ** 2)) / 2;
      expect(Math.abs(r1Penalty(critic, real).itemSync() / expected - 1)).toBeLessThan(1e-3);
    });
  });
});

describe("penalties", () => {
  it("stay finite, with a derivative, where the critic is flat", () => {
    scope(() => {
      const x = ones([3, 2]);
      const penalty = (w: Tensor): Tensor => gradientPenalty((y) => y.matmul(w), x, x, streamOf(zeros([3, 1])));
      expect(penalty(zeros([2, 1])).itemSync()).toBe(1);
      expect([...grad(penalty)(zeros([2, 1])).dataSync()]).toEqual([0, 0]);
    });
  });

  it("refuse samples that do not belong together, and targets that are no length", () => {
    scope(() => {
      const critic = (x: Tensor): Tensor => x.sum(1);
      const stream = streamOf(zeros([2, 1]));
      expect(() => gradientPenalty(critic, ones([2, 3]), ones([2, 4]), stream)).toThrow(/\[2, 3\].*\[2, 4\]/);
      expect(() => gradientPenalty(critic, ones([2, 3]), ones([2, 3]), stream, { target: 0 })).toThrow(/target/);
      expect(() => r1Penalty(() => 1 as unknown as Tensor, ones([2, 3]))).toThrow(/r1Penalty: .*critic's scores/);
      expect(() => r1Penalty((x) => x, ones([3]))).toThrow(/r1Penalty: expected samples \[N, \.\.\.\]/);
    });
  });
});

describe("clipWeights", () => {
  it("leaves every parameter in range, those inside and all buffers as they were", () => {
    const random = rng(seed);
    const net = new Sequential(new Linear(4, 4), new BatchNorm(4)).init(random);
    const before = contents(net);
    clipWeights(net, 0.1);
    for (const [path, values] of Object.entries(contents(net))) {
      const trained = !path.includes("running");
      values.forEach((value, i) => {
        const old = before[path]?.[i] as number;
        expect(value, path).toBe(trained ? Math.min(Math.fround(0.1), Math.max(-Math.fround(0.1), old)) : old);
      });
    }
    expect(Math.max(...(before["stages.1.weight"] ?? []))).toBe(1);
    expect(() => clipWeights(net, 0)).toThrow(/bound must be a positive number, got 0/);
    net.dispose();
    random.dispose();
  });
});
