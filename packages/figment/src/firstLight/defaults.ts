// The numbers of the main job: chosen so that two cores draw recognisable digits within three minutes.

/** What is asked for when nothing is said. */
export const defaults = {
  steps: 3200,
  seed: 0,
  out: "out/first-light",
  batch: 16,
  sampleSteps: 50,
  saveEvery: 200,
} as const;

/** The model: a U-Net on 2×2 patches, so that convolutions run at 14×14 and 7×7 for images of 28×28. */
export const architecture = { channels: [32, 64], patch: 2, blocks: 1 } as const;

/** The training recipe: many small steps learn more from a second of computing than few large ones. */
export const recipe = {
  /** Length of the diffusion process. */
  timesteps: 1000,
  learningRate: 2e-3,
  warmupSteps: 50,
  clipNorm: 1,
  emaDecay: 0.999,
} as const;

/** Samples in samples.png: a square of this side. */
export const gridSide = 8;

/** Images and moments in denoising.png. */
export const strip = { images: 4, frames: 10 } as const;

/** Losses are read back every so many steps: a read per step would be as good, but nobody looks that often. */
export const lossEvery = 20;
