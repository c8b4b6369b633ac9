// The job that the models' suite measures: a DDPM on images of digits' size, as `npm start` trains it, on random images.

import { cosineBetas, Diffusion, type Sampler, UNet } from "@figment/diffusion";
import { AdamW, compileStep, summary, type TrainStep } from "@figment/nn";
import { rng, type Tensor, tensor } from "@figment/tensor";
import { randomTensor } from "./case.js";

/** Model, batch and schedule; the peer gets the same as JSON. */
export const jobConfig = {
  model: { inChannels: 1, channels: [32, 64, 64], attention: [7], imageSize: 28 },
  batch: 64,
  timesteps: 1000,
  ema: 0.995,
} as const;

const sampleCount = 64;

type Batch = { readonly image: Tensor };

export interface Job {
  readonly step: TrainStep<UNet, Batch, undefined>;
  readonly batch: Batch;
  readonly parameters: number;
  /** Multiplications and additions of one training step: forward, and twice that backward. */
  readonly flops: number;
  sample(sampler: Sampler, signal?: AbortSignal): Promise<Tensor>;
  dispose(): void;
}

export function createJob(): Job {
  const { model: options, batch: size, timesteps, ema } = jobConfig;
  const { inChannels, imageSize } = options;
  const random = rng(0);
  const model = new UNet(options).init(random.fork("weights"));
  const diffusion = new Diffusion({ betas: cosineBetas(timesteps) });
  const optimizer = new AdamW(model, { lr: 1e-3 });
  const noise = random.fork("noise");
  const step = compileStep(model, optimizer, (net, { image }: Batch) => diffusion.loss(net, image, noise), {
    clipNorm: 1,
    ema,
  });
  const image = randomTensor([size, imageSize, imageSize, inChannels]);
  const t = tensor(new Int32Array(size));
  const { parameters, flops } = summary(model, image, t);
  t.dispose();
  return {
    step: step as unknown as Job["step"],
    batch: { image },
    parameters,
    flops: 3 * flops,
    sample(sampler, signal) {
      const shape = [sampleCount, imageSize, imageSize, inChannels];
      return diffusion.sample(model, { shape, sampler, rng: random.fork("samples"), signal });
    },
    dispose() {
      step.dispose();
      image.dispose();
      optimizer.dispose();
      diffusion.dispose();
      model.dispose();
    },
  };
}
