// Settings of diffusion models of images, and the numbers of `npm start`: chosen so that two cores draw recognisable digits
// within three minutes.

/** The settings that recipes for diffusion models have, with those of first-light as defaults. */
export const firstLightSettings = {
  steps: 3200,
  saveEvery: 200,
  /** Many small steps learn more from a second of computing than few large ones. */
  batch: 16,
  /** Batches to each step, one after the other, as if they were one; null for one. */
  accumulate: null as number | null,
  /** Pixels a side; null for the data set's own. */
  size: null as number | null,
  /** A U-Net on 2×2 patches, so that convolutions run at 14×14 and 7×7 for images of 28×28. */
  model: { channels: [32, 64], blocks: 1, patch: 2, dropout: 0 },
  /** Length of the diffusion process. */
  timesteps: 1000,
  predict: "v",
  /** The signal-to-noise ratio at which a timestep's weight is capped (min-SNR-γ); null for equal weights. */
  minSnr: null as number | null,
  optimizer: { lr: 2e-3, warmup: 50, clipNorm: 1 },
  ema: 0.999,
  /** Images mirrored at random. */
  flip: false,
  /** The share of labels left out, so that the model can do without and guidance is possible. */
  labelDropout: 0,
  sampler: "ddpm",
  /** Denoising steps per sample. */
  sampleSteps: 50,
  /** How much a class is asked for; 1 is the plain model. */
  guidance: 1,
  /** Steps between grids of samples while training; null for none. */
  sampleEvery: null as number | null,
};

/** The settings of a diffusion model. */
export type DdpmSettings = typeof firstLightSettings;
