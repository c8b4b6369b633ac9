// Settings of adversarial games on images: what each recipe has, with the numbers of dcgan-mnist as defaults.

/** A step plays `game.r1Every` rounds where R1 is asked for lazily, else one; steps, saves and logs count steps. */
export const imageGameSettings = {
  steps: 22_000,
  saveEvery: 1000,
  logEvery: 50,
  /** Images that the critic sees of each kind in one of its updates. */
  batch: 64,
  generator: {
    /** Transposed convolutions ("dcgan"), or repeated pixels and convolutions ("resize"). */
    kind: "dcgan",
    latents: 64,
    /** Channels from the smallest feature map on; each doubles the resolution. */
    channels: [128, 64, 32],
  },
  critic: {
    /** Channels from the largest feature map on; each halves the resolution. */
    channels: [32, 64, 128],
    norm: "batch",
    minibatchStd: false,
    /** How labels reach it, where the game has labels. */
    condition: "projection",
  },
  /** Whether the players are told the classes. */
  labels: false,
  game: {
    objective: "nonSaturating",
    /** One-sided label smoothing. */
    smoothing: 0.1,
    /** Updates of the critic for each of the generator. */
    criticSteps: 1,
    /** λ of WGAN-GP's penalty; null for none. */
    gradientPenalty: null as number | null,
    /** γ of R1, asked for once in so many rounds; null for none. */
    r1: null as number | null,
    r1Every: 16,
    /** Bound of the critic's weights; null for none. */
    clipWeights: null as number | null,
  },
  optimizer: {
    kind: "adam",
    /** Rates of the two time scales. */
    generatorLr: 5e-4,
    criticLr: 5e-4,
    /** Share of the rates that is left in the end, after half a cosine. */
    floor: 0.05,
    /** Of Adam. */
    betas: [0.5, 0.999],
  },
  /** Decay of the generator's moving average. */
  ema: 0.999,
  /** Steps between grids of samples while training; null for none. */
  sampleEvery: null as number | null,
};

/** The settings of a game on images. */
export type ImageGameSettings = typeof imageGameSettings;
