import { FeatureSet, inceptionScore } from "@figment/metrics";
import { UsageError } from "@figment/tensor";
import { describe, expect, it } from "vitest";
import { features, golden } from "./numbers.js";

const logits = new FeatureSet(
  features(10, 120, 5).data.map((x) => 6 * x),
  5,
);
/** `count` rows that are sure of class i mod `classes`. */
const sure = (count: number, classes: number): FeatureSet =>
  new FeatureSet(
    Array.from({ length: count * classes }, (_, at) => Number(at % classes === Math.floor(at / classes) % classes)),
    classes,
  );

describe("the inception score", () => {
  it("is what PyTorch finds", () => {
    const { mean, std } = inceptionScore(logits, { splits: 4 });
    expect(mean).toBeCloseTo(golden.inceptionScore.mean, 11);
    expect(std).toBeCloseTo(golden.inceptionScore.std, 11);
  });

  it("is the number of classes where all are sure and balanced, 1 where one class or doubt is all there is", () => {
    expect(inceptionScore(sure(60, 6), { splits: 2, of: "probabilities" })).toEqual({
      mean: expect.closeTo(6, 12),
      std: 0,
    });
    expect(inceptionScore(new FeatureSet(new Float64Array(40).fill(0.25), 4), { of: "probabilities" }).mean).toBe(1);
    const one = new FeatureSet(
      Array.from({ length: 40 }, (_, at) => Number(at % 4 === 2)),
      4,
    );
    expect(inceptionScore(one, { of: "probabilities" }).mean).toBeCloseTo(1, 12);
  });

  it("does not change when a number is added to all logits of a row, however large they are", () => {
    const shifted = new FeatureSet(
      logits.data.map((x, at) => x + 1000 * (Math.floor(at / 5) % 3)),
      5,
    );
    expect(inceptionScore(shifted).mean).toBeCloseTo(inceptionScore(logits).mean, 9);
  });

  it("is 1 where all images are surely of one class and the others' shares are nothing", () => {
    expect(inceptionScore(new FeatureSet([0, -1000, 0, -1000], 2), { splits: 1 }).mean).toBe(1);
  });

  it("refuses more parts than samples, and rows that are no probabilities", () => {
    expect(() => inceptionScore(sure(5, 2))).toThrow(UsageError);
    expect(() => inceptionScore(logits, { of: "probabilities" })).toThrow("a row is no probabilities");
    expect(() => inceptionScore(logits, { of: "scores" as "logits" })).toThrow(UsageError);
    expect(() => inceptionScore([1] as unknown as FeatureSet)).toThrow(UsageError);
  });
});
