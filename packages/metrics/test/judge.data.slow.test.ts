// The classifier on all of MNIST, and the distances over its features: they tell real digits from slightly damaged ones.

import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { mnist } from "@figment/io";
import { evaluateSamples, evaluationTable, gaussianBlur, mnistClassifier, realImages } from "@figment/metrics";
import { assertNoLeaks } from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const data = process.env.FIGMENT_DATA;
let cache: string;
beforeAll(async () => {
  cache = await mkdtemp(path.join(os.tmpdir(), "figment-judge-"));
});
afterAll(async () => {
  await rm(cache, { recursive: true, force: true });
  assertNoLeaks();
});

describe.skipIf(!data)("the classifier trained on MNIST", () => {
  const folder = path.join(data ?? "", "mnist");

  it("reads 99 % of the test images, and puts slightly blurred training images far above the floor", {
    timeout: 1_200_000,
  }, async () => {
    const [train, test] = [await mnist(folder), await mnist(folder, { split: "test" })];
    const started = performance.now();
    const judge = await mnistClassifier({ data: { train, test }, cache });
    console.log(`${(100 * judge.accuracy).toFixed(2)} % in ${((performance.now() - started) / 1000).toFixed(0)} s`);
    expect(judge.accuracy).toBeGreaterThanOrEqual(0.99);
    const blurred = realImages(train, { seed: 1, transform: (images) => gaussianBlur(images, 0.7) });
    const evaluation = await evaluateSamples({
      data: { train, test },
      features: judge.features,
      sources: { "training images, blurred": blurred, "other training images": realImages(train, { seed: 1 }) },
    });
    console.log(evaluationTable(evaluation));
    const [damaged, real] = evaluation.rows.map(({ ratio }) => ratio) as [number, number];
    expect(real).toBeGreaterThan(0.7);
    expect(real).toBeLessThan(1.4);
    expect(damaged).toBeGreaterThan(3);
    judge.dispose();
  });
});
