// Every example in the documentation comments of figment runs and says the truth, in a folder of its own.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as figment from "figment";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { examplesIn, runExample } from "../../tensor/test/support/examples.js";
import { firstLight } from "./support/firstLight.js";

const examples = examplesIn(new URL("../src/", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "figment-examples-"));
const before = process.cwd();

beforeAll(async () => {
  process.chdir(folder);
  await firstLight("out/first-light", { steps: 2, batch: 2, sampleSteps: 2 });
});
afterAll(() => {
  process.chdir(before);
  rmSync(folder, { recursive: true, force: true });
});

describe("examples", () => {
  it("are there for what the package adds to those that it joins", () => {
    const shown = examples.map(({ name }) => name);
    for (const added of ["defineRecipe", "findRecipe", "openModel", "precisionOf", "recipes", "runRecipe"])
      expect(shown.some((name) => name.endsWith(added))).toBe(true);
  });

  it.each(examples)("$name", async (example) => {
    await runExample(example, { ...figment });
  });
});
