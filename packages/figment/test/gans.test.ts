// The recipes of adversarial games: each plays a few rounds on a small set, leaves what runs leave, and its model draws.

import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { assertNoLeaks, openModel, recipes, rng, runRecipe, tensor, UsageError } from "figment";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

let folder: string;
const inFolder = (name: string): string => path.join(folder, name);

/** An IDX file: its extents, then its bytes. */
const idx = (extents: readonly number[], bytes: Uint8Array): Buffer => {
  const header = Buffer.alloc(4 + 4 * extents.length);
  header.set([0, 0, 8, extents.length]);
  for (const [i, extent] of extents.entries()) header.writeUInt32BE(extent, 4 + 4 * i);
  return Buffer.concat([header, bytes]);
};

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "figment-gans-"));
  const count = 80;
  const pixels = Uint8Array.from({ length: count * 28 * 28 }, (_, i) => (i * 37) % 256);
  await writeFile(inFolder("train-images-idx3-ubyte"), idx([count, 28, 28], pixels));
  await writeFile(
    inFolder("train-labels-idx1-ubyte"),
    idx(
      [count],
      Uint8Array.from({ length: count }, (_, i) => i % 10),
    ),
  );
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  assertNoLeaks();
});

const small = ["batch=4", "generator.channels=[4,2]", "critic.channels=[2,4]", "generator.latents=5", "sampleEvery=1"];
const cases: Readonly<Record<string, readonly string[]>> = {
  "dcgan-mnist": ["game.r1=1", "game.r1Every=2"],
  "wgan-clip-mnist": ["game.criticSteps=2"],
  "wgan-gp-mnist": ["game.criticSteps=2", "generator.kind=resize"],
  "cgan-mnist": ["game.criticSteps=2"],
};

describe.each(Object.entries(cases))("%s", (name, overrides) => {
  it("plays, and its model draws and interpolates", async () => {
    const recipe = recipes[name];
    expect(recipe).toBeDefined();
    if (!recipe) return;
    const out = inFolder(name);
    const summary = await runRecipe(recipe, { out, overrides: ["steps=2", `data=${folder}`, ...small, ...overrides] });
    expect(summary).toMatchObject({ recipe: name, steps: 2 });
    expect(await readdir(out)).toEqual(expect.arrayContaining(["model.safetensors", "samples.png", "summary.json"]));
    expect(await readdir(path.join(out, "samples"))).toEqual(["samples-000001.png", "samples-000002.png"]);
    const model = await openModel(out);
    const random = rng(1);
    const label = name === "cgan-mnist" ? tensor([7, 7, 7], { dtype: "i32" }) : undefined;
    const images = await model.sample?.(3, { rng: random, ...(label ? { label } : {}) });
    expect(images?.shape).toEqual([3, 28, 28, 1]);
    const ways = await model.interpolate?.({ rng: random, count: 2, frames: 4 });
    expect(ways?.shape).toEqual([8, 28, 28, 1]);
    for (const owned of [label, images, ways, random, model]) owned?.dispose();
  });
});

describe("gan-gaussians", () => {
  it("plays, measures itself, and draws its points", async () => {
    const recipe = recipes["gan-gaussians"];
    expect(recipe).toBeDefined();
    if (!recipe) return;
    const out = inFolder("points");
    const summary = await runRecipe(recipe, { out, overrides: ["steps=3", "batch=8", "hidden=[8]", "criticSteps=2"] });
    expect(summary).toMatchObject({ steps: 3, modes: expect.any(Number), quality: expect.any(Number) });
    const model = await openModel(out);
    const random = rng(1);
    const pictures = await model.sample?.(2, { rng: random });
    expect(pictures?.shape).toEqual([2, 256, 256, 1]);
    for (const owned of [pictures, random, model]) owned?.dispose();
  });
});

describe("recipes of games refuse", () => {
  it.each([
    ["game.objective=wasserstain", /game\.objective: expected minimax or nonSaturating or/],
    ["game.criticSteps=0", /game\.criticSteps: expected an integer from 1 to 1000/],
    ["critic.channels=[2,2,2,2,2,2]", /28×28 cannot be halved 6 times/],
  ])("%s", async (override, message) => {
    const overrides = ["steps=1", `data=${folder}`, override];
    const run = runRecipe(recipes["dcgan-mnist"] as never, { out: inFolder("refused"), overrides });
    await expect(run).rejects.toThrow(UsageError);
    await expect(run).rejects.toThrow(message);
  });
});
