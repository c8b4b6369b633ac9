// figment sample, reconstruct, interpolate, evaluate: what trained models can do, from their files.

import path from "node:path";
import { type Dataset, saveGrid, saveTensors } from "@figment/io";
import { onInterrupt } from "@figment/nn";
import { type Rng, rng, scope, setThreads, type Tensor, UsageError } from "@figment/tensor";
import { Command } from "commander";
import { type DigitOptions, type DigitScores, evaluateDigits } from "../evaluation/digits.js";
import { applyOverrides, type Override } from "../recipe/config.js";
import { checkFits } from "../recipe/fits.js";
import { checkAsked, cycledLabels } from "../recipe/labels.js";
import { ability, type OpenedModel, openModel } from "../recipe/savedModel.js";
import { inTurn } from "../recipes/pictures.js";
import { exitCodesHelp } from "./exitCodes.js";
import { deviceFlag, integerOption, labelsOption, pathOption, setOption, threadsFlag, useDevice } from "./options.js";

interface CommonFlags {
  readonly seed: number;
  readonly recipe?: string;
  readonly set?: readonly Override[];
  readonly threads?: number;
  readonly device?: string;
  readonly json?: boolean;
}

interface PictureFlags extends CommonFlags {
  readonly out: string;
  readonly scale: number;
  readonly columns?: number;
}

/** A command that takes a trained model. */
const modelCommand = (name: string, description: string): Command =>
  new Command(name)
    .description(description)
    .argument("<model>", "a model.safetensors that a recipe wrote, or the folder of its run")
    .option("--seed <n>", "seed of everything that is drawn", integerOption("seed", 0), 0)
    .option("--recipe <file>", "the recipe's file, for one that is not built in", pathOption("recipe"))
    .option("--set <name=value>", "replace a setting of the recipe, such as the steps of its sampler", setOption)
    .option(...deviceFlag)
    .option(...threadsFlag)
    .option("--json", "print what was done as JSON")
    .addHelpText("after", exitCodesHelp);

const numbersEnding = ".safetensors";
const outputEndings = [".png", ".jpg", ".jpeg", ".webp", ".avif", numbersEnding];

/** One that makes a picture. */
const pictureCommand = (name: string, description: string, file: string): Command =>
  modelCommand(name, description)
    .option(
      "--out <file>",
      "a picture (.png .jpg .webp .avif), or the numbers (.safetensors)",
      pathOption("out", outputEndings),
      file,
    )
    .option("--scale <n>", "pixels of the picture a pixel", integerOption("scale", 1), 1)
    .option("--columns <n>", "images in a row", integerOption("columns", 1));

/** Opens a model and a stream, lends them to `use` with a signal for Ctrl-C, and frees them. */
async function withModel<T>(
  target: string,
  { recipe, set = [], seed, threads, device }: CommonFlags,
  use: (model: OpenedModel, random: Rng, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  if (threads !== undefined) setThreads(threads);
  useDevice(device);
  const replaced = Object.fromEntries(set.map(({ path: at, text }) => [at, text]));
  const model = await openModel(target, { ...(recipe ? { recipe } : {}), set: replaced });
  const random = rng(seed);
  const interrupt = onInterrupt();
  try {
    return await use(model, random, interrupt.signal);
  } finally {
    interrupt.release();
    random.dispose();
    model.dispose();
  }
}

/** Writes images as a grid or as numbers, and says so. */
async function writeImages(
  images: Tensor,
  { out, scale, columns, json }: PictureFlags,
  range: readonly [number, number] | undefined,
  told: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  if (path.extname(out).toLowerCase() === numbersEnding) await saveTensors(out, { images });
  else await saveGrid(out, images, { scale, ...(columns ? { columns } : {}), ...(range ? { range } : {}) });
  console.log(json ? JSON.stringify({ file: out, shape: images.shape, ...told }, null, 2) : out);
}

/** The part of a data set that evaluations use, of the recipe or from a folder; or the part to train on. */
async function datasetOf(
  { recipe, config }: OpenedModel,
  data: string | undefined,
  split: "train" | "test" = "test",
): Promise<Dataset> {
  if (!recipe.dataset) throw new UsageError(`${recipe.name}: this recipe has no data set`);
  const overrides = data === undefined ? [] : [{ path: "data", text: data, label: "--data" }];
  return recipe.dataset(await applyOverrides(config, recipe.rules, overrides), split);
}

/** The first images of a data set, [n, H, W, C] in a model's range, with their classes. */
async function firstImages(
  dataset: Dataset,
  n: number,
  range: readonly [number, number] | undefined,
): Promise<{ readonly images: Tensor; readonly label: Tensor }> {
  const count = Math.min(n, dataset.length);
  const loader = dataset.loader({
    batchSize: count,
    steps: 1,
    shuffle: false,
    prefetch: 0,
    ...(range ? { range } : {}),
  });
  for await (const { image, label } of loader) return { images: image.clone(), label: label.clone() };
  throw new UsageError(`${dataset.name}: there are no images`);
}

const dataFlag = ["--data <folder>", "where images come from (default: the recipe's data set)"] as const;

/** The `sample` subcommand. */
export const sampleCommand = (): Command =>
  pictureCommand("sample", "draw images with a trained model", "samples.png")
    .option("--count <n>", "images", integerOption("count", 1), 64)
    .option("--label <classes>", "classes to draw, such as 3 or 0,1,2, one image after another", labelsOption)
    .action(async (target: string, flags: PictureFlags & { count: number; label?: number[] }) =>
      withModel(target, flags, async (model, random, signal) => {
        const sample = ability(model, "sample");
        const { count, label: classes } = flags;
        if (classes) checkAsked("--label", classes, model.classes);
        checkFits("--count", count, model.facts);
        const label = classes && cycledLabels(count, classes);
        try {
          using images = await sample(count, { rng: random, signal, ...(label ? { label } : {}) });
          await writeImages(images, flags, model.range);
        } finally {
          label?.dispose();
        }
      }),
    );

/** The `reconstruct` subcommand. */
export const reconstructCommand = (): Command =>
  pictureCommand("reconstruct", "show images, and below each what a trained model makes of it", "reconstructions.png")
    .option(...dataFlag)
    .option("--count <n>", "images", integerOption("count", 1), 16)
    .action(async (target: string, flags: PictureFlags & { count: number; data?: string }) =>
      withModel(target, flags, async (model, random, signal) => {
        const reconstruct = ability(model, "reconstruct");
        const first = await firstImages(await datasetOf(model, flags.data), flags.count, model.range);
        using images = first.images;
        using label = first.label;
        using made = await reconstruct(images, { rng: random, signal, label });
        const columns = Math.min(flags.columns ?? 8, images.dim(0));
        using rows = inTurn(images, made, columns);
        const error = scope(() => made.sub(images).square().mean().itemSync());
        await writeImages(rows, { ...flags, columns }, model.range, { meanSquaredError: error });
      }),
    );

/** The `interpolate` subcommand. */
export const interpolateCommand = (): Command =>
  pictureCommand("interpolate", "draw rows that go from one image to another", "interpolation.png")
    .option(...dataFlag)
    .option("--from-data", "between images of the data set, rather than between samples")
    .option("--count <n>", "rows", integerOption("count", 1), 8)
    .option("--frames <n>", "images in a row, both ends included", integerOption("frames", 2), 10)
    .action(
      async (
        target: string,
        flags: PictureFlags & { count: number; frames: number; fromData?: boolean; data?: string },
      ) =>
        withModel(target, flags, async (model, random, signal) => {
          const interpolate = ability(model, "interpolate");
          const { count, frames, fromData, data } = flags;
          checkFits("--count times --frames", count * frames, model.facts);
          const ends =
            fromData || data !== undefined
              ? await firstImages(await datasetOf(model, data), 2 * count, model.range)
              : undefined;
          try {
            const images = ends ? { images: ends.images } : {};
            using rows = await interpolate({ rng: random, signal, count, frames, ...images });
            await writeImages(rows, { ...flags, columns: frames }, model.range);
          } finally {
            ends?.images.dispose();
            ends?.label.dispose();
          }
        }),
    );

/** Text of a number, or of several. */
const showNumbers = (value: unknown): string =>
  [value]
    .flat()
    .map((x) => Number((x as number).toPrecision(shownDigits)))
    .join(" ");
const shownDigits = 5;

/** The `evaluate` subcommand. */
export const evaluateCommand = (): Command =>
  modelCommand("evaluate", "measure a trained model on data that it has not seen")
    .option(...dataFlag)
    .option(
      "--samples <n>",
      "draw so many digits, too, and set them beside real ones: Fréchet distance and its floor, digits that occur",
      integerOption("samples", 2),
    )
    .action(async (target: string, flags: CommonFlags & { data?: string; samples?: number }) =>
      withModel(target, flags, async (model, random, signal) => {
        const { data, samples: count } = flags;
        const evaluate = count === undefined || model.evaluate ? ability(model, "evaluate") : undefined;
        const test = await datasetOf(model, data);
        const own = { ...(await evaluate?.(test, { rng: random, signal })) };
        const drawn = count && (await drawnDigits(model, test, data, { count, rng: random, signal }));
        const numbers = { ...own, ...drawn };
        if (flags.json) console.log(JSON.stringify({ data: test.name, images: test.length, ...numbers }, null, 2));
        else for (const [name, value] of Object.entries(numbers)) console.log(`${name}  ${showNumbers(value)}`);
      }),
    );

/** Scores of digits that a model draws; from a stream of their own, whatever else is evaluated. */
async function drawnDigits(
  model: OpenedModel,
  test: Dataset,
  data: string | undefined,
  options: DigitOptions,
): Promise<DigitScores> {
  const stream = options.rng.fork("samples");
  try {
    const train = await datasetOf(model, data, "train");
    return await evaluateDigits(model, { train, test }, { ...options, rng: stream });
  } finally {
    stream.dispose();
  }
}
