// Every example in the documentation comments of @figment/diffusion runs and says the truth.

import * as diffusionPackage from "@figment/diffusion";
import { cosineBetas, Diffusion, ddim, UNet } from "@figment/diffusion";
import * as nn from "@figment/nn";
import * as figment from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { examplesIn, exportsWithout, runExample } from "../../tensor/test/support/examples.js";

const examples = examplesIn(new URL("../src/", import.meta.url));
const diffusion = new Diffusion({ betas: cosineBetas(20) });
const model = new UNet({ inChannels: 1, channels: [4] }).init(figment.rng(0));
const random = figment.rng(1);
const images = random.normal([2, 8, 8, 1]);
const options = { shape: [1, 8, 8, 1], sampler: ddim({ steps: 2 }), rng: random };
afterAll(() => {
  for (const owner of [diffusion, model, random, images]) owner.dispose();
});

describe("examples", () => {
  it("are found", () => expect(examples.length).toBeGreaterThan(10));

  it("are there for everything public", () => expect(exportsWithout(examples, diffusionPackage)).toEqual([]));

  it.each(examples)("$name", async (example) => {
    await runExample(example, { ...figment, ...nn, ...diffusionPackage, diffusion, model, images, options, random });
  });
});
