// Recipes of the user's own: from a file to a trained model and what it can do, each by the command.

import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import {
  assertNoLeaks,
  CheckpointError,
  defineRecipe,
  digits,
  findRecipe,
  loadTensors,
  openModel,
  readImage,
  recipes,
  rng,
  runRecipe,
  saveTensors,
  tensor,
  UsageError,
} from "figment";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { applyOverrides, checkSettings, fieldsOf, readOverride } from "#recipe/config";
import { readOrigin } from "#recipe/savedModel";
import { figment } from "./support/command.js";
import { flatRecipe } from "./support/flatRecipe.js";

let folder: string;
const inFolder = (name: string): string => path.join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "figment-recipes-"));
  await writeFile(inFolder("flat.ts"), flatRecipe("ts"));
  // JavaScript files find the toolkit where Node finds it.
  await mkdir(path.join(import.meta.dirname, "scratch"), { recursive: true });
  await writeFile(path.join(import.meta.dirname, "scratch/flat.mjs"), flatRecipe("mjs"));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await rm(path.join(import.meta.dirname, "scratch"), { recursive: true, force: true });
  assertNoLeaks();
});

const json = async (...args: string[]): Promise<Record<string, unknown>> => {
  const { code, stdout, stderr } = await figment([...args, "--json"]);
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout);
};

describe("a recipe in a file", () => {
  it("is trained by its path, in TypeScript and in JavaScript, to the same weights", async () => {
    const [ts, mjs] = [inFolder("ts"), inFolder("mjs")];
    const summary = await json("train", inFolder("flat.ts"), "--out", ts, "--set", "optimizer.lr=0.005");
    expect(summary).toMatchObject({ recipe: "flat", steps: 6, config: { batch: 4, optimizer: { lr: 0.005 } } });
    await json(
      "train",
      path.join(import.meta.dirname, "scratch/flat.mjs"),
      "--out",
      mjs,
      "--set",
      "optimizer.lr=0.005",
    );
    const [a, b] = await Promise.all([ts, mjs].map((out) => loadTensors(path.join(out, "model.safetensors"))));
    for (const [name, tensor] of Object.entries(a ?? {}))
      expect([...tensor.dataSync()]).toEqual([...(b?.[name]?.dataSync() ?? [])]);
    for (const tensor of [...Object.values(a ?? {}), ...Object.values(b ?? {})]) tensor.dispose();
    expect(JSON.parse(await readFile(path.join(ts, "config.json"), "utf8"))).toMatchObject({
      recipe: "flat",
      file: inFolder("flat.ts"),
      config: { optimizer: { lr: 0.005 } },
      facts: { shape: [8, 8, 1] },
    });
  });

  it("samples, from the run's folder and from the file alone with the recipe beside it", async () => {
    const picture = inFolder("samples.png");
    expect(await json("sample", inFolder("ts"), "--count", "6", "--columns", "3", "--out", picture)).toEqual({
      file: picture,
      shape: [6, 8, 8, 1],
    });
    expect(await readImage(picture)).toMatchObject({ width: 3 * 8 + 4 * 2, height: 2 * 8 + 3 * 2 });
    expect((await readOrigin(path.join(inFolder("ts"), "model.safetensors"))).file).toBeUndefined();
    const model = inFolder("moved.safetensors");
    await writeFile(model, await readFile(path.join(inFolder("ts"), "model.safetensors")));
    const numbers = inFolder("samples.safetensors");
    await json("sample", model, "--recipe", inFolder("flat.ts"), "--count", "6", "--out", numbers, "--label", "3");
    const { images } = await loadTensors(numbers);
    expect(images?.shape).toEqual([6, 8, 8, 1]);
    images?.dispose();
    const alone = await figment(["sample", model]);
    expect([alone.code, alone.stderr]).toEqual([2, expect.stringMatching(/there is no recipe "flat"/)]);
  });

  it("reconstructs, interpolates and evaluates", async () => {
    const rows = inFolder("rows.png");
    const made = await json("reconstruct", inFolder("ts"), "--count", "5", "--columns", "4", "--out", rows);
    expect(made).toMatchObject({ shape: [10, 8, 8, 1], meanSquaredError: expect.any(Number) });
    for (const more of [[], ["--from-data"]])
      expect(
        await json("interpolate", inFolder("ts"), "--count", "2", "--frames", "5", "--out", rows, ...more),
      ).toMatchObject({ shape: [10, 8, 8, 1] });
    const numbers = await json("evaluate", inFolder("ts"));
    expect(numbers).toEqual({ data: expect.any(String), images: 8, meanSquaredError: expect.any(Number) });
    const judged = await figment(["evaluate", inFolder("ts"), "--samples", "4"]);
    expect([judged.code, judged.stderr]).toEqual([2, expect.stringMatching(/digits of 28×28×1, .* are 8×8×1/)]);
  });

  it("is measured, step by step and kernel by kernel", async () => {
    const measured = await json("bench", inFolder("flat.ts"), "--runs", "3");
    expect(measured).toMatchObject({ recipe: "flat", runs: 3, records: expect.any(Array) });
    const { stepsPerSecond, imagesPerSecond } = measured as Record<string, number>;
    expect(imagesPerSecond).toBeCloseTo(4 * (stepsPerSecond as number), 3);
    expect((await figment(["bench", inFolder("flat.ts"), "--runs", "1"])).stdout).toMatch(/matmul/);
  });

  it("is opened from the API, and refused where it is another or has not ended", async () => {
    const model = await openModel(inFolder("ts"), { set: { batch: "2" } });
    expect(model.config).toMatchObject({ batch: 2, steps: 6 });
    const random = rng(1);
    const images = await model.sample?.(2, { rng: random });
    expect(images?.shape).toEqual([2, 8, 8, 1]);
    images?.dispose();
    random.dispose();
    model.dispose();
    await expect(openModel(inFolder("ts"), { recipe: "first-light" })).rejects.toThrow(
      /made by the recipe flat, not by first-light/,
    );
    await mkdir(inFolder("empty"), { recursive: true });
    await expect(openModel(inFolder("empty"))).rejects.toThrow(CheckpointError);
    const label = await figment(["sample", inFolder("ts"), "--label", "10"]);
    expect([label.code, label.stderr]).toEqual([2, expect.stringMatching(/the model knows 10 classes, got 10/)]);
  });

  it("is never run because a file of weights names it", async () => {
    await writeFile(
      inFolder("evil.mjs"),
      `import fs from "node:fs"; fs.writeFileSync(${JSON.stringify(inFolder("ran"))}, "");`,
    );
    const weights = { weight: tensor([1]) };
    const origin = { recipe: inFolder("evil.mjs"), config: {}, facts: { shape: [8, 8, 1], classes: [] } };
    await saveTensors(inFolder("evil.safetensors"), weights, { "figment.recipe": JSON.stringify(origin) });
    weights.weight.dispose();
    await expect(openModel(inFolder("evil.safetensors"))).rejects.toThrow(/the metadata "figment.recipe" are damaged/);
    expect(await readdir(folder)).not.toContain("ran");
  });

  it("is opened by its own name where config.json is damaged", async () => {
    await cp(inFolder("ts"), inFolder("odd"), { recursive: true });
    await writeFile(inFolder("odd/config.json"), JSON.stringify({ recipe: "flat", file: 5 }));
    await expect(openModel(inFolder("odd"))).rejects.toThrow(UsageError);
  });

  it("is trained by one run at a time in a folder", async () => {
    const recipe = await findRecipe(inFolder("flat.ts"));
    const runs = await Promise.allSettled([1, 2].map(() => runRecipe(recipe, { out: inFolder("twice") })));
    const refused = runs.filter((run) => run.status === "rejected");
    expect(refused.map(({ reason }) => String(reason))).toEqual([
      expect.stringMatching(/UsageError: .*another run is writing there \(process \d+\)/),
    ]);
    expect(await readdir(inFolder("twice"))).not.toContain("run.lock");
    await writeFile(inFolder("twice/run.lock"), `${process.pid} 1`);
    await expect(runRecipe(recipe, { out: inFolder("twice") })).resolves.toMatchObject({ steps: 6 });
  });

  it("is refused where it gives no recipe", async () => {
    await writeFile(inFolder("none.ts"), "export default { name: 'none' };");
    await writeFile(inFolder("broken.ts"), "export default 1 +;");
    await expect(findRecipe(inFolder("none.ts"))).rejects.toThrow(/the default export is no recipe/);
    await expect(findRecipe(inFolder("nowhere.ts"))).rejects.toThrow(UsageError);
    await expect(findRecipe("nobody")).rejects.toThrow(/there is no recipe "nobody"; there are first-light/);
    expect((await figment(["train", inFolder("broken.ts")])).code).not.toBe(0);
  });
});

describe("settings", () => {
  const defaults = {
    steps: 10,
    rate: 0.5,
    name: "a",
    on: true,
    sizes: [1, 2],
    size: null,
    widths: [8],
    deep: { k: 3 },
  };
  const rules = {
    steps: { type: "integer", least: 1 },
    size: { type: "integer" },
    name: { choices: ["a", "b"] },
    "deep.k": { nullable: true, least: -1 },
    widths: { type: "integer", least: 1, most: 99, length: [1, 3] },
  } as const;
  const set = (...texts: string[]) => applyOverrides(defaults, rules, texts.map(readOverride));

  it("are replaced by texts, each as its default or its rule says", async () => {
    expect(await set("steps=20", "rate=1e-3", "name=b", "on=false", "sizes=4,5", "size=7", "deep.k=-1")).toEqual({
      steps: 20,
      rate: 1e-3,
      name: "b",
      on: false,
      sizes: [4, 5],
      size: 7,
      widths: [8],
      deep: { k: -1 },
    });
    expect(await set("widths=4,99")).toMatchObject({ widths: [4, 99] });
    expect(await set("size=null", "sizes=[]")).toMatchObject({ size: null, sizes: [] });
    expect(await set("deep.k=null")).toMatchObject({ deep: { k: null } });
    expect(defaults.deep.k).toBe(3);
  });

  it.each([
    ["steps=1.5", /expected an integer of at least 1, got "1.5"/],
    ["rate=NaN", /expected a number, got "NaN"/],
    ["rate=null", /expected a number, got "null"/],
    ["name=c", /expected a or b, got "c"/],
    ["deep.k=-2", /expected a number of at least -1 or null, got "-2"/],
    ["on=1", /expected true or false, got "1"/],
    ['sizes=["x"]', /expected a list such as \[1,2\]/],
    ["widths=1e9", /expected a list such as \[8\], of 1 to 3 items, each an integer from 1 to 99, got "1e9"/],
    ["widths=0", /--set widths: expected .* from 1 to 99, got "0"/],
    ["widths=2.5", /each an integer/],
    ["widths=[]", /of 1 to 3 items/],
    ["widths=1,2,3,4", /of 1 to 3 items/],
    ["deep=1", /there is no such setting; did you mean deep.k\? there are steps, .*deep.k/],
    ["stepz=1", /did you mean steps\?/],
    ["nobody=1", /there is no such setting; there are steps/],
    ["__proto__.x=1", /there is no such setting/],
    ["nothing", /expected name=value/],
  ])("are refused: %s", async (text, message) => {
    await expect((async () => set(text))()).rejects.toThrow(message);
    await expect((async () => set(text))()).rejects.toThrow(UsageError);
  });

  it("that came after a file was written are as by default", async () => {
    const { size: _, deep: __, ...earlier } = defaults;
    expect(await checkSettings("config.json", earlier, defaults, rules)).toEqual(defaults);
    const { k: ___, ...deep } = defaults.deep;
    expect(await checkSettings("config.json", { ...defaults, deep }, defaults, rules)).toEqual(defaults);
  });

  it("from files must have the same names and allowed values", async () => {
    expect(await checkSettings("config.json", { ...defaults, size: 3 }, defaults, rules)).toMatchObject({ size: 3 });
    await expect(checkSettings("x", { ...defaults, deep: { k: "3" }, more: 1 }, defaults, rules)).rejects.toThrow(
      /deep\.k: [\s\S]*more: /,
    );
  });

  it("of recipes have rules for settings that there are, and types for those that are null", () => {
    const definition = { name: "x", summary: "", config: { steps: 1, size: null }, build: () => ({}) as never };
    expect(() => defineRecipe(definition)).toThrow(/"size" is null by default/);
    expect(() => defineRecipe({ ...definition, rules: { sise: {} } })).toThrow(/the rule for "sise" has no setting/);
    expect(() => defineRecipe({ ...definition, name: "No Name" })).toThrow(UsageError);
  });

  it("of recipes that are built in bound every count and every width", () => {
    for (const { name, config, rules: own } of Object.values(recipes))
      for (const { path: at, initial, rule } of fieldsOf(config, own)) {
        const isCount = rule.type === "integer" || /latents|hidden|channels/.test(at);
        if (isCount && at !== "seed")
          expect([name, at, rule]).toEqual([
            name,
            at,
            expect.objectContaining({ least: expect.any(Number), most: expect.any(Number) }),
          ]);
        if (Array.isArray(initial)) expect([name, at, rule.length?.[0]]).toEqual([name, at, expect.any(Number)]);
      }
  });

  it.each([
    ["first-light", "model.channels=1e9"],
    ["first-light", "model.channels=0"],
    ["first-light", "model.channels=[]"],
    ["first-light", "model.patch=0"],
    ["first-light", "size=1e9"],
    ["first-light", "batch=1e9"],
    ["vae-mnist", "model.latents=1e9"],
    ["vae-mnist", "model.hidden=0"],
    ["ladder-vae-mnist", "model.latents=[]"],
    ["gan-gaussians", "hidden=1e9"],
    ["dcgan-mnist", "generator.channels=0"],
    ["dcgan-mnist", "ema=1"],
    ["first-light", "minSnr=0"],
    ["first-light", "model.dropout=1"],
    ["vae-mnist", "optimizer.clipNorm=0"],
  ])("out of range are named, and leave nothing behind: %s with %s", async (name, text) => {
    const out = inFolder(`bounds/${name}`);
    const { code, stderr } = await figment(["train", name, "--out", out, "--set", text]);
    expect([code, stderr]).toEqual([2, expect.stringContaining(`--set ${text.split("=")[0]}: expected`)]);
    expect(stderr).toMatch(/from \d+ to \d|of at least 1e-9/);
    expect(existsSync(inFolder("bounds"))).toBe(false);
  });

  it.each([
    [["sample", "x", "--seed", ""], "--seed: expected an integer of at least 0"],
    [["sample", "x", "--label", ""], "--label: expected classes"],
    [["sample", "x", "--label", "1,,2"], "--label: expected classes"],
    [["sample", "x", "--recipe", ""], "--recipe: expected a name"],
    [["tune", "--shapes", ""], "--shapes: expected a name"],
    [["init", ""], "init: expected a path as folder"],
    [["inspect", ""], "inspectFile: expected a path as path"],
  ])("that the shell leaves empty are refused: %s", async (args, message) => {
    const { code, stderr } = await figment(args);
    expect([code, stderr]).toEqual([2, expect.stringContaining(`UsageError: ${message}`)]);
  });

  it("that go together are refused before training: guidance of a model that always has labels", async () => {
    const out = inFolder("guided");
    const { code, stderr } = await figment(["train", "first-light", "--out", out, "--set", "guidance=3"]);
    expect([code, stderr]).toEqual([2, expect.stringMatching(/guidance: expected 1 with labelDropout=0/)]);
    expect(existsSync(out)).toBe(false);
  });

  it("whose models cannot be built leave no folder behind", async () => {
    const recipe = await findRecipe("ladder-vae-mnist");
    const run = runRecipe(
      { ...recipe, dataset: () => digits() },
      { out: inFolder("unbuilt"), overrides: ["model.latents=4,2", "model.hidden=8"] },
    );
    await expect(run).rejects.toThrow(UsageError);
    expect(existsSync(inFolder("unbuilt"))).toBe(false);
  });

  it("of recipes that are built in are allowed by their own rules", async () => {
    for (const { name, config, rules: own } of Object.values(recipes)) {
      expect(await checkSettings(name, JSON.parse(JSON.stringify(config)), config, own)).toEqual(config);
      for (const { path: at, rule } of fieldsOf(config, own)) if (at in own) expect(own[at]).toBe(rule);
    }
  });
});
