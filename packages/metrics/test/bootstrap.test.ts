import { bootstrap, frechetDistance } from "@figment/metrics";
import { UsageError } from "@figment/tensor";
import { describe, expect, it } from "vitest";
import { features, normal } from "./numbers.js";

const meanOf = (data: Float64Array) => (chosen: Int32Array) =>
  chosen.reduce((sum, i) => sum + data[i]!, 0) / chosen.length;

describe("the bootstrap", () => {
  it("finds the standard error of a mean, σ/√n, and an interval of twice that to both sides", async () => {
    const data = normal(1, 400);
    const { value, low, high, standardError, bias } = await bootstrap([400], meanOf(data), { resamples: 1000 });
    expect(value).toBe(data.reduce((sum, x) => sum + x, 0) / 400);
    expect(standardError).toBeGreaterThan(0.9 / 20);
    expect(standardError).toBeLessThan(1.1 / 20);
    expect((value - low) / standardError).toBeCloseTo(1.96, 0);
    expect((high - value) / standardError).toBeCloseTo(1.96, 0);
    expect(Math.abs(bias)).toBeLessThan(0.2 * standardError);
  });

  it("covers the true mean as often as it says", async () => {
    let covered = 0;
    for (let seed = 0; seed < 100; seed++) {
      const { low, high } = await bootstrap([50], meanOf(normal(seed, 50)), { level: 0.8, seed });
      covered += Number(low <= 0 && 0 <= high);
    }
    expect(covered).toBeGreaterThan(65);
    expect(covered).toBeLessThan(92);
  });

  it("gives the same interval for the same seed, and nested ones for lower levels", async () => {
    const data = normal(2, 60);
    const at = (level: number, seed = 7) => bootstrap([60], meanOf(data), { level, seed });
    const wide = await at(0.95);
    expect(await at(0.95)).toEqual(wide);
    expect((await at(0.95, 8)).low).not.toBe(wide.low);
    const narrow = await at(0.5);
    expect(narrow.low).toBeGreaterThan(wide.low);
    expect(narrow.high).toBeLessThan(wide.high);
  });

  it("resamples sets by themselves, and takes the bias of distances off where asked", async () => {
    const [a, b] = [features(1, 80, 4), features(2, 50, 4)];
    const distance = (i: Int32Array, j: Int32Array) => {
      expect([i.length, j.length]).toEqual([80, 50]);
      return frechetDistance(a.select(i), b.select(j));
    };
    const percentile = await bootstrap([80, 50], distance);
    const basic = await bootstrap([80, 50], distance, { method: "basic" });
    // Resamples of samples of one distribution are farther apart than these.
    expect(percentile.bias).toBeGreaterThan(0);
    expect(basic.low).toBeCloseTo(2 * percentile.value - percentile.high, 12);
    expect(basic.high).toBeCloseTo(2 * percentile.value - percentile.low, 12);
  });

  it("stops when it is told to", async () => {
    const stop = new AbortController();
    let calls = 0;
    const statistic = () => {
      if (++calls === 3) stop.abort(new Error("enough"));
      return 1;
    };
    await expect(bootstrap([5], statistic, { signal: stop.signal })).rejects.toThrow("enough");
    expect(calls).toBe(3);
  });

  it("refuses counts, options and results that are no such numbers", async () => {
    const one = () => 1;
    const wrong = [
      bootstrap([], one),
      bootstrap([0], one),
      bootstrap([2.5], one),
      bootstrap([3], one, { level: 1 }),
      bootstrap([3], one, { resamples: 1 }),
      bootstrap([3], one, { method: "normal" as "basic" }),
      bootstrap([3], () => Number.NaN),
    ];
    for (const call of wrong) await expect(call).rejects.toThrow(UsageError);
  });
});
