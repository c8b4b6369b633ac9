// Every example in the documentation comments of @figment/gan runs and says the truth.

import * as gan from "@figment/gan";
import * as nn from "@figment/nn";
import * as figment from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { examplesIn, exportsWithout, runExample } from "../../tensor/test/support/examples.js";

const examples = examplesIn(new URL("../src/", import.meta.url));
const random = figment.rng(1);
afterAll(() => random.dispose());

describe("examples", () => {
  it("are found", () => expect(examples.length).toBeGreaterThan(20));

  it("are there for everything public", () => expect(exportsWithout(examples, gan)).toEqual([]));

  it.each(examples)("$name", async (example) => {
    await runExample(example, { ...figment, ...nn, ...gan, random });
  });
});
