// Every example in the documentation comments of @figment/tensor runs and says the truth, in a folder of its own.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as figment from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { randomCategorical } from "#ops/categorical";
import { randomNormal, randomUniform } from "#ops/random";
import { randomInteger } from "#ops/randomInteger";
import { examplesIn, exportsWithout, runExample } from "./support/examples.js";

const examples = examplesIn(new URL("../src/", import.meta.url));
const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
/** The README's programs, without their imports. */
const programs = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code = ""], i) => ({
  name: `README ${i + 1}`,
  code: code.replace(/^import .*$/gm, ""),
}));
const state = figment.rng(0).cell.value;
const folder = mkdtempSync(join(tmpdir(), "figment-examples-"));
const before = process.cwd();
beforeAll(() => process.chdir(folder));
afterAll(() => {
  state.dispose();
  process.chdir(before);
  rmSync(folder, { recursive: true });
});

describe("examples", () => {
  it("are found", () => expect(examples.length).toBeGreaterThan(80));

  it("are there for everything public", () => expect(exportsWithout(examples, figment)).toEqual([]));

  it("of the README are found", () => expect(programs).toHaveLength(5));

  it.each([...programs, ...examples])("$name", async (example) => {
    await runExample(example, { ...figment, randomCategorical, randomInteger, randomNormal, randomUniform, state });
  });
});
