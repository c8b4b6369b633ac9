// Learning rates that fit runs of any length.

import { type Schedule, warmupCosineLr } from "@figment/nn";

/** A rate that rises over `warmup` steps, a tenth of short runs, and falls as a cosine to the end. */
export const risingRate = ({ lr, warmup }: { readonly lr: number; readonly warmup: number }, steps: number): Schedule =>
  warmupCosineLr({ peak: lr, warmup: Math.min(warmup, Math.floor(steps / 10) + 1), total: Math.max(steps, 3) });
