// Losses where a formula that is right on paper loses its digits.

import { grad, type Tensor, tensor } from "@figment/tensor";
import { describe, expect, it } from "vitest";
import { binaryCrossEntropyWithLogits } from "#losses";

describe("binaryCrossEntropyWithLogits", () => {
  it.each([1, 10, 16, 18, 20, 60])("keeps its digits where logits of ±%d are sure and right", async (x) => {
    const exact = Math.log1p(Math.exp(-x));
    for (const [logit, target] of [
      [x, 1],
      [-x, 0],
    ] as const) {
      const loss = await binaryCrossEntropyWithLogits(tensor([logit]), tensor([target])).item();
      expect(Math.abs(loss / exact - 1)).toBeLessThan(1e-5);
    }
  });

  it("has the slope σ(x) − y, at 0 too", async () => {
    const slope = grad((x: Tensor) => binaryCrossEntropyWithLogits(x, tensor([1, 0, 0.25])));
    const [a, b, c] = (await slope(tensor([0, 0, 0])).array()) as number[];
    expect(a).toBeCloseTo(-1 / 6, 6);
    expect(b).toBeCloseTo(1 / 6, 6);
    expect(c).toBeCloseTo(1 / 12, 6);
  });

  it("has the curvature σ(x)·(1 − σ(x)), at 0 too", async () => {
    const loss = (x: Tensor) => binaryCrossEntropyWithLogits(x, tensor([1]));
    const curvature = grad((x: Tensor) => grad(loss)(x).sum());
    for (const x of [-3, 0, 2]) {
      const sigmoid = 1 / (1 + Math.exp(-x));
      expect(((await curvature(tensor([x])).array()) as number[])[0]).toBeCloseTo(sigmoid * (1 - sigmoid), 6);
    }
  });
});
