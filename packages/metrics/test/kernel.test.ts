import { FeatureSet, kernelDistance } from "@figment/metrics";
import { ShapeError, UsageError } from "@figment/tensor";
import { describe, expect, it } from "vitest";
import { features, golden, normal } from "./numbers.js";

const real = features(5, 120, 8).select(Array.from({ length: 100 }, (_, i) => i));
const generated = features(6, 100, 8, 0.8, 0.25);

describe("the kernel distance", () => {
  it("is what PyTorch finds", async () => {
    const { mean, std } = await kernelDistance(real, generated, { subsets: 2, subsetSize: 100 });
    expect(Math.abs(mean - golden.mmd2)).toBeLessThan(1e-7);
    expect(std).toBeLessThan(1e-7);
  });

  it("is zero on average between samples of one distribution, however few", async () => {
    const draws = new FeatureSet(normal(3, 4000 * 2), 2);
    const half = (first: number) => draws.select(Array.from({ length: 2000 }, (_, i) => first + i));
    const { mean, std, estimates } = await kernelDistance(half(0), half(2000), { subsets: 200, subsetSize: 10 });
    expect(Math.abs(mean)).toBeLessThan((4 * std) / Math.sqrt(200));
    expect(estimates.some((x) => x < 0)).toBe(true);
  });

  it("of one point each is the kernel's closed form", async () => {
    const at = (x: number) => new FeatureSet([x, x], 1);
    const kernel = (x: number, y: number) => (x * y + 1) ** 3;
    const { mean } = await kernelDistance(at(2), at(-3), { subsets: 1 });
    expect(mean).toBeCloseTo(kernel(2, 2) + kernel(-3, -3) - 2 * kernel(2, -3), 3);
  });

  it("is symmetric but for the choice of subsets, and the same for the same seed", async () => {
    const options = { subsets: 3, subsetSize: 50 };
    const first = await kernelDistance(real, generated, options);
    expect(await kernelDistance(real, generated, options)).toEqual(first);
    expect((await kernelDistance(real, generated, { ...options, seed: 1 })).mean).not.toBe(first.mean);
    const whole = await kernelDistance(generated, real, { subsets: 1, subsetSize: 100 });
    expect(whole.mean).toBeCloseTo(golden.mmd2, 6);
  });

  it("keeps its digits where features lie far from zero", async () => {
    const shifted = (set: FeatureSet) =>
      new FeatureSet(
        set.data.map((x) => 0.001 * x + 4),
        8,
      );
    const [a, b] = [shifted(real), shifted(generated)];
    const { mean } = await kernelDistance(a, b, { subsets: 1 });
    const sum = (x: FeatureSet, y: FeatureSet) => {
      let total = 0;
      for (let i = 0; i < x.count; i++)
        for (let j = 0; j < y.count; j++)
          if (x !== y || i !== j) total += (x.row(i).reduce((s, u, k) => s + u * y.row(j)[k]!, 0) / 8 + 1) ** 3;
      return total;
    };
    const expected = (sum(a, a) + sum(b, b)) / (100 * 99) - (2 * sum(a, b)) / 100 ** 2;
    expect(Math.abs(mean / expected - 1)).toBeLessThan(1e-3);
  });

  it("refuses other dimensions and too few samples", async () => {
    await expect(kernelDistance(real, features(1, 9, 7))).rejects.toThrow(ShapeError);
    await expect(kernelDistance(real, features(1, 1, 8))).rejects.toThrow(UsageError);
    await expect(kernelDistance(real, generated, { subsetSize: 101 })).rejects.toThrow("only 100 samples");
    await expect(kernelDistance(real, generated, { subsets: 0 })).rejects.toThrow(UsageError);
  });
});
