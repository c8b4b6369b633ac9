// The recipes of autoencoders: each trains, and its model samples, reconstructs, interpolates and measures from its file.

import { access, mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import {
  assertNoLeaks,
  digits,
  findRecipe,
  loadTensors,
  openModel,
  type Recipe,
  rng,
  runRecipe,
  type Tensor,
  tensor,
} from "figment";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const side = 28;
let folder: string;

/** Writes IDX files of embedded digits, as MNIST has them. */
async function writeIdx(stem: string, count: number, split: "train" | "test"): Promise<void> {
  const set = digits({ count, split });
  const items = Array.from({ length: count }, (_, i) => set.get(i));
  const header = (type: number, ...extents: number[]): Buffer => {
    const bytes = Buffer.alloc(4 + 4 * extents.length);
    bytes.writeUInt32BE(type, 0);
    extents.forEach((extent, i) => {
      bytes.writeUInt32BE(extent, 4 + 4 * i);
    });
    return bytes;
  };
  const images = Buffer.concat([header(0x803, count, side, side), ...items.map(({ image }) => image)]);
  await writeFile(path.join(folder, `${stem}-images-idx3-ubyte`), images);
  const labels = Buffer.concat([header(0x801, count), Buffer.from(items.map(({ label }) => label))]);
  await writeFile(path.join(folder, `${stem}-labels-idx1-ubyte`), labels);
}

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "figment-vae-recipes-"));
  await writeIdx("train", 40, "train");
  await writeIdx("t10k", 12, "test");
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  assertNoLeaks();
});

const small = ["steps=3", "batch=8", "optimizer.warmup=1"];
const latent = [...small, "objective.warmup=2", "evaluateK=3"];
const narrow: Readonly<Record<string, readonly string[]>> = {
  "vae-mnist": [...latent, "model.latents=2", "model.hidden=16"],
  "conv-vae-mnist": [...latent, "model.latents=4", "model.channels=8,8", "model.hidden=16", "sampleEvery=2"],
  "beta-vae": [...latent, "model.latents=3", "model.channels=8,8", "model.hidden=16"],
  "cvae-mnist": [...latent, "model.latents=4", "model.hidden=16"],
  "iwae-mnist": [...latent, "model.latents=4", "model.hidden=16", "objective.k=2"],
  "ladder-vae-mnist": [...latent, "model.latents=4,2", "model.hidden=16,8"],
  "discrete-vae-mnist": [...latent, "model.variables=3", "model.classes=4", "model.hidden=16"],
  "vqvae-mnist": [...small, "model.channels=8,8", "model.codes=16", "model.dim=4"],
};

/** Frees images once their shape has been looked at. */
const shapeOf = async (images: Promise<Tensor> | undefined): Promise<readonly number[] | undefined> => {
  const given = await images;
  given?.dispose();
  return given?.shape;
};

describe.each(Object.entries(narrow))("%s", (name, overrides) => {
  it("trains, and its model can do from its file what it should", async () => {
    const out = path.join(folder, name);
    const recipe = await findRecipe(name);
    const summary = await runRecipe(recipe, { out, overrides: [...overrides, `data=${folder}`] });
    expect(summary).toMatchObject({ recipe: name, steps: 3, finalLoss: expect.any(Number) });
    await access(path.join(out, "reconstructions.png"));
    const pictures: Readonly<Record<string, string>> = { "vae-mnist": "manifold.png", "beta-vae": "traversal.png" };
    if (pictures[name]) await access(path.join(out, pictures[name]));
    const model = await openModel(out);
    expect(model.classes).toBe(name === "cvae-mnist" ? 10 : 0);
    const random = rng(1);
    const images = random.uniform([4, side, side, 1]);
    if (name !== "vqvae-mnist") expect(await shapeOf(model.sample?.(5, { rng: random }))).toEqual([5, side, side, 1]);
    const label = tensor([3, 1, 4, 1], { dtype: "i32" });
    expect(await shapeOf(model.reconstruct?.(images, { rng: random, label }))).toEqual([4, side, side, 1]);
    label.dispose();
    if (name === "cvae-mnist")
      await expect(model.reconstruct?.(images, { rng: random })).rejects.toThrow(/needs the label of each image/);
    if (model.interpolate)
      for (const ends of [{}, { images }]) {
        const rows = model.interpolate({ rng: random, count: 2, frames: 3, ...ends });
        expect(await shapeOf(rows)).toEqual([6, side, side, 1]);
      }
    const test = await recipe.dataset?.({ ...recipe.config, data: folder }, "test");
    if (!test) throw new Error("there is no test set");
    expect(test.length).toBe(12);
    const numbers = await model.evaluate?.(test, { rng: random });
    const expected =
      name === "vqvae-mnist"
        ? ["psnrDb", "codesUsed"]
        : ["binarisedNegativeElboNats", "binarisedNegativeIwae3Nats", "greyNegativeElboNats", "greyKlNats"];
    for (const key of expected) expect(numbers?.[key], key).toBeTypeOf("number");
    for (const owner of [model, random, images]) owner.dispose();
  });
});

describe("a likelihood", () => {
  const likelihoods = ["gaussian", "pixel-gaussian", "logistic"];
  const models = ["vae-mnist", "conv-vae-mnist", "ladder-vae-mnist", "discrete-vae-mnist"];
  it.each(likelihoods.map((likelihood, i) => [likelihood, models[i] as string]))(
    "%s of grey pixels trains %s, and is measured in bits",
    async (likelihood, name) => {
      const out = path.join(folder, likelihood);
      const recipe = await findRecipe(name);
      const overrides = [...(narrow[name] as string[]), "binarise=false", `likelihood=${likelihood}`, `data=${folder}`];
      await runRecipe(recipe, { out, overrides });
      const model = await openModel(out);
      const random = rng(1);
      const test = await recipe.dataset?.({ ...recipe.config, data: folder }, "test");
      if (!test) throw new Error("there is no test set");
      const numbers = await model.evaluate?.(test, { rng: random });
      expect(numbers).toMatchObject({ greyNegativeElboNats: expect.any(Number), bitsPerDim: expect.any(Number) });
      for (const owner of [model, random]) owner.dispose();
    },
  );

  it("of grey pixels is refused where pixels are drawn black or white", async () => {
    const recipe = await findRecipe("vae-mnist");
    const overrides = ["likelihood=logistic", `data=${folder}`];
    await expect(runRecipe(recipe, { out: path.join(folder, "refused"), overrides })).rejects.toThrow(
      'binarise: expected false with the likelihood "logistic", got true',
    );
  });
});

it("the temperature of discrete-vae-mnist falls as it trains", async () => {
  const out = path.join(folder, "cooled");
  const overrides = [...(narrow["discrete-vae-mnist"] as string[]), "model.temperature.rate=0.1", `data=${folder}`];
  await runRecipe(await findRecipe("discrete-vae-mnist"), { out, overrides: [...overrides, "ema=0"] });
  const tensors = await loadTensors(path.join(out, "model.safetensors"));
  const temperature = Object.entries(tensors).find(([name]) => name.endsWith("temperature"))?.[1];
  expect(temperature?.itemSync()).toBeCloseTo(Math.exp(-0.2), 5);
  for (const one of Object.values(tensors)) one.dispose();
});

it.each(["conv-vae-mnist", "vqvae-mnist"])("%s goes on, once stopped, as if it had not been", async (name) => {
  const recipe = await findRecipe(name);
  const overrides = [...(narrow[name] as string[]), "steps=9", "saveEvery=2", `data=${folder}`];
  const [whole, stopped] = ["whole", "stopped"].map((run) => path.join(folder, `${name}-${run}`)) as [string, string];
  const { finalLoss } = await runRecipe(recipe, { out: whole, overrides });
  const controller = new AbortController();
  const stopping: Recipe = {
    ...recipe,
    build: (config, facts) => {
      const built = recipe.build(config, facts);
      const hooks = [{ every: 4, run: () => controller.abort(new Error("enough")) }];
      return { ...built, train: async (context) => ({ ...(await built.train(context)), hooks }) };
    },
  };
  const interrupt = { signal: controller.signal, release: () => {}, [Symbol.dispose]: () => {} };
  await expect(runRecipe(stopping, { out: stopped, overrides, interrupt })).rejects.toThrow("enough");
  expect((await runRecipe(recipe, { out: stopped, resume: true })).finalLoss).toBe(finalLoss);
  const [a, b] = await Promise.all([whole, stopped].map((out) => loadTensors(path.join(out, "model.safetensors"))));
  for (const [key, tensor] of Object.entries(a ?? {})) expect(b?.[key]?.dataSync(), key).toEqual(tensor.dataSync());
  for (const tensor of [...Object.values(a ?? {}), ...Object.values(b ?? {})]) tensor.dispose();
});
