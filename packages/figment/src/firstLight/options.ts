// Options of the main job, checked.

import { type Precision, UsageError } from "@figment/tensor";

/** The formats of factors that the main job can be asked for. */
export const precisions = ["f32", "bf16"] as const;

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
  /** What convolutions, matrix products and attention multiply. Default "f32". */
  readonly precision?: (typeof precisions)[number];
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

/** Reads the option that names a precision. */
export function precisionOption(text: string): (typeof precisions)[number] {
  const found = precisions.find((precision) => precision === text);
  if (!found) throw new UsageError(`--precision: expected ${precisions.join(" or ")}, got ${JSON.stringify(text)}`);
  return found;
}

/** The precision of compiled programs that an option stands for. */
export const compilePrecision = ({ precision }: Pick<FirstLightOptions, "precision">): Precision =>
  precision === "bf16" ? "bf16" : "highest";
