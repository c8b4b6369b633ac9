// What a diffusion model draws: a grid of samples, and a strip that shows a few of them coming out of the noise.

import type { Diffusion, SampleStepsOptions, UNet } from "@figment/diffusion";
import { saveGrid, saveStrip } from "@figment/io";
import { showProgress } from "@figment/nn";
import type { Tensor } from "@figment/tensor";
import { scaleFor } from "../pictures.js";

/** Samples in a grid: a square of this side. */
export const gridSide = 8;

/** Images and moments in denoising.png. */
const strip = { images: 4, frames: 10 } as const;

/** Draws samples.png, gridSide² images, and denoising.png, in that many steps. */
export async function drawPictures(
  diffusion: Diffusion,
  model: UNet,
  options: SampleStepsOptions,
  steps: number,
  file: (name: string) => string,
): Promise<void> {
  const [, height, width, channels] = options.shape as [number, number, number, number];
  const progress = await showProgress("Sampling", 0, steps);
  const kept: Tensor[] = [];
  let images: Tensor | undefined;
  try {
    const every = Math.max(1, Math.floor(steps / (strip.frames - 1)));
    for await (const { step: at, total, x } of diffusion.sampleSteps(model, options)) {
      progress.update(at, "");
      if (at % every === 0 || at === 1 || at === total)
        kept.push(x.slice([0, 0, 0, 0], [strip.images, height, width, channels]));
      if (at === total) images = x.clone();
    }
    if (images) {
      const scale = scaleFor(gridSide, height);
      await saveGrid(file("samples.png"), images, { columns: gridSide, scale });
      await saveStrip(file("denoising.png"), kept, { scale });
    }
  } finally {
    progress.stop();
    images?.dispose();
    for (const frame of kept) frame.dispose();
  }
}
