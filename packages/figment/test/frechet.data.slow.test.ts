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
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { figment } from "./support/command.js";

const data = process.env.FIGMENT_DATA ?? "";
let home: string;
beforeAll(async () => {
  home = await mkdtemp(path.join(os.tmpdir(), "figment-judge-"));
  vi.stubEnv("XDG_CACHE_HOME", home);
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await rm(home, { recursive: true, force: true });
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
    const judge = await mnistClassifier({ data: { train, test } });
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

  it("judges what a trained model draws, by the command", { timeout: 1_800_000 }, async () => {
    const out = path.join(home, "run");
    const folder = path.join(data, "mnist");
    const short = ["--steps", "4", "--batch", "8", "--sample-steps", "2", "--set", "model.channels=8,16"];
    expect((await figment(["train", "ddpm-mnist", "--data", folder, "--out", out, ...short])).code).toBe(0);
    const { code, stdout, stderr } = await figment(["evaluate", out, "--samples", "200", "--json"]);
    expect(code, stderr).toBe(0);
    const scores = JSON.parse(stdout);
    expect(scores).toMatchObject({ denoisingLoss: expect.any(Number), samples: 200 });
    // Noise is far from digits, and agrees with labels by chance.
    expect(scores.frechetRatio).toBeGreaterThan(20);
    expect(scores.labelAgreement).toBeLessThan(0.3);
    expect(scores.digitShares.reduce((sum: number, share: number) => sum + share, 0)).toBeCloseTo(1, 6);
  });

  it("judges what a generator draws that is told no classes", { timeout: 1_800_000 }, async () => {
    const out = path.join(home, "game");
    const short = ["--steps", "2", "--set", "generator.channels=[4,2,2]", "--set", "critic.channels=[2,4,4]"];
    const trained = await figment(["train", "dcgan-mnist", "--data", path.join(data, "mnist"), "--out", out, ...short]);
    expect(trained.code, trained.stderr).toBe(0);
    const { code, stdout, stderr } = await figment(["evaluate", out, "--samples", "200", "--json"]);
    expect(code, stderr).toBe(0);
    const scores = JSON.parse(stdout);
    expect(scores.frechetRatio).toBeGreaterThan(20);
    expect(scores).not.toHaveProperty("labelAgreement");
  });
});
