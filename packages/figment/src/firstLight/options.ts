// Options of the main job, checked.

import { UsageError } from "@figment/tensor";

/** What the main job is asked to do. */
export interface FirstLightOptions {
  /** A folder of MNIST's IDX files or of images; the embedded digits without it. */
  readonly data?: string;
  /** Updates. Default: what three minutes allow on two cores. */
  readonly steps: number;
  readonly seed: number;
  /** Where the results go. */
  readonly out: string;
  /** Pixels a side. Default: the data set's own, 32 for folders of images. */
  readonly size?: number;
  readonly batch: number;
  /** Denoising steps of the sampler. */
  readonly sampleSteps: number;
  readonly threads?: number;
  /** Steps between checkpoints, from which a run that was killed can be resumed. */
  readonly saveEvery: number;
  /** Go on from the checkpoint in `out`. */
  readonly resume: boolean;
}

/** Reads an option that must be an integer of at least `lowest`. */
export function integerOption(name: string, lowest: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < lowest)
      throw new UsageError(`--${name}: expected an integer of at least ${lowest}, got ${JSON.stringify(text)}`);
    return value;
  };
}
