// Every example in the documentation comments of @figment/metrics runs and says the truth.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { digits } from "@figment/io";
import * as metrics from "@figment/metrics";
import * as figment from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { examplesIn, exportsWithout, runExample } from "../../tensor/test/support/examples.js";
import { features } from "./numbers.js";

const examples = examplesIn(new URL("../src/", import.meta.url));
const random = figment.rng(1);
const images = random.uniform([8, 4, 4, 1]);
const [real, generated] = [features(1, 30, 3), features(2, 20, 3)];
const [train, test] = [digits({ count: 300 }), digits({ split: "test", count: 40 })];
const folder = mkdtempSync(join(tmpdir(), "figment-metrics-examples-"));
const before = process.cwd();
process.chdir(folder);
const classifier = await metrics.mnistClassifier({ data: { train, test }, cache: false, minAccuracy: 0 });
const digitImages = await metrics.realImages(test)(8, 0);
afterAll(() => {
  process.chdir(before);
  rmSync(folder, { recursive: true, force: true });
  for (const owner of [random, images, classifier, digitImages]) owner.dispose();
});

describe("examples", () => {
  it("are found", () => expect(examples.length).toBeGreaterThan(5));

  it("are there for everything public", () => expect(exportsWithout(examples, metrics)).toEqual([]));

  it.each(examples)("$name", async (example) => {
    const names = { images, random, real, generated, train, test, classifier, digitImages };
    await runExample(example, { ...figment, ...metrics, ...names });
  });
});
