// The shape that U-Nets share (Ronneberger et al. 2015): levels of stages down to the coarsest resolution and up again, where
// each stage on the way up is also given what one on the way down left at its resolution.

import { checkCountsOf, Downsample, type DownsampleOptions, Upsample } from "@figment/nn";
import { checkArray, concat, type Tensor, UsageError } from "@figment/tensor";

/** One level on the way down or up: its stages, then the change of resolution. */
export interface Level<S, R> {
  readonly stages: readonly S[];
  readonly resample: R | null;
}

/** The levels in the order in which they are passed: down the finest comes first, up the coarsest. */
export interface Levels<S> {
  readonly down: readonly Level<S, Downsample>[];
  readonly up: readonly Level<S, Upsample>[];
}

/** What {@link makeLevels} builds. */
export interface LevelsOptions<S> {
  /** Channels of each level, the finest first. */
  readonly channels: readonly number[];
  /** Stages of each level on the way down; one more on the way up. */
  readonly blocks: number;
  /** A stage of a level, the finest 0. */
  stage(from: number, to: number, level: number): S;
  readonly padding?: DownsampleOptions["padding"];
}

/**
 * The channels of the finest and the coarsest level.
 *
 * @throws UsageError when there is no level, or channels that are no count.
 */
export function outerChannels(owner: string, channels: readonly number[]): readonly [finest: number, coarsest: number] {
  checkCountsOf(owner, "channels", channels);
  const [finest, coarsest] = [channels[0], channels.at(-1)];
  if (finest === undefined || coarsest === undefined)
    throw new UsageError(`${owner}: channels must name at least one level`);
  return [finest, coarsest];
}

/** @throws UsageError when `attentionLevels` is no list or names levels that there are not. */
export function checkLevels(owner: string, attentionLevels: readonly number[], count: number): void {
  checkArray(owner, "attentionLevels", attentionLevels);
  const wrong = attentionLevels.find((level) => !(Number.isInteger(level) && level >= 0 && level < count));
  if (wrong !== undefined)
    throw new UsageError(`${owner}: attentionLevels names ${wrong}, the levels are 0 to ${count - 1}`);
}

/** The levels of a network whose first layer gives as many channels as the finest has. */
export function makeLevels<S>({ channels, blocks, stage, padding }: LevelsOptions<S>): Levels<S> {
  let width = channels[0] as number;
  const skips = [width];
  const down = channels.map((to, level) => {
    const stages = Array.from({ length: blocks }, () => {
      const made = stage(width, to, level);
      width = to;
      skips.push(to);
      return made;
    });
    if (level === channels.length - 1) return { stages, resample: null };
    skips.push(to);
    return { stages, resample: new Downsample(to, { padding }) };
  });
  const up = channels
    .map((to, level) => ({ to, level }))
    .reverse()
    .map(({ to, level }) => {
      const stages = Array.from({ length: blocks + 1 }, () => {
        const made = stage(width + (skips.pop() as number), to, level);
        width = to;
        return made;
      });
      return { stages, resample: level === 0 ? null : new Upsample(to) };
    });
  return { down, up };
}

/** What {@link passLevels} does besides walking. */
export interface Pass<S> {
  stage(stage: S, h: Tensor): Tensor;
  /** Between the way down and the way up. */
  middle(h: Tensor): Tensor;
  /** Is shown what enters each level on the way down. */
  enter?(level: number, h: Tensor): void;
}

/** Sends what the first layer gave, [N,H,W,C], down and up again: to the finest level's channels at the same resolution. */
export function passLevels<S>({ down, up }: Levels<S>, first: Tensor, { stage, middle, enter }: Pass<S>): Tensor {
  let h = first;
  const skips = [h];
  for (const [level, { stages, resample }] of down.entries()) {
    enter?.(level, h);
    for (const each of stages) {
      h = stage(each, h);
      skips.push(h);
    }
    if (!resample) continue;
    h = resample.forward(h);
    skips.push(h);
  }
  h = middle(h);
  for (const { stages, resample } of up) {
    for (const each of stages) h = stage(each, concat([h, skips.pop() as Tensor], 3));
    // The size to return to is that of the next skip connection: heights may be odd.
    const target = skips.at(-1);
    if (resample && target) h = resample.forward(h, [target.dim(1), target.dim(2)]);
  }
  return h;
}
