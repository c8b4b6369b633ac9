// The networks of the models' suite, as plain data: what ours and the peers build them of.

/** The VAE of digits (Kingma & Welling 2014): one hidden layer on either side. */
export interface VaeConfig {
  readonly batch: number;
  readonly imageSize: number;
  readonly hidden: number;
  readonly latents: number;
}

/** DCGAN (Radford et al. 2016): channels of the generator from the coarsest map, the critic's are their mirror image. */
export interface DcganConfig {
  readonly batch: number;
  readonly imageSize: number;
  readonly latents: number;
  readonly channels: readonly number[];
}

/** DDPM's U-Net (Ho et al. 2020, appendix B). */
export interface DdpmConfig {
  readonly batch: number;
  readonly imageSize: number;
  readonly channels: readonly number[];
  readonly blocks: number;
  readonly attention: readonly number[];
  readonly groups: number;
  readonly dropout: number;
}

/** The U-Net of Stable Diffusion (Rombach et al. 2022): latents of size², and as many tokens of context. */
export interface StableConfig {
  readonly batch: number;
  readonly size: number;
  readonly tokens: number;
  readonly channels: readonly number[];
  readonly blocks: number;
  readonly heads: number;
  readonly contextDim: number;
  readonly groups: number;
}

export interface Configs {
  readonly vae: VaeConfig;
  readonly dcgan: DcganConfig;
  readonly ddpm: DdpmConfig;
  readonly stable: StableConfig;
}

export type Kind = keyof Configs;

export interface Network<K extends Kind = Kind> {
  readonly name: string;
  readonly kind: K;
  /** What one call does. */
  readonly does: "training step" | "forward";
  readonly config: Configs[K];
  /** Trainable numbers, ours and the peer's alike. */
  readonly parameters: number;
}

const vae: Network<"vae"> = {
  name: "VAE-MNIST step, batch 128",
  kind: "vae",
  does: "training step",
  config: { batch: 128, imageSize: 28, hidden: 400, latents: 20 },
  parameters: 652_824,
};

const dcgan = (channels: readonly number[], parameters: number, note: string): Network<"dcgan"> => ({
  name: `DCGAN-64 step, both players, batch 64, ${note}`,
  kind: "dcgan",
  does: "training step",
  config: { batch: 64, imageSize: 64, latents: 100, channels },
  parameters,
});

const ddpm: Network<"ddpm"> = {
  name: "DDPM-32 step, batch 8",
  kind: "ddpm",
  does: "training step",
  config: {
    batch: 8,
    imageSize: 32,
    channels: [128, 256, 256, 256],
    blocks: 2,
    attention: [16],
    groups: 32,
    dropout: 0.1,
  },
  parameters: 35_746_307,
};

const stable: Network<"stable"> = {
  name: "Stable Diffusion 1.5 U-Net forward, 64² latents",
  kind: "stable",
  does: "forward",
  config: {
    batch: 1,
    size: 64,
    tokens: 77,
    channels: [320, 640, 1280, 1280],
    blocks: 2,
    heads: 8,
    contextDim: 768,
    groups: 32,
  },
  parameters: 859_520_964,
};

/** Radford et al. have twice the channels of what became the usual DCGAN of 64² pixels. */
export const networks: readonly Network[] = [
  vae,
  dcgan([512, 256, 128, 64], 6_342_337, "64 to 512 channels"),
  dcgan([1024, 512, 256, 128], 23_694_721, "128 to 1024 channels"),
  ddpm,
  stable,
];

/** The same networks so small that a call takes milliseconds, for tests and first looks. */
export const smallConfigs: Configs = {
  vae: { batch: 2, imageSize: 8, hidden: 16, latents: 4 },
  dcgan: { batch: 2, imageSize: 16, latents: 8, channels: [8, 4] },
  ddpm: { batch: 1, imageSize: 8, channels: [8, 16], blocks: 1, attention: [4], groups: 4, dropout: 0.1 },
  stable: { batch: 1, size: 8, tokens: 3, channels: [8, 16], blocks: 1, heads: 2, contextDim: 12, groups: 4 },
};
