// Every example in the documentation comments of @figment/nn runs and says the truth, in a folder of its own.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { digits, saveLossCurve } from "@figment/io";
import * as nn from "@figment/nn";
import { AdamW, compileStep, Linear, mse } from "@figment/nn";
import * as figment from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { examplesIn, exportsWithout, runExample } from "../../tensor/test/support/examples.js";

const examples = examplesIn(new URL("../src/", import.meta.url));
const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
const model = new Linear(2, 1).init(figment.rng(0));
const [x, y] = [figment.tensor([[1, 2]]), figment.tensor([[3]])];
const folder = mkdtempSync(join(tmpdir(), "figment-nn-examples-"));
const before = process.cwd();

/** A step that learns to give back small images, and four batches for it. */
function training() {
  const net = new Linear(64, 64).init(figment.rng(0));
  const step = compileStep(net, new AdamW(net), (layer, { image }: { image: figment.Tensor }) => {
    const flat = image.reshape([2, 64]);
    return mse(layer.forward(flat), flat);
  });
  return { step, batches: digits({ count: 8, size: 8 }).loader({ batchSize: 2, steps: 4 }) };
}

beforeAll(() => process.chdir(folder));
afterAll(() => {
  process.chdir(before);
  rmSync(folder, { recursive: true, force: true });
  for (const owner of [model, x, y]) owner.dispose();
});

describe("examples", () => {
  it("are found", () => expect(examples.length).toBeGreaterThan(20));

  it("are there for everything public", () => expect(exportsWithout(examples, nn)).toEqual([]));

  it("of the README runs, with fewer steps than are drawn there", async () => {
    const [, program = ""] = /```ts\n([\s\S]*?)```/.exec(readme) ?? [];
    const code = program
      .replace(/^import .*$/gm, "")
      .replaceAll("300", "2")
      .replace("warmup: 20", "warmup: 1");
    await runExample({ name: "README", code }, { ...figment, ...nn, digits, saveLossCurve });
    expect(readFileSync(join(folder, "loss.svg"), "utf8")).toContain("A classifier of digits");
  });

  it.each(examples)("$name", async (example) => {
    await runExample(example, { ...figment, ...nn, ...training(), model, x, y });
  });
});
