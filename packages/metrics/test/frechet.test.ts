import {
  FeatureSet,
  frechetDistance,
  type GaussianStatistics,
  gaussianStatistics,
  RunningStatistics,
} from "@figment/metrics";
import { NonFiniteError, ShapeError, UsageError } from "@figment/tensor";
import { describe, expect, it } from "vitest";
import { features, golden, normal } from "./numbers.js";

const real = features(5, 120, 8);
const generated = features(6, 100, 8, 0.8, 0.25);
const few = features(7, 5, 8);
/** A set whose fourth feature is always 0. */
const dead = new FeatureSet(
  generated.data.map((x, at) => (at % 8 === 3 ? 0 : x)),
  8,
);

/** A Gaussian with independent features. */
const independent = (mean: readonly number[], variances: readonly number[]): GaussianStatistics => ({
  dims: mean.length,
  count: 1000,
  mean: Float64Array.from(mean),
  covariance: Float64Array.from({ length: mean.length ** 2 }, (_, at) =>
    at % (mean.length + 1) === 0 ? variances[at / (mean.length + 1)]! : 0,
  ),
});

describe("the Fréchet distance", () => {
  it("is what PyTorch finds", () => {
    expect(frechetDistance(real, generated)).toBeCloseTo(golden.frechet, 11);
  });

  it("is what PyTorch finds where covariances are singular: few samples, dead features, both", () => {
    expect(frechetDistance(real, few)).toBeCloseTo(golden.frechetFew, 6);
    expect(frechetDistance(few, real)).toBeCloseTo(golden.frechetFew, 6);
    expect(frechetDistance(dead, few)).toBeCloseTo(golden.frechetDead, 6);
    const [many, singular] = [features(8, 300, 96), features(9, 90, 96, 1.1, 0.05)];
    expect(frechetDistance(many, singular)).toBeCloseTo(golden.frechetWide, 5);
  });

  it("of independent features is Σ (μ₁ − μ₂)² + (σ₁ − σ₂)²", () => {
    const [a, b] = [independent([0, 1, -2], [1, 4, 0]), independent([3, 1, 1], [9, 0.25, 16])];
    expect(frechetDistance(a, b)).toBeCloseTo(9 + 0 + 9 + (1 - 3) ** 2 + (2 - 0.5) ** 2 + 4 ** 2, 12);
  });

  it("is zero between equal sets, singular ones included, and zero variances", () => {
    for (const set of [real, few, dead]) expect(frechetDistance(set, set)).toBeLessThan(1e-12);
    const zero = independent([1, 2], [0, 0]);
    expect(frechetDistance(zero, zero)).toBe(0);
    expect(frechetDistance(zero, independent([1, 2], [4, 9]))).toBe(13);
  });

  it("is symmetric, moves with no common shift, and grows with the square of the unit", () => {
    const distance = frechetDistance(real, generated);
    expect(frechetDistance(generated, real)).toBeCloseTo(distance, 12);
    const changed = (set: FeatureSet, scale: number, shift: number) =>
      new FeatureSet(
        set.data.map((x) => scale * x + shift),
        8,
      );
    expect(frechetDistance(changed(real, 1, 50), changed(generated, 1, 50))).toBeCloseTo(distance, 10);
    expect(frechetDistance(changed(real, 3, 0), changed(generated, 3, 0))).toBeCloseTo(9 * distance, 10);
  });

  it.each([2 ** -250, 2 ** 250, 2 ** 500])("does so in units of %d too, whose squares multiply beyond f64", (unit) => {
    const scaled = (set: FeatureSet) =>
      new FeatureSet(
        set.data.map((x) => unit * x),
        8,
      );
    expect(frechetDistance(scaled(real), scaled(generated)) / unit / unit).toBe(frechetDistance(real, generated));
  });

  it("is found for two samples of many features of very different sizes", () => {
    const pair = (seed: number) =>
      new FeatureSet(
        normal(seed, 400).map((x, at) => x * 10 ** (-(at % 200) / 2)),
        200,
      );
    expect(frechetDistance(pair(12), pair(12))).toBeLessThan(1e-12);
    expect(frechetDistance(pair(12), pair(13))).toBeGreaterThan(0.1);
  });

  it("does not depend on the basis that features are written in", () => {
    const turn = (set: FeatureSet) => {
      const data = set.data.slice();
      for (let i = 0; i < set.count; i++) {
        const [x, y] = [set.data[i * 8]!, set.data[i * 8 + 5]!];
        data[i * 8] = 0.6 * x - 0.8 * y;
        data[i * 8 + 5] = 0.8 * x + 0.6 * y;
      }
      return new FeatureSet(data, 8);
    };
    expect(frechetDistance(turn(real), turn(generated))).toBeCloseTo(frechetDistance(real, generated), 12);
  });

  it("refuses other dimensions, one sample, and statistics that are no numbers", () => {
    expect(() => frechetDistance(real, features(1, 9, 7))).toThrow(ShapeError);
    expect(() => frechetDistance(real, features(1, 1, 8))).toThrow(UsageError);
    expect(() => frechetDistance(real, independent([0, Number.NaN], [1, 1]))).toThrow(NonFiniteError);
    expect(() => frechetDistance(independent([0], [1]), independent([0], [Infinity]))).toThrow(NonFiniteError);
    const huge = new FeatureSet([1e200, -1e200], 1);
    expect(() => frechetDistance(huge, new FeatureSet([1, 2], 1))).toThrow(NonFiniteError);
    expect(() => frechetDistance(real, [1, 2] as unknown as FeatureSet)).toThrow(UsageError);
    expect(() => frechetDistance({ ...independent([0], [1]), dims: 2 }, real)).toThrow(ShapeError);
  });
});

describe("running statistics", () => {
  const data = new FeatureSet(
    normal(11, 600).map((x, at) => 1e6 + (at % 6) * x),
    6,
  );
  const parts = (sizes: readonly number[]): FeatureSet[] => {
    let first = 0;
    return sizes.map((size) => {
      first += size;
      return data.select(Array.from({ length: size }, (_, i) => first - size + i));
    });
  };
  const close = (a: GaussianStatistics, b: GaussianStatistics): void => {
    expect(a.count).toBe(b.count);
    for (const [i, x] of a.mean.entries()) expect(x / b.mean[i]!).toBeCloseTo(1, 14);
    for (const [i, x] of a.covariance.entries()) expect(x).toBeCloseTo(b.covariance[i]!, 9);
  };

  it("are those of all samples at once, whatever the batches and their order", () => {
    const whole = gaussianStatistics(data);
    for (const sizes of [
      [1, 99],
      [50, 50],
      [7, 1, 60, 32],
    ]) {
      const forwards = new RunningStatistics(6);
      const backwards = new RunningStatistics(6);
      for (const part of parts(sizes)) forwards.add(part);
      for (const part of parts(sizes).reverse()) backwards.add(part);
      close(forwards.gaussian(), whole);
      close(backwards.gaussian(), whole);
    }
  });

  it("are the definition's, far from zero too", () => {
    const { mean, covariance } = gaussianStatistics(data);
    const shifted = gaussianStatistics(
      new FeatureSet(
        data.data.map((x) => x - 1e6),
        6,
      ),
    );
    for (const [i, x] of covariance.entries()) expect(x).toBeCloseTo(shifted.covariance[i]!, 8);
    const column = Array.from({ length: 100 }, (_, i) => data.data[i * 6 + 2]! - mean[2]!);
    expect(covariance[2 * 6 + 2]).toBeCloseTo(column.reduce((sum, x) => sum + x * x, 0) / 99, 9);
  });

  it("merge", () => {
    const [first, second] = parts([30, 70]).map((part) => new RunningStatistics(6).add(part));
    close(first!.merge(second!).gaussian(), gaussianStatistics(data));
    const empty = new RunningStatistics(6);
    close(empty.merge(first!).merge(new RunningStatistics(6)).gaussian(), gaussianStatistics(data));
  });

  it("refuse other dimensions, and a covariance of one sample", () => {
    expect(() => new RunningStatistics(5).add(data)).toThrow(ShapeError);
    expect(() => new RunningStatistics(5).merge(new RunningStatistics(6))).toThrow(ShapeError);
    expect(() => new RunningStatistics(6).add(data.select([3])).covariance()).toThrow(UsageError);
    expect(() => new RunningStatistics(0)).toThrow(UsageError);
  });
});
