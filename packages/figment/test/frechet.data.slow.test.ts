// The judge of digits trained on all of MNIST, and the distances over its features: they tell real digits from slightly damaged
// ones and from those that the public weights of a conditional WGAN-GP draw.

import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import {
  assertNoLeaks,
  evaluateSamples,
  evaluationTable,
  gaussianBlur,
  generate,
  importTorch,
  loadTorch,
  mnist,
  mnistClassifier,
  ResizeGenerator,
  realImages,
  resizeGeneratorNames,
  rng,
  type SampleSource,
  tensor,
} from "figment";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const data = process.env.FIGMENT_DATA ?? "";
let cache: string;
beforeAll(async () => {
  cache = await mkdtemp(path.join(os.tmpdir(), "figment-judge-"));
});
afterAll(async () => {
  await rm(cache, { recursive: true, force: true });
  assertNoLeaks();
});

/** The public generator; `draw` gives all digits in turn. */
async function publicGenerator(): Promise<{ draw: SampleSource; dispose(): void }> {
  const generator = new ResizeGenerator({ classes: 10 });
  const tensors = await loadTorch(path.join(data, "checkpoints", "cwgan-gp-mnist", "generator.pth"));
  importTorch(generator, tensors, { rules: resizeGeneratorNames(generator) });
  const random = rng(0);
  return {
    async draw(count, first) {
      const label = tensor(Int32Array.from({ length: count }, (_, i) => (first + i) % 10));
      const images = await generate(generator, { count, rng: random, label });
      label.dispose();
      return images;
    },
    dispose() {
      for (const owner of [generator, random, ...Object.values(tensors)]) owner.dispose();
    },
  };
}

describe.skipIf(!data)("the judge of digits", () => {
  const title =
    "reads 99 % of MNIST's test images, and puts real images at the floor, damaged and generated ones far above";
  it(title, { timeout: 1_800_000 }, async () => {
    const folder = path.join(data, "mnist");
    const [train, test] = [await mnist(folder), await mnist(folder, { split: "test" })];
    const started = performance.now();
    const judge = await mnistClassifier({ data: { train, test }, cache });
    console.log(`${(100 * judge.accuracy).toFixed(2)} % in ${((performance.now() - started) / 1000).toFixed(0)} s`);
    expect(judge.accuracy).toBeGreaterThanOrEqual(0.99);
    const wganGp = await publicGenerator();
    const blurred = (sigma: number) =>
      realImages(train, { seed: 1, transform: (images) => gaussianBlur(images, sigma) });
    const evaluation = await evaluateSamples({
      data: { train, test },
      features: judge.features,
      sources: {
        "other training images": realImages(train, { seed: 1 }),
        "blurred, σ = 0.5": blurred(0.5),
        "blurred, σ = 0.7": blurred(0.7),
        "public WGAN-GP": wganGp.draw,
      },
    });
    console.log(evaluationTable(evaluation));
    const [real, slightly, more, drawn] = evaluation.rows.map(({ ratio }) => ratio) as [number, number, number, number];
    expect(real).toBeGreaterThan(0.7);
    expect(real).toBeLessThan(1.4);
    expect(slightly).toBeGreaterThan(2);
    expect(more).toBeGreaterThan(slightly);
    expect(drawn).toBeGreaterThan(10);
    judge.dispose();
    wganGp.dispose();
  });
});
