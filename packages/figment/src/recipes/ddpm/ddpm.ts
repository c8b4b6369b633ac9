// Diffusion models of images (Ho et al. 2020) as recipes: a U-Net that is told the class where there are classes, trained with
// a moving average. Recipes differ in their settings and their data.

import { cosineBetas, Diffusion, ddim, ddpm, UNet } from "@figment/diffusion";
import type { Dataset } from "@figment/io";
import { AdamW, compileStep, type HookContext } from "@figment/nn";
import { compile, concat, type Rng, type Tensor, throwIfAborted, UsageError } from "@figment/tensor";
import {
  belowOneRule,
  countedRule,
  mostAtOnce,
  positiveRule,
  sampleEveryRule,
  widthsRule,
} from "../../recipe/config.js";
import { cycledLabels } from "../../recipe/labels.js";
import {
  defineRecipe,
  type ImageFacts,
  precisionOf,
  type Recipe,
  type RecipeDefinition,
  type SamplingOptions,
} from "../../recipe/recipe.js";
import { risingRate } from "../rate.js";
import { withStream } from "../streams.js";
import { drawPictures, gridSide } from "./pictures.js";
import type { DdpmSettings } from "./settings.js";

type Batch = { readonly image: Tensor; readonly label: Tensor };

/** The model for images of a shape: on patches where they fit, at full resolution otherwise; attention at the lowest one. */
function buildModel(
  { model: { channels, blocks, patch, dropout }, labelDropout }: DdpmSettings,
  { shape, classes }: ImageFacts,
): UNet {
  const [height, width, inChannels] = shape;
  const levels = 2 ** (channels.length - 1);
  const fits = height % (levels * patch) === 0 && width % (levels * patch) === 0;
  const side = fits ? height / patch : height;
  return new UNet({
    inChannels,
    channels: [...channels],
    blocks,
    attention: [Math.ceil(side / levels)],
    imageSize: height,
    dropout,
    ...(classes.length > 0 ? { classes: classes.length, nullClass: labelDropout > 0 } : {}),
    patch: fits ? patch : 1,
  });
}

/** Samples drawn together. */
const mostTogether = 128;

/** Images that are denoised together when a model is evaluated. */
const evaluatedAtOnce = 100;

/** The training loss over a whole data set, each image once, at timesteps and noise from `random`. */
async function denoisingLoss(
  diffusion: Diffusion,
  model: UNet,
  dataset: Dataset,
  random: Rng,
  signal?: AbortSignal,
): Promise<number> {
  const lossOf = compile(
    (net: UNet, image: Tensor, stream: Rng, label?: Tensor) => diffusion.loss(net, image, stream, label),
    { mode: "eval", name: "denoising loss" },
  );
  const labelled = (dataset.classes?.length ?? 0) > 0;
  const batchSize = Math.min(evaluatedAtOnce, dataset.length);
  let sum = 0;
  try {
    for await (const { image, label } of dataset.loader({ batchSize, shuffle: false, dropLast: false })) {
      throwIfAborted(signal);
      const loss = lossOf(model, image, random, ...(labelled ? [label] : []));
      sum += (await loss.item()) * image.dim(0);
    }
    return sum / dataset.length;
  } finally {
    lossOf.dispose();
  }
}

const rules: RecipeDefinition<DdpmSettings>["rules"] = {
  size: { type: "integer", nullable: true, least: 8, most: 4096, help: "image side; null for the data set's own" },
  batch: { type: "integer", least: 1, most: mostAtOnce, help: "images per training step" },
  accumulate: {
    type: "integer",
    nullable: true,
    least: 1,
    most: mostAtOnce,
    help: "batches to each step, where memory is short; null for one",
  },
  timesteps: { type: "integer", least: 2, most: 1_000_000, help: "length of the diffusion process" },
  predict: { choices: ["epsilon", "v"], help: "what the model predicts" },
  minSnr: {
    type: "number",
    nullable: true,
    ...positiveRule,
    help: "cap of the timesteps' weights, such as 5; null for equal weights",
  },
  "model.channels": { ...widthsRule, help: "channels of each level, from full resolution down" },
  "model.blocks": { type: "integer", least: 1, most: 64, help: "residual blocks of each level" },
  "model.patch": { type: "integer", least: 1, most: 64 },
  "model.dropout": belowOneRule,
  "optimizer.lr": { least: 0 },
  "optimizer.warmup": countedRule,
  "optimizer.clipNorm": positiveRule,
  ema: { ...belowOneRule, help: "decay of the moving average" },
  flip: { help: "mirror images at random" },
  labelDropout: { least: 0, most: 1, help: "share of labels left out, for guidance" },
  sampler: { choices: ["ddpm", "ddim"], help: "how samples are drawn" },
  sampleSteps: { type: "integer", least: 1, most: 1_000_000, help: "denoising steps per sample" },
  guidance: { least: 0, help: "how much a class is asked for; needs labelDropout" },
  sampleEvery: sampleEveryRule,
};

/** A recipe for a diffusion model with other settings or other data than first-light has. */
export function ddpmRecipe(
  definition: Pick<RecipeDefinition<DdpmSettings>, "name" | "summary" | "config"> & {
    readonly dataset: NonNullable<RecipeDefinition<DdpmSettings>["dataset"]>;
  },
): Recipe {
  return defineRecipe({
    ...definition,
    rules,
    build: (config, facts) => {
      if (config.sampleSteps > config.timesteps)
        throw new UsageError(
          `sampleSteps: expected at most ${config.timesteps}, the timesteps, got ${config.sampleSteps}`,
        );
      if (config.guidance !== 1 && config.labelDropout === 0 && facts.classes.length > 0)
        throw new UsageError(
          `guidance: expected 1 with labelDropout=0, since the model never learns to do without labels, got ${config.guidance}`,
        );
      const { steps, batch, sampleSteps, sampleEvery, timesteps, predict, flip, labelDropout } = config;
      const model = buildModel(config, facts);
      const classes = facts.classes.length;
      const precision = precisionOf(config);
      const diffusion = new Diffusion({
        betas: cosineBetas(timesteps),
        predict: predict as "epsilon" | "v",
        labelDropout,
        weighting: config.minSnr === null ? "simple" : { minSnr: config.minSnr },
      });
      const sampler = config.sampler === "ddim" ? ddim({ steps: sampleSteps }) : ddpm({ steps: sampleSteps });
      const guidance = classes > 0 ? config.guidance : 1;
      const drawing = (n: number, rng: Rng, signal?: AbortSignal, label?: Tensor) => ({
        shape: [n, ...facts.shape],
        ...{ sampler, rng, precision, guidance },
        ...(signal ? { signal } : {}),
        ...(label ? { label } : {}),
      });
      /** Some at a time, so that memory bounds no number of images. */
      const sampleFrom = async (net: UNet, n: number, { rng, signal, label }: SamplingOptions): Promise<Tensor> => {
        const drawn: Tensor[] = [];
        const labels = label ? label.clone() : cycledLabels(n, classes);
        try {
          for (let start = 0; start < n; start += mostTogether) {
            const count = Math.min(mostTogether, n - start);
            const own = labels?.slice([start], [count]);
            drawn.push(await diffusion.sample(net, drawing(count, rng, signal, own)).finally(() => own?.dispose()));
          }
          return concat(drawn, 0);
        } finally {
          for (const part of [...drawn, ...(labels ? [labels] : [])]) part.dispose();
        }
      };
      return {
        models: { model },
        sample: (n, options) => sampleFrom(model, n, options),
        evaluate: async (dataset, { rng, signal }) => ({
          denoisingLoss: await denoisingLoss(diffusion, model, dataset, rng, signal),
        }),
        train: ({ dataset, random }) => {
          const weights = random.fork("weights");
          model.init(weights);
          weights.dispose();
          const noise = random.fork("training");
          const optimizer = new AdamW(model, { lr: risingRate(config.optimizer, steps) });
          const { accumulate } = config;
          const accumulation = accumulate === null ? {} : { accumulate };
          const step = compileStep(
            model,
            optimizer,
            (net: UNet, { image, label }: Batch) => diffusion.loss(net, image, noise, classes > 0 ? label : undefined),
            { clipNorm: config.optimizer.clipNorm, ema: config.ema, precision, ...accumulation },
          );
          const batchSize = Math.min(batch, dataset.length);
          const stack = accumulate === null ? {} : { stack: accumulate };
          const order = random.fork("data");
          const transforms = flip ? [{ flip: 0.5 }] : [];
          const data = dataset.loader({ batchSize, steps, rng: order, transforms, ...stack });
          order.dispose();
          const drawGrid = ({ step: at, picture, signal }: HookContext): Promise<void> =>
            withStream(random.fork("grid", at), async (rng) => {
              const images = await sampleFrom(step.ema.model, gridSide ** 2, { rng, signal });
              await picture("samples", images, { columns: gridSide }).finally(() => images.dispose());
            });
          return {
            step,
            data,
            state: { random: noise },
            hooks: sampleEvery === null ? [] : [{ every: sampleEvery, run: drawGrid }],
            imagesPerStep: batchSize * (accumulate ?? 1),
            trained: { model: step.ema.model },
            finish: ({ file, signal }) =>
              withStream(random.fork("samples"), async (stream) => {
                const label = cycledLabels(gridSide ** 2, classes);
                const options = drawing(gridSide ** 2, stream, signal, label);
                await drawPictures(diffusion, step.ema.model, options, sampleSteps, file).finally(() =>
                  label?.dispose(),
                );
                return undefined;
              }),
            dispose: () => {
              for (const part of [step, optimizer, noise]) part.dispose();
            },
          };
        },
        dispose: () => diffusion.dispose(),
      };
    },
  });
}
