// The job that the models' suite measures: what `npm start` trains, a U-Net told the class, on random images of the
// digits' size.

import { cosineBetas, Diffusion, type Sampler, UNet } from "@figment/diffusion";
import { AdamW, compileStep, type EMA, summary, type TrainStep } from "@figment/nn";
import { rng, type Tensor, tensor } from "@figment/tensor";
import { firstLightSettings } from "figment/first-light";
import { randomTensor } from "./case.js";

const imageSize = 28;
const classes = 10;

const { model: architecture, batch: batchSize, timesteps, optimizer: rates, ema: emaDecay } = firstLightSettings;

/** Model, batch and recipe; the peer gets the same as JSON. */
export const jobConfig = {
  model: { ...architecture, inChannels: 1, attention: [imageSize / (2 * architecture.patch)], imageSize, classes },
  batch: batchSize,
  timesteps,
  learningRate: rates.lr,
  clipNorm: rates.clipNorm,
  emaDecay,
} as const;

const sampleCount = 64;

type Batch = { readonly image: Tensor; readonly label: Tensor };

const labels = (count: number): Tensor => tensor(Int32Array.from({ length: count }, (_, i) => i % classes));

export interface Job {
  readonly step: TrainStep<UNet, Batch, EMA<UNet>>;
  readonly batch: Batch;
  readonly parameters: number;
  /** Multiplications and additions of one training step: forward, and twice that backward. */
  readonly flops: number;
  sample(sampler: Sampler, signal?: AbortSignal): Promise<Tensor>;
  dispose(): void;
}

/** The job, on batches of `size` images. */
export function createJob(size: number = jobConfig.batch): Job {
  const { model: options, timesteps, learningRate, clipNorm, emaDecay } = jobConfig;
  const { inChannels } = options;
  const random = rng(0);
  const model = new UNet(options).init(random.fork("weights"));
  const diffusion = new Diffusion({ betas: cosineBetas(timesteps), predict: "v" });
  const optimizer = new AdamW(model, { lr: learningRate });
  const noise = random.fork("noise");
  const step = compileStep(
    model,
    optimizer,
    (net, { image, label }: Batch) => diffusion.loss(net, image, noise, label),
    {
      clipNorm,
      ema: emaDecay,
    },
  );
  const image = randomTensor([size, imageSize, imageSize, inChannels]);
  const label = labels(size);
  const sampleLabels = labels(sampleCount);
  const t = tensor(new Int32Array(size));
  const { parameters, flops } = summary(model, image, t, label);
  t.dispose();
  return {
    step,
    batch: { image, label },
    parameters,
    flops: 3 * flops,
    sample(sampler, signal) {
      const shape = [sampleCount, imageSize, imageSize, inChannels];
      return diffusion.sample(model, { shape, sampler, rng: random.fork("samples"), signal, label: sampleLabels });
    },
    dispose() {
      step.dispose();
      for (const value of [image, label, sampleLabels]) value.dispose();
      optimizer.dispose();
      diffusion.dispose();
      model.dispose();
    },
  };
}
