// Every example in the documentation comments of @figment/vae runs and says the truth.

import * as io from "@figment/io";
import * as nn from "@figment/nn";
import * as figment from "@figment/tensor";
import * as vaePackage from "@figment/vae";
import { DenseDecoder, DenseEncoder, VAE } from "@figment/vae";
import { afterAll, describe, expect, it } from "vitest";
import { examplesIn, exportsWithout, runExample } from "../../tensor/test/support/examples.js";

const examples = examplesIn(new URL("../src/", import.meta.url));
const encoder = new DenseEncoder({ image: [8, 8, 1], hidden: [16], features: 8 });
const decoder = new DenseDecoder({ latents: 4, hidden: [16], image: [8, 8, 1] });
const model = new VAE({ encoder, decoder }).init(figment.rng(0));
const random = figment.rng(1);
const images = random.uniform([3, 8, 8, 1]);
afterAll(() => {
  for (const owner of [model, random, images]) owner.dispose();
});

describe("examples", () => {
  it("are found", () => expect(examples.length).toBeGreaterThan(30));

  it("are there for everything public", () => expect(exportsWithout(examples, vaePackage)).toEqual([]));

  it.each(examples)("$name", async (example) => {
    await runExample(example, { ...figment, ...io, ...nn, ...vaePackage, model, images });
  });
});
