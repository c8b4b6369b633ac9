// The work of the cases that all peers share, as records of numbers and words: each peer builds its own form of it. A
// record is one line of text for the peers that are programs of their own.

/** What operands and results are kept as; sums are f32. */
export const formats = ["f32", "bf16"] as const;
export type Format = (typeof formats)[number];

/** A convolution of channels-last images, or its derivative by the image ("data") or by the weights. */
export interface ConvWork {
  readonly kind: "conv";
  readonly pass: "forward" | "data" | "weight";
  readonly n: number;
  readonly inChannels: number;
  readonly outChannels: number;
  /** Height and width of the convolution's input, and of its output. */
  readonly size: number;
  readonly outSize: number;
  readonly kernel: number;
  readonly stride: number;
  readonly padding: number;
}

export interface AttentionWork {
  readonly kind: "attention";
  readonly pass: "forward" | "both";
  readonly batch: number;
  readonly heads: number;
  readonly sequence: number;
  readonly depth: number;
}

export interface MatmulWork {
  readonly kind: "matmul";
  readonly m: number;
  readonly k: number;
  readonly n: number;
}

/** Group normalisation with SiLU. */
export interface GroupNormWork {
  readonly kind: "groupNorm";
  readonly n: number;
  readonly channels: number;
  readonly size: number;
  readonly groups: number;
  readonly epsilon: number;
}

/** a[t]·x + b[t]·noise with a timestep for each of n samples. */
export interface NoisingWork {
  readonly kind: "addNoise";
  readonly n: number;
  readonly size: number;
  readonly channels: number;
  readonly steps: number;
}

/** x₀ = clamp(c₀·x + c₁·ε), then c₂·x₀ + c₄·x + c₅·ε, and with noise + c₃·z, z drawn anew. */
export interface SamplerWork {
  readonly kind: "samplerStep";
  readonly noise: "none" | "drawn";
  readonly n: number;
  readonly size: number;
  readonly channels: number;
  readonly c0: number;
  readonly c1: number;
  readonly c2: number;
  readonly c3: number;
  readonly c4: number;
  readonly c5: number;
}

export interface RandnWork {
  readonly kind: "randn";
  readonly count: number;
}

/** Numbers from one place to another. */
export interface CopyWork {
  readonly kind: "copy";
  readonly count: number;
}

export type Work =
  | CopyWork
  | ConvWork
  | AttentionWork
  | MatmulWork
  | GroupNormWork
  | NoisingWork
  | SamplerWork
  | RandnWork;

/** A record as one line: key=value between spaces. */
export const lineOf = (record: Readonly<Record<string, string | number>>): string =>
  Object.entries(record)
    .map(([key, value]) => `${key}=${value}`)
    .join(" ");
