// A grid of Gaussians in the plane (Dumoulin et al. 2017; Srivastava et al. 2017, VEEGAN, §4.1; Gulrajani et al. 2017, figure 1):
// the smallest data on which a generator can be seen to forget modes, or to put samples between them.

import { checkCounts } from "@figment/nn";
import { checkObject, gather, type Rng, scope, type Tensor, tensor, UsageError } from "@figment/tensor";

/** Options of {@link GaussianGrid}. */
export interface GaussianGridOptions {
  /** Gaussians along each axis. Default 5: 25 of them. */
  readonly side?: number;
  /** Between neighbouring centres. Default 2. */
  readonly spacing?: number;
  /** Standard deviation of each Gaussian, the same along both axes. Default 0.05. */
  readonly deviation?: number;
}

/**
 * side × side Gaussians of equal weight, their centres on a square grid around the origin.
 *
 * @example
 * const grid = new GaussianGrid();
 * grid.modes.length; // 25
 * grid.sample(8, rng(0)); // [8, 2]
 */
export class GaussianGrid {
  readonly side: number;
  readonly spacing: number;
  readonly deviation: number;
  /** The centres. */
  readonly modes: readonly (readonly [x: number, y: number])[];

  /** @throws UsageError unless side is an integer of at least 1 and the lengths are positive numbers. */
  constructor(options: GaussianGridOptions = {}) {
    const { side = 5, spacing = 2, deviation = 0.05 } = checkObject("GaussianGrid", "options", options);
    checkCounts("GaussianGrid", { side });
    for (const [name, length] of Object.entries({ spacing, deviation }))
      if (!(length > 0 && Number.isFinite(length)))
        throw new UsageError(`GaussianGrid: ${name} must be a positive number, got ${length}`);
    this.side = side;
    this.spacing = spacing;
    this.deviation = deviation;
    const along = Array.from({ length: side }, (_, i) => (i - (side - 1) / 2) * spacing);
    this.modes = along.flatMap((x) => along.map((y) => [x, y] as const));
  }

  /** The standard deviation of the whole mixture along each axis: √(spacing²·(side² − 1)/12 + deviation²). */
  get scale(): number {
    return Math.sqrt((this.spacing ** 2 * (this.side ** 2 - 1)) / 12 + this.deviation ** 2);
  }

  /** The same grid in units of its own scale, as networks like their data: each axis varies by 1. */
  normalised(): GaussianGrid {
    const { side, spacing, deviation, scale } = this;
    return new GaussianGrid({ side, spacing: spacing / scale, deviation: deviation / scale });
  }

  /** Draws points f32 [n, 2]. */
  sample(n: number, random: Rng): Tensor {
    return scope(() => {
      const centres = tensor(Float32Array.from(this.modes.flat()), { shape: [this.modes.length, 2] });
      const drawn = gather(centres, random.randint([n], 0, this.modes.length));
      return drawn.add(random.normal([n, 2]).mul(this.deviation));
    });
  }
}
