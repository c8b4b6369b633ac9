// Every example in the documentation comments of @figment/io runs and says the truth, in a folder of its own.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as io from "@figment/io";
import * as figment from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { examplesIn, exportsWithout, runExample } from "../../tensor/test/support/examples.js";
import { pickle, storage, str, torchZip, view } from "./torchBytes.js";

const examples = examplesIn(new URL("../src/", import.meta.url));
const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
/** The README's programs, without their imports. */
const programs = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code = ""], i) => ({
  name: `README ${i + 1}`,
  code: code.replace(/^import .*$/gm, ""),
}));
const images = figment.zeros([2, 4, 4, 1]);
const [weight, bias] = [figment.ones([2, 2]), figment.ones([2])];
const cell = new figment.Cell({ shape: [2], initial: () => [1, 2] });
const model: figment.Stateful = {
  captureState: () => ({ cells: { weight: cell }, json: null }),
  restoreState: ({ tensors }) => figment.restoreCells("model", { weight: cell }, tensors),
};
const folder = mkdtempSync(join(tmpdir(), "figment-io-examples-"));
const before = process.cwd();

/** MNIST's test files with one image. */
function writeMnist(at: string): void {
  const idx = (magic: number, shape: readonly number[], data: Uint8Array) => {
    const header = Uint8Array.from(
      [magic, ...shape].flatMap((n) => [n >>> 24, n >>> 16, n >>> 8, n].map((b) => b & 255)),
    );
    return Buffer.concat([header, data]);
  };
  mkdirSync(at, { recursive: true });
  writeFileSync(join(at, "t10k-images-idx3-ubyte"), idx(0x803, [1, 28, 28], new Uint8Array(784)));
  writeFileSync(join(at, "t10k-labels-idx1-ubyte"), idx(0x801, [1], Uint8Array.of(5)));
}

/** A PyTorch file with a layer's weight [2,3] and bias [2]. */
async function writeTorch(at: string): Promise<void> {
  const weight = view(storage("0", 6), 0, [2, 3], [3, 1]);
  const bias = view(storage("1", 2), 0, [2], [1]);
  const body = pickle("}(", str("conv.weight"), weight, str("conv.bias"), bias, "u");
  writeFileSync(at, await torchZip(body, { 0: new Uint8Array(24), 1: new Uint8Array(8) }));
}

beforeAll(async () => {
  process.chdir(folder);
  // Examples do not depend on the network: it says what it says where there is none.
  vi.stubGlobal("fetch", () => Promise.reject(new TypeError("no network")));
  writeMnist("data/mnist");
  await writeTorch("weights.pth");
  mkdirSync("data/cifar10");
  writeFileSync("data/cifar10/test_batch.bin", new Uint8Array(2 * 3073));
  await io.saveTensors("model.safetensors", { "encoder.weight": weight });
  await io.saveTensors("layer.safetensors", { weight, bias });
  await io.saveImage("emoji/smile.png", images.at(0));
});
afterAll(() => {
  vi.unstubAllGlobals();
  process.chdir(before);
  rmSync(folder, { recursive: true, force: true });
  for (const tensor of [images, weight, bias, cell]) tensor.dispose();
});

describe("examples", () => {
  it("are found", () => expect(examples.length).toBeGreaterThan(25));

  it("are there for everything public", () => expect(exportsWithout(examples, io)).toEqual([]));

  it("of the README are found", () => expect(programs).toHaveLength(3));

  it.each([...examples, ...programs])("$name", async (example) => {
    await runExample(example, { ...figment, ...io, images, weight, bias, model, frames: [images, images] });
  });
});
