// Trains and examines the classifier.

import type { Dataset } from "@figment/io";
import { Adam, compileStep, crossEntropyLoss, warmupCosineLr } from "@figment/nn";
import { rng, type Tensor } from "@figment/tensor";
import { DigitNetwork } from "./network.js";
import { recipe } from "./recipe.js";

/** How far training is. */
export interface ClassifierProgress {
  /** Updates made, of `total`. */
  readonly step: number;
  readonly total: number;
  /** Of the latest batch. */
  readonly loss: number;
}

/** What training may be told. */
export interface TrainingControl {
  readonly signal?: AbortSignal;
  readonly progress?: (progress: ClassifierProgress) => void;
}

/** Updates between reports. */
const reportEvery = 20;
/** A network trained on a data set. The caller's own. */
export async function trainNetwork(
  train: Dataset,
  seed: number,
  { signal, progress }: TrainingControl,
): Promise<DigitNetwork> {
  const { epochs, batchSize, peakLearningRate, warmup } = recipe;
  const root = rng(seed);
  const weights = root.fork("weights");
  const network = new DigitNetwork().init(weights);
  const loader = train.loader({
    batchSize: Math.min(batchSize, train.length),
    epochs,
    rng: root.fork("order"),
    signal,
  });
  const optimizer = new Adam(network, {
    lr: warmupCosineLr({
      peak: peakLearningRate,
      warmup: Math.min(warmup, Math.ceil(loader.length / 10)),
      total: Math.max(3, loader.length),
    }),
  });
  const step = compileStep(network, optimizer, (net: DigitNetwork, batch: { image: Tensor; label: Tensor }) =>
    crossEntropyLoss(net.forward(batch.image), batch.label),
  );
  try {
    for await (const { image, label } of loader) {
      const { loss } = step({ image, label });
      if (step.count % reportEvery === 0 || step.count === loader.length) {
        const value = await loss.item();
        progress?.({ step: step.count, total: loader.length, loss: value });
      }
    }
    return network;
  } catch (error) {
    network.dispose();
    throw error;
  } finally {
    for (const owner of [step, optimizer, root, weights]) owner.dispose();
  }
}
