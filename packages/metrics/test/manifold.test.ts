import { densityCoverage, FeatureSet, precisionRecall } from "@figment/metrics";
import { assertNoLeaks, markNoLeaks, ShapeError, UsageError } from "@figment/tensor";
import { describe, expect, it } from "vitest";
import { squaredRadii } from "#sets/neighbours";
import { exactSquare, rowsOf, viewOf } from "#sets/products";
import { features, golden, normal } from "./numbers.js";

const real = features(5, 120, 8);
const generated = features(6, 100, 8, 0.8, 0.25);
const moved = (set: FeatureSet, by: number): FeatureSet =>
  new FeatureSet(
    set.data.map((x) => x + by),
    set.dims,
  );

describe("precision, recall, density and coverage", () => {
  it.each([3, 5] as const)("are what PyTorch finds, k = %i", async (k) => {
    const found = {
      ...(await precisionRecall(real, generated, { k })),
      ...(await densityCoverage(real, generated, { k })),
    };
    const expected = golden[`manifold${k}`];
    for (const [name, value] of Object.entries(found))
      expect(value).toBeCloseTo(expected[name as keyof typeof expected], 12);
  });

  it("are 1 for equal sets, and density with the set itself counted", async () => {
    expect(await precisionRecall(real, real)).toEqual({ precision: 1, recall: 1 });
    const { density, coverage } = await densityCoverage(real, real);
    expect(coverage).toBe(1);
    // Each ball holds its centre and its k nearest.
    expect(density).toBeCloseTo(6 / 5, 12);
  });

  it("are 0 for sets far apart", async () => {
    const far = moved(generated, 1000);
    expect(await precisionRecall(real, far)).toEqual({ precision: 0, recall: 0 });
    expect(await densityCoverage(real, far)).toEqual({ density: 0, coverage: 0 });
  });

  it("tell a set that has lost half of the modes from one that has added some", async () => {
    const cluster = (seed: number, at: number) => moved(new FeatureSet(normal(seed, 200), 2), at);
    const both = FeatureSet.concat([cluster(1, 0), cluster(2, 100)]);
    const one = FeatureSet.concat([cluster(3, 0), cluster(4, 0)]);
    const lost = await precisionRecall(both, one);
    expect(lost.precision).toBeGreaterThan(0.95);
    expect(lost.recall).toBeGreaterThan(0.4);
    expect(lost.recall).toBeLessThan(0.55);
    const added = await precisionRecall(one, both);
    expect(added.precision).toBeLessThan(0.55);
    expect(added.recall).toBeGreaterThan(0.95);
    expect((await densityCoverage(both, one)).coverage).toBeLessThan(0.55);
  });

  it("swap when the sets do", async () => {
    const there = await precisionRecall(real, generated);
    const back = await precisionRecall(generated, real);
    expect(there).toEqual({ precision: back.recall, recall: back.precision });
  });

  it("do not depend on a common shift, far from zero either, and on the unit", async () => {
    const plain = await precisionRecall(real, generated);
    expect(await precisionRecall(moved(real, 2 ** 20), moved(generated, 2 ** 20))).toEqual(plain);
    const scaled = [real, generated].map(
      (set) =>
        new FeatureSet(
          set.data.map((x) => x * 2 ** 600),
          8,
        ),
    ) as [FeatureSet, FeatureSet];
    expect(await precisionRecall(...scaled)).toEqual(plain);
  });

  it("count samples on the edge of a ball, duplicates included", async () => {
    const twins = new FeatureSet([0, 0, 0, 0, 5, 5], 1);
    expect(await precisionRecall(twins, twins, { k: 1 })).toEqual({ precision: 1, recall: 1 });
    const edge = new FeatureSet([0, 1, 3], 1);
    expect((await densityCoverage(edge, new FeatureSet([5.1], 1), { k: 1 })).coverage).toBe(0);
    expect((await densityCoverage(edge, new FeatureSet([5], 1), { k: 1 })).coverage).toBeCloseTo(1 / 3, 12);
  });

  it("decide as f64 does where f32 cannot tell neighbours apart", async () => {
    // Clusters of points that differ by less than f32 can say at their place, far from the centre.
    const jitter = normal(9, 64 * 3);
    const set = new FeatureSet(
      jitter.map((x, at) => 1000 * (Math.floor(at / 3) % 4) + 1e-6 * x),
      3,
    );
    const rows = rowsOf(set, viewOf(set, set));
    const radii = await squaredRadii(rows, 2);
    for (let i = 0; i < set.count; i++) {
      const others = Array.from({ length: set.count }, (_, j) => j).filter((j) => j !== i);
      const sorted = others.map((j) => exactSquare(rows, i, rows, j)).sort((a, b) => a - b);
      expect(radii[i]).toBe(sorted[1]);
    }
    rows.rounded.dispose();
  });

  it("refuse other dimensions and sets of no more than k samples, and leave nothing behind", async () => {
    markNoLeaks();
    await expect(precisionRecall(real, features(1, 9, 7))).rejects.toThrow(ShapeError);
    await expect(precisionRecall(real, features(1, 3, 8))).rejects.toThrow(UsageError);
    await expect(densityCoverage(features(1, 5, 8), real)).rejects.toThrow(UsageError);
    await expect(densityCoverage(real, generated, { k: 0 })).rejects.toThrow(UsageError);
    await precisionRecall(real, generated);
    assertNoLeaks();
  });
});
