// What the model draws: a grid of samples, and a strip that shows a few of them coming out of the noise.

import { ddpm } from "@figment/diffusion";
import { type Dataset, saveGrid, saveStrip } from "@figment/io";
import { showProgress } from "@figment/nn";
import { type Tensor, tensor } from "@figment/tensor";
import { gridSide, strip } from "./defaults.js";
import { compilePrecision, type FirstLightOptions } from "./options.js";
import type { Session } from "./session.js";

/** Pixels of a picture's narrower side that are comfortable to look at. */
const comfortable = 640;

/** Draws samples.png and denoising.png. */
export async function drawPictures(
  session: Session,
  dataset: Dataset,
  { sampleSteps, precision }: FirstLightOptions,
  file: (name: string) => string,
  signal: AbortSignal,
): Promise<void> {
  const { diffusion, step } = session;
  const [height, width, channels] = dataset.shape;
  const random = session.samplingRng("samples");
  const progress = await showProgress("Sampling", 0, sampleSteps);
  const kept: Tensor[] = [];
  // One class after another along the rows, where there are classes.
  const label =
    session.classes > 0 ? tensor(Int32Array.from({ length: gridSide ** 2 }, (_, i) => i % session.classes)) : undefined;
  let images: Tensor | undefined;
  try {
    const shape = [gridSide * gridSide, height, width, channels];
    const frames = diffusion.sampleSteps(step.ema.model, {
      shape,
      sampler: ddpm({ steps: sampleSteps }),
      rng: random,
      signal,
      label,
      precision: compilePrecision({ precision }),
    });
    const every = Math.max(1, Math.floor(sampleSteps / (strip.frames - 1)));
    for await (const { step: at, total, x } of frames) {
      progress.update(at, "");
      if (at % every === 0 || at === 1 || at === total)
        kept.push(x.slice([0, 0, 0, 0], [strip.images, height, width, channels]));
      if (at === total) images = x.clone();
    }
    if (images) {
      const scale = Math.max(1, Math.floor(comfortable / (gridSide * height)));
      await saveGrid(file("samples.png"), images, { columns: gridSide, scale });
      await saveStrip(file("denoising.png"), kept, { scale });
    }
  } finally {
    progress.stop();
    images?.dispose();
    label?.dispose();
    for (const frame of kept) frame.dispose();
    random.dispose();
  }
}
