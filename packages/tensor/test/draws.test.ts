// Draws of categories, whole numbers, orders and truth values: their distributions, within five standard errors of a
// fixed seed, and what they do at the edges.

import {
  assertNoLeaks,
  compile,
  type Rng,
  rng,
  scope,
  type Tensor,
  takeAlong,
  tensor,
  topk,
  zeros,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

const list = (x: Tensor): number[] => [...x.dataSync()];

function withRng<T>(seed: number, use: (random: Rng) => T): T {
  const random = rng(seed);
  try {
    return scope(() => use(random));
  } finally {
    random.dispose();
  }
}

/** How often each of `n` numbers occurs. */
const countsOf = (xs: readonly number[], n: number): number[] => {
  const counts = new Array<number>(n).fill(0);
  for (const x of xs) counts[x] = (counts[x] as number) + 1;
  return counts;
};

function expectFrequencies(counts: readonly number[], probabilities: readonly number[]): void {
  const total = counts.reduce((a, b) => a + b, 0);
  probabilities.forEach((p, i) => {
    const error = 5 * Math.sqrt(total * p * (1 - p)) + 1e-9;
    expect(Math.abs((counts[i] as number) - total * p), `category ${i}`).toBeLessThanOrEqual(error);
  });
}

afterAll(() => assertNoLeaks());

describe("categorical", () => {
  it("draws with the probabilities of softmax", () => {
    const probabilities = [0.5, 0.25, 0.2, 0.05, 0];
    const logits = probabilities.map((p) => Math.log(p) + 30);
    const sample = withRng(3, (random) => list(random.categorical(tensor(logits), [40_000])));
    expectFrequencies(countsOf(sample, 5), probabilities);
  });

  it("draws every row on its own, in the shape asked for", () =>
    withRng(4, (random) => {
      const logits = tensor([
        [0, -Number.POSITIVE_INFINITY],
        [-Number.POSITIVE_INFINITY, 0],
      ]);
      const sample = random.categorical(logits, [3]);
      expect(sample.shape).toEqual([3, 2]);
      expect(list(sample)).toEqual([0, 1, 0, 1, 0, 1]);
      expect(random.categorical(logits).shape).toEqual([2]);
      expect(random.categorical(zeros([4])).dtype).toBe("i32");
    }));

  it("reaches the last categories of long rows", () => {
    const categories = 3000;
    const sample = withRng(5, (random) => list(random.categorical(zeros([categories]), [60_000])));
    const tenths = sample.map((x) => Math.floor((x * 10) / categories));
    expectFrequencies(countsOf(tenths, 10), new Array(10).fill(0.1));
  });

  it("advances the stream, inside compiled functions and outside, to the same draws", () => {
    const eager = withRng(6, (random) => {
      const logits = zeros([5, 100]);
      return [list(random.categorical(logits)), list(random.categorical(logits))];
    });
    expect(eager[0]).not.toEqual(eager[1]);
    const f = compile((logits: Tensor, random: Rng) => random.categorical(logits));
    const compiled = withRng(6, (random) => [list(f(zeros([5, 100]), random)), list(f(zeros([5, 100]), random))]);
    f.dispose();
    expect(compiled).toEqual(eager);
  });

  it("samples tokens among the likeliest", () =>
    withRng(7, (random) => {
      const logits = random.normal([6, 200]);
      const top = topk(logits, 40);
      const token = takeAlong(top.indices, random.categorical(top.values));
      expect(token.shape).toEqual([6]);
      const least = list(top.values.slice([0, 39], [6, 1]));
      const picked = list(takeAlong(logits, token));
      picked.forEach((logit, i) => {
        expect(logit).toBeGreaterThanOrEqual(least[i] as number);
      });
    }));

  it("takes bf16 and f64 logits, and refuses integers, scalars and rows of nothing", () =>
    withRng(8, (random) => {
      expect(random.categorical(zeros([3], "bf16")).shape).toEqual([]);
      expect(random.categorical(zeros([3], "f64")).shape).toEqual([]);
      expect(random.categorical(zeros([0, 3])).shape).toEqual([0]);
      expect(random.categorical(zeros([3]), [0]).shape).toEqual([0]);
      expect(() => random.categorical(zeros([3], "i32"))).toThrow(/floats/);
      expect(() => random.categorical(zeros([]))).toThrow(/categories/);
      expect(() => random.categorical(zeros([2, 0]))).toThrow(/no categories/);
    }));

  it("fails with a typed error for rows that are no distribution", async () => {
    const random = rng(9);
    const { NaN: nan, POSITIVE_INFINITY: inf } = Number;
    for (const bad of [nan, inf, -inf]) {
      const row = bad === -inf ? [bad, bad] : [0, bad];
      const logits = tensor([[0, 0], row]);
      const sample = random.categorical(logits);
      await expect(sample.data()).rejects.toMatchObject({
        code: "ERR_FIGMENT_VALUE",
        message: expect.stringContaining("row 1"),
      });
      logits.dispose();
      sample.dispose();
    }
    random.dispose();
  });
});

describe("randint", () => {
  it("is uniform on [lo, hi)", () => {
    const sample = withRng(11, (random) => list(random.randint([50_000], -3, 7)));
    expect(Math.min(...sample.slice(0, 1000))).toBe(-3);
    expectFrequencies(
      countsOf(
        sample.map((x) => x + 3),
        10,
      ),
      new Array(10).fill(0.1),
    );
  });

  it("spans all of i32, and refuses other ranges", () =>
    withRng(12, (random) => {
      const sample = list(random.randint([1000], -(2 ** 31), 2 ** 31));
      expect(sample.some((x) => x < -(2 ** 30)) && sample.some((x) => x >= 2 ** 30)).toBe(true);
      expect(list(random.randint([3], 5, 6))).toEqual([5, 5, 5]);
      expect(() => random.randint([3], 5, 5)).toThrow(/lo < hi/);
      expect(() => random.randint([3], 0.5, 5)).toThrow(/integers/);
      expect(() => random.randint([3], 0, 2 ** 32)).toThrow(/2³¹/);
    }));
});

describe("permutation", () => {
  it("has each integer once", () => {
    const order = withRng(13, (random) => list(random.permutation(1000)));
    expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect(order.slice(0, 20)).not.toEqual(Array.from({ length: 20 }, (_, i) => i));
  });

  it("gives every order of three equally often", () => {
    const counts = withRng(14, (random) => {
      const seen = new Map<string, number>();
      for (let i = 0; i < 3000; i++) {
        const order = scope(() => list(random.permutation(3)).join(""));
        seen.set(order, (seen.get(order) ?? 0) + 1);
      }
      return [...seen.values()];
    });
    expect(counts.length).toBe(6);
    expectFrequencies(counts, new Array(6).fill(1 / 6));
  });

  it("is empty for 0, and refuses what is no number of elements", () =>
    withRng(15, (random) => {
      expect(random.permutation(0).shape).toEqual([0]);
      expect(() => random.permutation(-1)).toThrow(/shape/);
    }));
});

describe("bernoulli", () => {
  it("is true with the probability, a number or a tensor", () =>
    withRng(16, (random) => {
      const sample = random.bernoulli([40_000], 0.3);
      expect(sample.dtype).toBe("bool");
      expectFrequencies(countsOf(list(sample), 2), [0.7, 0.3]);
      expect(list(random.bernoulli([2, 3], tensor([0, 1, 0])))).toEqual([0, 1, 0, 0, 1, 0]);
      expect(() => random.bernoulli([2], 1.5)).toThrow(/within \[0, 1\]/);
      expect(() => random.bernoulli([2], tensor([0, 1, 0]))).toThrow(/broadcast/);
    }));
});
