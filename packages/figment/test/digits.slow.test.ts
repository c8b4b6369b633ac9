import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { assertNoLeaks, digits, openModel, rng, type Tensor, tensor } from "figment";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Judge, trainJudge } from "./support/classifier.js";
import { firstLight } from "./support/firstLight.js";

let judge: Judge;
let folder: string;
beforeAll(async () => {
  judge = await trainJudge();
  folder = await mkdtemp(path.join(os.tmpdir(), "figment-digits-"));
});
afterAll(async () => {
  judge.dispose();
  await rm(folder, { recursive: true, force: true });
  assertNoLeaks();
});

describe("the judge", () => {
  it("knows digits that it has not seen, in seen and in held-out styles", async () => {
    expect(await judge.accuracy(digits({ split: "test", seed: 9 }), 2000)).toBeGreaterThanOrEqual(0.97);
    expect(await judge.accuracy(digits({ split: "test", styles: "heldOut", seed: 9 }), 2000)).toBeGreaterThanOrEqual(
      0.97,
    );
  });
});

describe("npm start", () => {
  const title = "learns to draw digits: of 640 samples, 90 % get a label with confidence 0.9, and every digit occurs";
  it(title, { timeout: 1_800_000 }, async () => {
    await firstLight(folder);
    const model = await openModel(folder);
    const random = rng(123);
    const labels = tensor(Int32Array.from({ length: 128 }, (_, i) => i % 10));
    const counts = new Array<number>(10).fill(0);
    let confident = 0;
    for (let k = 0; k < 5; k++) {
      const images = (await model.sample?.(128, { rng: random, label: labels })) as Tensor;
      for (const { label, confidence } of await judge.classify(images)) {
        if (confidence < 0.9) continue;
        confident++;
        counts[label] = (counts[label] ?? 0) + 1;
      }
      images.dispose();
    }
    console.log(`confident: ${confident} of 640; by digit: ${counts.join(" ")}`);
    expect(confident).toBeGreaterThanOrEqual(576);
    expect(Math.min(...counts)).toBeGreaterThan(0);
    for (const owner of [random, labels, model]) owner.dispose();
  });
});
