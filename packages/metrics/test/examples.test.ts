// Every example in the documentation comments of @figment/metrics runs and says the truth.

import * as metrics from "@figment/metrics";
import * as figment from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { examplesIn, exportsWithout, runExample } from "../../tensor/test/support/examples.js";
import { features } from "./numbers.js";

const examples = examplesIn(new URL("../src/", import.meta.url));
const random = figment.rng(1);
const images = random.uniform([8, 4, 4, 1]);
const [real, generated] = [features(1, 30, 3), features(2, 20, 3)];
afterAll(() => {
  for (const owner of [random, images]) owner.dispose();
});

describe("examples", () => {
  it("are found", () => expect(examples.length).toBeGreaterThan(5));

  it("are there for everything public", () => expect(exportsWithout(examples, metrics)).toEqual([]));

  it.each(examples)("$name", async (example) => {
    await runExample(example, { ...figment, ...metrics, images, random, real, generated });
  });
});
