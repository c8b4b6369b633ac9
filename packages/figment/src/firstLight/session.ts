// Everything that the main job trains, and that a checkpoint holds: model, optimiser, moving average,
// random streams and the place in the data.

import { cosineBetas, Diffusion, UNet } from "@figment/diffusion";
import { type Dataset, type Loader, type LossPoint, loadCheckpoint } from "@figment/io";
import { AdamW, compileStep, type EMA, type TrainStep, warmupCosineLr } from "@figment/nn";
import { CheckpointError, type Json, type Rng, rng, type Stateful, type Tensor } from "@figment/tensor";
import { architecture, recipe } from "./defaults.js";
import { compilePrecision, type FirstLightOptions } from "./options.js";

type Batch = { readonly image: Tensor; readonly label: Tensor };

/** The model for images of a shape: on patches where they fit, at full resolution otherwise. */
export function buildModel({ shape, classes }: Pick<Dataset, "shape" | "classes">): UNet {
  const [height, width, channels] = shape;
  const { patch, blocks } = architecture;
  const levels = 2 ** (architecture.channels.length - 1);
  const fits = height % (levels * patch) === 0 && width % (levels * patch) === 0;
  const side = fits ? height / patch : height;
  return new UNet({
    inChannels: channels,
    channels: [...architecture.channels],
    blocks,
    attention: [Math.ceil(side / levels)],
    imageSize: height,
    ...(classes ? { classes: classes.length } : {}),
    patch: fits ? patch : 1,
  });
}

/** One training run. */
export class Session {
  readonly seed: number;
  /** Number of classes that the model is told about; 0 for none. */
  readonly classes: number;
  readonly model: UNet;
  readonly diffusion: Diffusion;
  readonly step: TrainStep<UNet, Batch, EMA<UNet>>;
  readonly loader: Loader;
  /** What a checkpoint holds, by name. */
  readonly parts: Record<string, Stateful>;
  losses: LossPoint[] = [];
  /** Seconds spent on training steps in this process, and how many steps they were. */
  trainingSeconds = 0;
  stepsTimed = 0;
  private readonly random: Rng;
  private readonly optimizer: AdamW;
  private readonly root: Rng;

  constructor(options: FirstLightOptions, dataset: Dataset) {
    const { seed, steps, batch } = options;
    this.seed = seed;
    this.root = rng(seed);
    this.model = buildModel(dataset);
    this.classes = dataset.classes?.length ?? 0;
    const weights = this.root.fork("weights");
    this.model.init(weights);
    weights.dispose();
    this.random = this.root.fork("training");
    this.diffusion = new Diffusion({ betas: cosineBetas(recipe.timesteps), predict: "v" });
    const lr = warmupCosineLr({
      peak: recipe.learningRate,
      warmup: Math.min(recipe.warmupSteps, Math.floor(steps / 10) + 1),
      total: Math.max(steps, 3),
    });
    this.optimizer = new AdamW(this.model, { lr });
    this.step = compileStep(
      this.model,
      this.optimizer,
      (net: UNet, { image, label }: Batch) =>
        this.diffusion.loss(net, image, this.random, this.classes > 0 ? label : undefined),
      {
        clipNorm: recipe.clipNorm,
        ema: recipe.emaDecay,
        precision: compilePrecision(options),
      },
    );
    const order = this.root.fork("data");
    this.loader = dataset.loader({ batchSize: Math.min(batch, dataset.length), steps, rng: order });
    this.parts = { training: this.step, random: this.random, loader: this.loader };
  }

  /** A random stream of its own for drawing samples: what is drawn does not depend on how training was interrupted. */
  samplingRng(name: string): Rng {
    return this.root.fork(name);
  }

  /** What a checkpoint records besides the state, so that a run is resumed only as itself. */
  extra({ steps, seed, batch, data, size, precision = "f32" }: FirstLightOptions): Json {
    return {
      run: { steps, seed, batch, data: data ?? null, size: size ?? null, precision },
      losses: this.losses.map(({ step, loss }) => [step, loss]),
    };
  }

  /**
   * Restores a checkpoint made by the same options.
   *
   * @throws CheckpointError when it was made by others, or is damaged.
   */
  async load(file: string, options?: FirstLightOptions): Promise<void> {
    const extra = (await loadCheckpoint(file, this.parts)) as {
      run?: Json;
      losses?: readonly (readonly [number, number])[];
    } | null;
    if (!extra?.run || !extra.losses) throw new CheckpointError(`${file}: not a checkpoint of this command`);
    if (options) {
      const wanted = JSON.stringify((this.extra(options) as { run: Json }).run);
      const found = JSON.stringify(extra.run);
      if (wanted !== found)
        throw new CheckpointError(
          `${file}: it was made with the options ${found}, this run has ${wanted}; use the same ones, or another --out`,
        );
    }
    this.losses = extra.losses.map(([step, loss]) => ({ step, loss }));
  }

  /** The mean of the last tenth of the losses. */
  finalLoss(): number {
    const last = this.losses.slice(-Math.max(1, Math.ceil(this.losses.length / 10)));
    return last.reduce((sum, { loss }) => sum + loss, 0) / Math.max(1, last.length);
  }

  dispose(): void {
    this.step.dispose();
    for (const cell of this.model.cells()) cell.dispose();
    this.optimizer.dispose();
    this.random.dispose();
    this.diffusion.dispose();
  }
}
