// The main job: train a DDPM (Ho et al. 2020) on digits or on a folder of images, then draw pictures of
// what it has learned. Everything that is random follows from one seed.

import path from "node:path";
import {
  type Dataset,
  digits,
  makeFolder,
  openDataset,
  saveCheckpoint,
  saveLossCurve,
  saveModel,
  writeJson,
} from "@figment/io";
import { type Interrupt, onInterrupt } from "@figment/nn";
import { deviceInfo, setThreads, UsageError } from "@figment/tensor";
import { gridSide, recipe } from "./defaults.js";
import type { FirstLightOptions } from "./options.js";
import { drawPictures } from "./pictures.js";
import { Session } from "./session.js";
import { train } from "./train.js";

/** The checkpoint's name in the output folder. */
export const checkpointName = "checkpoint.safetensors";

/** Trains and samples as the options say; gives the summary that it writes. */
export async function firstLight(
  options: FirstLightOptions,
  interrupt: Interrupt = onInterrupt(),
): Promise<Record<string, unknown>> {
  if (options.sampleSteps > recipe.timesteps)
    throw new UsageError(`--sample-steps: expected at most ${recipe.timesteps}, got ${options.sampleSteps}`);
  if (options.threads !== undefined) setThreads(options.threads);
  await makeFolder(options.out);
  const file = (name: string): string => path.join(options.out, name);
  const dataset = await openData(options);
  const began = performance.now();
  const session = new Session(options, dataset);
  try {
    if (options.resume) {
      await session.load(file(checkpointName), options);
      console.error(`Resumed at step ${session.step.count} of ${options.steps}.`);
    }
    announce(session, dataset, options);
    const save = (): Promise<void> => saveCheckpoint(file(checkpointName), session.parts, session.extra(options));
    await train(session, options, save, interrupt.signal);
    // Saved after the last step too: an interruption while sampling loses nothing.
    await save();
    if (interrupt.signal.aborted) {
      console.error(`\nStopped at step ${session.step.count}; saved ${file(checkpointName)}. Add --resume to go on.`);
      throw interrupt.signal.reason;
    }
    await saveModel(file("model.safetensors"), session.step.ema.model);
    await saveLossCurve(file("loss.svg"), session.losses, { title: `Training loss on ${dataset.name}` });
    await drawPictures(session, dataset, options, file, interrupt.signal);
    const summary = summarise(session, dataset, options, (performance.now() - began) / 1000);
    await writeJson(file("summary.json"), summary);
    console.error(
      `\nDone in ${Math.round((performance.now() - began) / 1000)} s. Look at ${file("samples.png")}: ${gridSide * gridSide} images drawn by the model.`,
    );
    return summary;
  } finally {
    interrupt.release();
    session.dispose();
  }
}

async function openData({ data, size }: FirstLightOptions): Promise<Dataset> {
  return data === undefined ? digits({ size: size ?? 28 }) : openDataset(data, { size });
}

function announce(session: Session, dataset: Dataset, { steps, batch, precision = "f32" }: FirstLightOptions): void {
  const [h, w, c] = dataset.shape;
  const { isa, threads } = deviceInfo();
  console.error(
    `Learning ${dataset.name}: ${dataset.length} images of ${h}×${w}×${c}. U-Net with ${(session.model.parameterCount / 1e6).toFixed(2)} M parameters, ` +
      `${steps} steps of ${batch} images, seed ${session.seed}, ${threads} threads (${isa}, ${precision}).`,
  );
}

function summarise(
  session: Session,
  dataset: Dataset,
  options: FirstLightOptions,
  seconds: number,
): Record<string, unknown> {
  const { isa, threads } = deviceInfo();
  return {
    data: dataset.name,
    seed: options.seed,
    steps: session.step.count,
    batch: options.batch,
    parameters: session.model.parameterCount,
    seconds: Number(seconds.toFixed(2)),
    trainingSeconds: Number(session.trainingSeconds.toFixed(2)),
    imagesPerSecond: Number(
      ((session.stepsTimed * options.batch) / Math.max(session.trainingSeconds, 1e-9)).toFixed(1),
    ),
    finalLoss: session.finalLoss(),
    threads,
    isa,
    precision: options.precision ?? "f32",
  };
}
