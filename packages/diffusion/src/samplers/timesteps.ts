// Which of the training steps a sampler visits (Lin et al. 2024, table 2), from the noisiest down.

import { checkChoice } from "@figment/nn";
import { show, UsageError } from "@figment/tensor";
import { mostSteps } from "../schedule.js";

/** How timesteps are spread over training: "trailing" ends at the last one, "leading" at the first, "linspace" at both. */
export type Spacing = "leading" | "linspace" | "trailing";
const spacings: readonly Spacing[] = ["leading", "linspace", "trailing"];

/** Where a sampler's timesteps lie. */
export interface TimestepOptions {
  /** Default "trailing". */
  readonly spacing?: Spacing;
  /** Added to each timestep of the spacing "leading". Default 0. */
  readonly stepsOffset?: number;
}

/** The nearest integer, halves to the even one, as NumPy rounds. */
export function roundEven(x: number): number {
  const low = Math.floor(x);
  if (x - low !== 0.5) return Math.round(x);
  return low % 2 === 0 ? low : low + 1;
}

export function checkCount(count: number, total: number): void {
  if (!Number.isInteger(total) || total < 1 || total > mostSteps)
    throw new UsageError(`sampler: expected 1 to ${mostSteps} training steps, got ${String(total)}`);
  if (!Number.isInteger(count) || count < 1 || count > total)
    throw new UsageError(`sampler: expected 1 to ${total} steps, got ${String(count)}`);
}

/** Multiples of `ratio`, the largest first, moved by the offset, which must not lead out of training. */
function leading(indices: readonly number[], ratio: number, offset: number, total: number): number[] {
  const most = total - 1 - (indices.at(-1) as number) * ratio;
  if (!Number.isInteger(offset) || offset < 0 || offset > most)
    throw new UsageError(`sampler: stepsOffset must be an integer from 0 to ${most} here, got ${show(offset)}`);
  return down(indices.map((i) => i * ratio + offset));
}

/** `count` numbers from `from` to `to`. */
export function linspace(from: number, to: number, count: number): number[] {
  const step = count > 1 ? (to - from) / (count - 1) : 0;
  return Array.from({ length: count }, (_, i) => (count > 1 && i === count - 1 ? to : from + i * step));
}

/** Reverses. */
const down = (times: readonly number[]): number[] => [...times].reverse();

/** Trailing timesteps from `last` down, `ratio` apart. */
const trailing = (last: number, ratio: number): number[] => {
  const times: number[] = [];
  for (let i = 0; last - i * ratio > 0; i++) times.push(roundEven(last - i * ratio) - 1);
  return times;
};

/**
 * The timesteps of samplers that take one step from each: `count` of `total`, evenly spread.
 *
 * @param rounded whether "linspace" rounds to whole steps.
 * @throws UsageError unless 1 ≤ count ≤ total, for another spacing, or an offset that leads out of training.
 * @example
 * spacedTimesteps(4, 1000, { spacing: "leading", stepsOffset: 1 })[0]; // 751
 */
export function spacedTimesteps(
  count: number,
  total: number,
  { spacing = "trailing", stepsOffset = 0 }: TimestepOptions = {},
  rounded = true,
): number[] {
  checkCount(count, total);
  if (spacing === "trailing") return trailing(total, total / count).slice(0, count);
  if (spacing === "linspace") {
    const times = down(linspace(0, total - 1, count));
    return rounded ? times.map(roundEven) : times.map(Math.fround);
  }
  checkChoice("sampler", "spacing", spacing, spacings);
  const indices = Array.from({ length: count }, (_, i) => i);
  return leading(indices, Math.floor(total / count), stepsOffset, total);
}

/** The timesteps below `last` of multistep solvers, which leave out the last of `count + 1`. */
export function solverTimesteps(
  count: number,
  total: number,
  { spacing = "trailing", stepsOffset = 0 }: TimestepOptions,
  last = total,
): number[] {
  checkCount(count, total);
  if (spacing === "trailing") return trailing(last, total / count).slice(0, count);
  if (spacing === "linspace")
    return down(linspace(0, last - 1, count + 1))
      .slice(0, -1)
      .map(roundEven);
  checkChoice("sampler", "spacing", spacing, spacings);
  const indices = Array.from({ length: count }, (_, i) => i + 1);
  return leading(indices, Math.floor(last / (count + 1)), stepsOffset, total);
}

/**
 * `count` timesteps of `total`, evenly spaced from the last one down: round(total·(1 − i/count)) − 1. The last
 * step of training is always among them ("trailing" spacing, Lin et al. 2024, table 2).
 *
 * @throws UsageError unless 1 ≤ count ≤ total.
 * @example
 * trailingTimesteps(4, 1000).at(-1); // 249
 */
export const trailingTimesteps = (count: number, total: number): number[] => spacedTimesteps(count, total);
