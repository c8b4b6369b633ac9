// Every example in the documentation comments of @figment/nn runs and says the truth.

import * as nn from "@figment/nn";
import { Linear } from "@figment/nn";
import * as figment from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { examplesIn, exportsWithout, runExample } from "../../tensor/test/support/examples.js";

const examples = examplesIn(new URL("../src/", import.meta.url));
const model = new Linear(2, 1).init(figment.rng(0));
const [x, y] = [figment.tensor([[1, 2]]), figment.tensor([[3]])];
afterAll(() => {
  for (const owner of [model, x, y]) owner.dispose();
});

describe("examples", () => {
  it("are found", () => expect(examples.length).toBeGreaterThan(20));

  it("are there for everything public", () => expect(exportsWithout(examples, nn)).toEqual([]));

  it.each(examples)("$name", async (example) => {
    await runExample(example, { ...figment, ...nn, model, x, y });
  });
});
