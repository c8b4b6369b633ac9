import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { digits, openModel, readLog, rng, runRecipe, tensor } from "figment";
import recipe from "../src/recipe.js";

test("the recipe learns, and its model can be opened again", async () => {
  const out = await mkdtemp(path.join(os.tmpdir(), "NAME-"));
  try {
    await runRecipe(recipe, { out, overrides: ["steps=60", "batch=16", "logEvery=1", "model.hidden=32"] });
    const losses = (await readLog(out)).map(({ loss }) => loss ?? Number.NaN);
    assert.equal(losses.length, 60);
    assert.ok((losses.at(-1) ?? 1) < 0.7 * (losses[0] ?? 0), `the loss went from ${losses[0]} to ${losses.at(-1)}`);

    const model = await openModel(out, { recipe: path.resolve("src/recipe.ts") });
    const { image } = digits().get(0);
    const images = tensor(
      Float32Array.from(image, (byte) => byte / 255),
      { shape: [1, 28, 28, 1] },
    );
    const made = await model.reconstruct?.(images, { rng: rng(0) });
    assert.deepEqual(made?.shape, [1, 28, 28, 1]);
    for (const owner of [images, made, model]) owner?.dispose();
  } finally {
    await rm(out, { recursive: true });
  }
});
