import { createHash } from "node:crypto";
import { digits } from "@figment/io";
import { assertNoLeaks, UsageError } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { skeletons, stylesOf } from "#data/digits/skeletons";
import { seeded } from "./support.js";

afterAll(() => assertNoLeaks());

const hash = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

describe("the embedded digits", () => {
  it("are a pure function of seed and index, in whatever order they are asked for", () => {
    const random = seeded(301);
    const forwards = digits({ seed: 5, count: 300 });
    const inOrder = Array.from({ length: 300 }, (_, i) => hash(forwards.get(i).image));
    const again = digits({ seed: 5, count: 300 });
    for (let k = 0; k < 300; k++) {
      const i = random.below(300);
      expect(hash(again.get(i).image)).toBe(inOrder[i]);
    }
  });

  it("are all different from each other, from those of other seeds, and from the test split", () => {
    const images = [{ seed: 1 }, { seed: 2 }, { seed: 1, split: "test" as const }, { seed: 2 ** 40 }].flatMap(
      (options) => {
        const set = digits({ ...options, count: 500 });
        return Array.from({ length: 500 }, (_, i) => hash(set.get(i).image));
      },
    );
    expect(new Set(images).size).toBe(2000);
  });

  it("have every class once in any ten in a row", () => {
    const set = digits();
    expect(set.length).toBe(60_000);
    const labels = Array.from({ length: 1000 }, (_, i) => set.get(i).label);
    expect(labels).toEqual(labels.map((_, i) => i % 10));
  });

  it("are written in several styles each, the last of which is held out of training", () => {
    for (let digit = 0; digit < 10; digit++) {
      const all = skeletons[digit] as (typeof skeletons)[number];
      expect(all.length).toBeGreaterThanOrEqual(5);
      expect(stylesOf(digit, "train")).toEqual(all.slice(0, -1));
      expect(stylesOf(digit, "heldOut")).toEqual(all.slice(-1));
    }
  });

  it("are light on a black border, and use between 4 % and 40 % of the image", () => {
    for (const size of [16, 28, 32, 64]) {
      const set = digits({ size, count: 500, styles: "all" });
      for (let i = 0; i < set.length; i++) {
        const { image } = set.get(i);
        expect(image.length).toBe(size * size);
        const ink = image.reduce((sum, value) => sum + value, 0) / 255 / image.length;
        expect(ink).toBeGreaterThan(0.02);
        expect(ink).toBeLessThan(0.4);
        const edge = image.filter(
          (_, k) => k < size || k >= size * (size - 1) || k % size === 0 || k % size === size - 1,
        );
        expect(Math.max(...edge)).toBeLessThan(64);
      }
    }
  });

  it("are told apart by the nearest mean image well above chance, held-out styles too", () => {
    const train = digits({ seed: 11, count: 4000 });
    const means = Array.from({ length: 10 }, () => new Float64Array(784));
    for (let i = 0; i < train.length; i++) {
      const { image, label } = train.get(i);
      const mean = means[label] as Float64Array;
      for (let k = 0; k < 784; k++) mean[k] = (mean[k] as number) + (image[k] as number) / 400;
    }
    const accuracy = (styles: "train" | "heldOut") => {
      const test = digits({ seed: 12, count: 1000, styles, split: "test" });
      let right = 0;
      for (let i = 0; i < test.length; i++) {
        const { image, label } = test.get(i);
        const distances = means.map((mean) =>
          mean.reduce((sum, value, k) => sum + (value - (image[k] as number)) ** 2, 0),
        );
        if (distances.indexOf(Math.min(...distances)) === label) right++;
      }
      return right / test.length;
    };
    expect(accuracy("train")).toBeGreaterThan(0.6);
    expect(accuracy("heldOut")).toBeGreaterThan(0.6);
  });

  it("refuse options and indices out of range", () => {
    expect(() => digits({ seed: 0.5 })).toThrow(UsageError);
    expect(() => digits({ size: 4 })).toThrow(/size must be an integer from 8/);
    expect(() => digits({ count: 0 })).toThrow(UsageError);
    expect(() => digits({ styles: "new" as "train" })).toThrow(/styles must be/);
    expect(() => digits({ count: 10 }).get(10)).toThrow(/no item 10; the items are 0 to 9/);
  });
});
