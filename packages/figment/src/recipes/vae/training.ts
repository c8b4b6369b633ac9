// What all autoencoders here are trained by: Adam with a rate that rises and falls, and a moving average of the model.

import { Adam, compileTraining, EMA, type Module, type TrainingStep } from "@figment/nn";
import type { Stateful, Tensor } from "@figment/tensor";
import { type FullConfig, precisionOf, type TrainContext, type Training } from "../../recipe/recipe.js";
import { risingRate } from "../rate.js";
import type { TrainingSettings } from "./settings.js";

/** A batch of images with their labels. */
export type Batch = { readonly image: Tensor; readonly label: Tensor };

/** What is particular to a model. */
export interface AveragedOptions {
  /** Values of black and white that it takes. */
  readonly range: readonly [number, number];
  /** What an update changes besides the model, such as a stream of draws; freed in the end. */
  readonly parts?: Readonly<Record<string, Stateful & { dispose(): void }>>;
  /** The loss of a batch after so many updates, and other 0-d numbers to tell of. */
  readonly loss: (batch: Batch, updates: Tensor) => { readonly loss: Tensor } & Readonly<Record<string, Tensor>>;
}

/** An initialised model's step, its data, and its average, which is the result. */
export interface Averaged<M extends Module> extends Pick<Training<Batch>, "data" | "imagesPerStep" | "dispose"> {
  readonly step: TrainingStep<Batch>;
  readonly average: M;
}

/** Initialises a model and makes what trains it. */
export function averagedTraining<M extends Module>(
  model: M,
  config: FullConfig<TrainingSettings>,
  { dataset, random }: TrainContext,
  { range, parts = {}, loss }: AveragedOptions,
): Averaged<M> {
  const { steps, batch, optimizer: settings } = config;
  const weights = random.fork("weights");
  model.init(weights);
  weights.dispose();
  const optimizer = new Adam(model, { lr: risingRate(settings, steps) });
  const average = new EMA(model, { decay: config.ema });
  const step = compileTraining(
    { model, optimizer, average, ...parts },
    (given: Batch) => {
      const told: Record<string, Tensor> = {};
      const minimised = optimizer.minimize(
        () => {
          const { loss: value, ...others } = loss(given, optimizer.step.value);
          Object.assign(told, others);
          return value;
        },
        { clipNorm: settings.clipNorm },
      );
      average.update();
      return { loss: minimised, ...told };
    },
    { precision: precisionOf(config) },
  );
  const imagesPerStep = Math.min(batch, dataset.length);
  const order = random.fork("data");
  const data = dataset.loader({ batchSize: imagesPerStep, steps, rng: order, range });
  order.dispose();
  const dispose = (): void => {
    for (const part of [step, optimizer, average, ...Object.values(parts)]) part.dispose();
  };
  return { step, data, imagesPerStep, average: average.model, dispose };
}
