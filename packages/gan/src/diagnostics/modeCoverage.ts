// How many modes of a mixture a generator has found, and how good its samples are (Srivastava et al. 2017, §4.1): a sample is good
// when it lies within three standard deviations of a mode; a mode is covered when good samples of its own are there.

import { checkObject, checkTensor, ShapeError, showShape, type Tensor, UsageError } from "@figment/tensor";

/** A mixture of Gaussians that share one deviation. */
export interface Mixture {
  readonly modes: readonly (readonly number[])[];
  readonly deviation: number;
}

/** What a generator's samples cover. */
export interface ModeCoverage {
  /** Modes with good samples. */
  readonly covered: number;
  /** The share of samples that are good, in [0, 1]. */
  readonly quality: number;
  /** Good samples of each mode. */
  readonly counts: readonly number[];
  /**
   * KL divergence, in nats, of the good samples' modes from equal shares: 0 when all modes are drawn alike, ln(modes) when one is
   * drawn alone; NaN without good samples.
   */
  readonly imbalance: number;
}

/** Options of {@link modeCoverage}. */
export interface ModeCoverageOptions {
  /** How many deviations around a mode samples are good. Default 3: of a Gaussian in the plane 98.9 % are. */
  readonly within?: number;
  /** Good samples that a mode needs to be covered. Default 1. */
  readonly atLeast?: number;
}

/**
 * Counts the modes that samples cover, and the good samples among them.
 *
 * @param samples f32 [N, D].
 * @throws ShapeError when samples and modes differ in dimension.
 * @example
 * const { covered, quality } = await modeCoverage(tensor([[0, 0.1], [1, 1]]), { modes: [[0, 0], [2, 2]], deviation: 0.1 });
 * covered; // 1
 * quality; // 0.5
 */
export async function modeCoverage(
  samples: Tensor,
  mixture: Mixture,
  options: ModeCoverageOptions = {},
): Promise<ModeCoverage> {
  checkTensor("modeCoverage", "samples", samples);
  const { modes, deviation } = checkObject("modeCoverage", "mixture", mixture, "modes", "deviation");
  const { within = 3, atLeast = 1 } = checkObject("modeCoverage", "options", options);
  const [n = 0, dimensions = 0] = samples.shape;
  if (samples.rank !== 2 || n === 0 || modes.length === 0 || modes.some((mode) => mode.length !== dimensions))
    throw new ShapeError(
      `modeCoverage: expected samples [N, ${modes[0]?.length ?? "D"}] as the ${modes.length} modes are, got ${showShape(samples.shape)}`,
    );
  for (const [name, value] of Object.entries({ deviation, within, atLeast }))
    if (!(value > 0)) throw new UsageError(`modeCoverage: ${name} must be a positive number, got ${value}`);
  const data = await samples.data();
  const counts = new Array<number>(modes.length).fill(0);
  for (let i = 0; i < n; i++) {
    const point = data.subarray(i * dimensions, (i + 1) * dimensions);
    const { index, distance } = nearest(point, modes);
    if (distance <= within * deviation) counts[index] = (counts[index] as number) + 1;
  }
  const good = counts.reduce((sum, count) => sum + count, 0);
  return {
    covered: counts.filter((count) => count >= atLeast).length,
    quality: good / n,
    counts,
    imbalance: divergenceFromUniform(counts),
  };
}

function nearest(point: ArrayLike<number>, modes: Mixture["modes"]): { index: number; distance: number } {
  let [index, least] = [0, Number.POSITIVE_INFINITY];
  for (const [i, mode] of modes.entries()) {
    const distance = mode.reduce((sum, centre, d) => sum + ((point[d] as number) - centre) ** 2, 0);
    if (distance < least) [index, least] = [i, distance];
  }
  return { index, distance: Math.sqrt(least) };
}

/** KL(shares ‖ uniform) = Σ p·ln(p·n), in nats; NaN when there is nothing to share. */
export function divergenceFromUniform(counts: readonly number[]): number {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return Number.NaN;
  return counts.reduce((sum, count) => {
    const share = count / total;
    return share === 0 ? sum : sum + share * Math.log(share * counts.length);
  }, 0);
}
