// Editing images with a model that was trained to draw them: starting from a noised image (Meng et al. 2022, SDEdit), and
// keeping known pixels while the rest is drawn (Lugmayr et al. 2022, RePaint). Both only change which steps are taken.

import { checkCounts } from "@figment/nn";
import { ShapeError, showShape, type Tensor, UsageError } from "@figment/tensor";
import { alphaBarAt, type Process, type SamplerRow } from "./samplers/row.js";
import { mostSteps } from "./schedule.js";
import type { StepNumbers } from "./step.js";

/** Starting from an image instead of from noise. */
export interface FromImage {
  /** [N,H,W,C], in [-1, 1]. */
  readonly image: Tensor;
  /** How much of the walk is taken: 1 forgets the image, small values change details. In (0, 1]. */
  readonly strength: number;
}

/** Drawing only a part of an image. */
export interface Inpainting {
  /** [N,H,W,C], in [-1, 1]; what it holds where it is not known does not matter. */
  readonly image: Tensor;
  /** 1 where the image is known and 0 where it is to be drawn: a shape that broadcasts to the image's. */
  readonly mask: Tensor;
  /** How often each stretch of steps is taken, so that both parts come to fit each other. Default 10. */
  readonly resamples?: number;
  /** Steps of a stretch, the last of which may be shorter. Default 10. */
  readonly jump?: number;
}

/** A step of a walk: a row, and what surrounds it. */
export type PlannedStep = { readonly row: SamplerRow } & Pick<StepNumbers, "known" | "again">;

/** The parts of signal and noise in x when a row is about to be taken. */
export function levelBefore(row: SamplerRow, { alphasCumprod }: Process): readonly [signal: number, noise: number] {
  if (row.level) return row.level;
  const alphaBar = alphaBarAt(alphasCumprod, Math.round(row.timestep));
  return [Math.sqrt(alphaBar), Math.sqrt(1 - alphaBar)];
}

const looksBack = (row: SamplerRow): boolean =>
  Object.values(row.onKept ?? {}).some((weight) => weight !== 0) || row.keep !== undefined;

/** The rows that remain when a walk starts from an image. */
export function rowsFrom(
  rows: readonly SamplerRow[],
  { image, strength }: FromImage,
  shape: readonly number[],
): readonly SamplerRow[] {
  if (!(strength > 0 && strength <= 1)) throw new UsageError(`sample: strength must be in (0, 1], got ${strength}`);
  if (image.shape.join() !== shape.join())
    throw new ShapeError(
      `sample: the image to start from has shape ${showShape(image.shape)}, expected [${shape.join(", ")}]`,
    );
  const taken = Math.max(1, Math.min(rows.length, Math.floor(rows.length * strength)));
  const rest = rows.slice(rows.length - taken);
  if (taken < rows.length && rest.some(looksBack))
    throw new UsageError(
      "sample: this sampler's steps look back at earlier ones, so that it cannot start in the middle; take ddim, ddpm or euler",
    );
  return rest;
}

/** The walk that keeps known pixels: each stretch is taken several times, with noise added back in between. */
export function inpaintingSteps(
  rows: readonly SamplerRow[],
  process: Process,
  { resamples = 10, jump = 10 }: Inpainting,
): PlannedStep[] {
  checkCounts("sample", { resamples, jump });
  if (rows.some((row) => looksBack(row) || row.level !== undefined))
    throw new UsageError("sample: known pixels can be kept by samplers that look at one step alone; take ddim or ddpm");
  /** √ᾱ and √(1 − ᾱ) once a row has been taken. */
  const after = (i: number): readonly [number, number] => {
    const next = rows[i + 1];
    return next ? levelBefore(next, process) : [1, 0];
  };
  if (rows.length * resamples > mostSteps)
    throw new UsageError(`sample: expected resamples × steps ≤ ${mostSteps}, got ${resamples} × ${rows.length}`);
  const steps: PlannedStep[] = [];
  for (let begin = 0; begin < rows.length; begin += jump) {
    const end = Math.min(begin + jump, rows.length);
    for (let time = 0; time < resamples; time++) {
      for (let i = begin; i < end; i++) {
        const back = i === end - 1 && time < resamples - 1;
        const [signal] = levelBefore(rows[begin] as SamplerRow, process);
        const scale = signal / after(i)[0];
        const again = back ? ([scale, Math.sqrt(Math.max(0, 1 - scale ** 2))] as const) : undefined;
        steps.push({ row: rows[i] as SamplerRow, known: after(i), again });
      }
    }
  }
  return steps;
}
