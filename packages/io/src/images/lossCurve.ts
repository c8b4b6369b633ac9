// A loss curve as SVG: the raw values faint, a running mean bold, axes with round numbers. Written here because
// what plots in Node does so through a DOM or a canvas.

import { checkArray, checkObject, show, UsageError } from "@figment/tensor";
import { writeFileAtomic } from "../files/atomic.js";
import { checkPath } from "../files/checkPath.js";

/** One measurement. */
export interface LossPoint {
  readonly step: number;
  readonly loss: number;
}

/** How a curve is drawn. */
export interface LossCurveOptions {
  readonly title?: string;
  /** Name of the vertical axis. Default "loss". */
  readonly label?: string;
  /** Logarithmic vertical axis. Default: when all values are positive and span more than a factor of 20. */
  readonly log?: boolean;
  /** Weight that the running mean keeps of its past at each point, 0 (no smoothing) … 1. Default: over 1/50 of the curve. */
  readonly smoothing?: number;
  /** Pixels. Default 720 × 400. */
  readonly width?: number;
  readonly height?: number;
}

const margin = { left: 64, right: 20, top: 36, bottom: 44 } as const;
const colour = { line: "#2563eb", raw: "#93b4f5", axis: "#475569", grid: "#e2e8f0", paper: "#ffffff" } as const;

/** Ratio of largest to smallest value from which a logarithmic axis reads better. */
const logRatio = 20;

/** Part of the curve over which the running mean forgets, by default. */
const smoothedPart = 1 / 50;

/** Larger values overflow where axes are computed. */
const largestDrawn = 1e300;

/** More points than this cannot be told apart; they are drawn as the mean of their neighbourhood. */
const maxPoints = 1000;

/**
 * Draws a loss curve. Points that are not finite or beyond 1e300 are left out, as are non-positive ones on a logarithmic axis.
 *
 * @returns the SVG document.
 *
 * @example
 * const svg = lossCurve([
 *   { step: 0, loss: 1 },
 *   { step: 1, loss: 0.5 },
 * ]);
 */
export function lossCurve(points: readonly LossPoint[], options: LossCurveOptions = {}): string {
  checkArray("lossCurve", "points", points);
  const { title = "", label = "loss", width = 720, height = 400 } = checkObject("lossCurve", "options", options);
  for (const [name, text] of Object.entries({ title, label }))
    if (typeof text !== "string") throw new UsageError(`lossCurve: ${name} must be a text, got ${show(text)}`);
  for (const [name, extent] of Object.entries({ width, height }))
    if (!(extent > 0 && Number.isFinite(extent)))
      throw new UsageError(`lossCurve: ${name} must be a number of pixels, got ${show(extent)}`);
  const isDrawn = (value: number) => Math.abs(value) <= largestDrawn;
  const finite = points.filter(({ step, loss }) => isDrawn(step) && isDrawn(loss));
  const log = options.log ?? prefersLog(finite);
  const drawn = thin(log ? finite.filter(({ loss }) => loss > 0) : finite);
  const smoothing = options.smoothing ?? Math.max(0, 1 - 1 / (smoothedPart * Math.max(1, drawn.length)));
  if (!(smoothing >= 0 && smoothing < 1))
    throw new UsageError(`lossCurve: smoothing must be from 0 to below 1, got ${smoothing}`);

  const smooth = smoothed(drawn, smoothing, log);
  const x = linearScale(
    drawn.map(({ step }) => step),
    [margin.left, width - margin.right],
    false,
  );
  const vertical = [height - margin.bottom, margin.top] as const;
  const losses = drawn.map(({ loss }) => loss);
  const y = log ? logScale(losses, vertical) : linearScale(losses, vertical, true);
  const path = (line: readonly LossPoint[]) =>
    line.map(({ step, loss }, i) => `${i === 0 ? "M" : "L"}${px(x.at(step))} ${px(y.at(loss))}`).join("");

  const right = width - margin.right;
  const bottom = height - margin.bottom;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12" fill="${colour.axis}">`,
    // What screen readers say of the picture.
    `<title>${escapeText(title || label)}</title>`,
    `<rect width="${width}" height="${height}" fill="${colour.paper}"/>`,
    ...y.ticks.map(
      (value) =>
        `<line x1="${margin.left}" x2="${right}" y1="${px(y.at(value))}" y2="${px(y.at(value))}" stroke="${colour.grid}"/>` +
        `<text x="${margin.left - 8}" y="${px(y.at(value) + 4)}" text-anchor="end">${showNumber(value)}</text>`,
    ),
    ...x.ticks.map(
      (value) =>
        `<line x1="${px(x.at(value))}" x2="${px(x.at(value))}" y1="${bottom}" y2="${bottom + 5}" stroke="${colour.axis}"/>` +
        `<text x="${px(x.at(value))}" y="${bottom + 19}" text-anchor="middle">${showNumber(value)}</text>`,
    ),
    `<line x1="${margin.left}" x2="${right}" y1="${bottom}" y2="${bottom}" stroke="${colour.axis}"/>`,
    `<text x="${px((margin.left + right) / 2)}" y="${height - 8}" text-anchor="middle">step</text>`,
    `<text transform="translate(16 ${px((margin.top + bottom) / 2)}) rotate(-90)" text-anchor="middle">${escapeText(label)}${log ? " (log)" : ""}</text>`,
    `<text x="${margin.left}" y="22" font-size="14" font-weight="600">${escapeText(title)}</text>`,
    `<path d="${path(drawn)}" fill="none" stroke="${smoothing > 0 ? colour.raw : colour.line}" stroke-width="${smoothing > 0 ? 1 : 2}" stroke-linejoin="round"/>`,
    ...(smoothing > 0
      ? [`<path d="${path(smooth)}" fill="none" stroke="${colour.line}" stroke-width="2" stroke-linejoin="round"/>`]
      : []),
    "</svg>\n",
  ].join("\n");
}

/**
 * Saves {@link lossCurve} to a file, atomically.
 *
 * @example
 * await saveLossCurve("loss.svg", [
 *   { step: 0, loss: 1 },
 *   { step: 1, loss: 0.5 },
 * ]);
 */
export async function saveLossCurve(
  path: string,
  points: readonly LossPoint[],
  options: LossCurveOptions = {},
): Promise<void> {
  checkPath("saveLossCurve", "path", path);
  await writeFileAtomic(path, lossCurve(points, options));
}

/** Values to pixels, with round values to mark. */
interface Scale {
  at(value: number): number;
  readonly ticks: readonly number[];
}

function linearScale(values: readonly number[], [from, to]: readonly [number, number], roundEnds: boolean): Scale {
  let [low, high] = bounds(values);
  if (high === low) high = low + Math.max(1, Math.abs(low));
  const spacing = tickSpacing((high - low) / 6);
  if (roundEnds) {
    low = Math.floor(low / spacing) * spacing;
    high = Math.ceil(high / spacing) * spacing;
  }
  const first = Math.ceil(low / spacing - 1e-9);
  const count = Math.floor(high / spacing + 1e-9) - first + 1;
  const ticks = Array.from({ length: count }, (_, i) => (first + i) * spacing);
  return { at: (value) => from + ((value - low) / (high - low)) * (to - from), ticks };
}

function logScale(values: readonly number[], [from, to]: readonly [number, number]): Scale {
  const [lowest, highest] = values.length > 0 ? bounds(values) : [1, 10];
  const low = Math.log10(roundDown(lowest));
  const high = Math.max(low + 0.3, Math.log10(tickSpacing(highest)));
  const steps = high - low <= 3 ? roundSteps : [1];
  const decades = Array.from({ length: Math.ceil(high) - Math.floor(low) + 1 }, (_, i) => Math.floor(low) + i);
  const inside = (value: number) => Math.log10(value) > low - 1e-9 && Math.log10(value) < high + 1e-9;
  const ticks = decades.flatMap((decade) => steps.map((step) => step * 10 ** decade)).filter(inside);
  return { at: (value) => from + ((Math.log10(value) - low) / (high - low)) * (to - from), ticks };
}

function bounds(values: readonly number[]): [number, number] {
  if (values.length === 0) return [0, 1];
  return values.reduce<[number, number]>(
    ([low, high], value) => [Math.min(low, value), Math.max(high, value)],
    [Infinity, -Infinity],
  );
}

/** The round numbers of axes, in each decade. */
const roundSteps = [1, 2, 5] as const;

/** The next of 1, 2, 5 × 10^n from `least` on. */
function tickSpacing(least: number): number {
  const decade = 10 ** Math.floor(Math.log10(least));
  return decade * (roundSteps.find((step) => step * decade >= least) ?? 10);
}

/** The last of 1, 2, 5 × 10^n up to `most`. */
function roundDown(most: number): number {
  const decade = 10 ** Math.floor(Math.log10(most));
  return decade * (roundSteps.findLast((step) => step * decade <= most) ?? 1);
}

function prefersLog(points: readonly LossPoint[]): boolean {
  const [low, high] = bounds(points.map(({ loss }) => loss));
  return points.length > 1 && low > 0 && high / low > logRatio;
}

function thin(points: readonly LossPoint[]): LossPoint[] {
  const group = Math.ceil(points.length / maxPoints);
  if (group <= 1) return [...points];
  return Array.from({ length: Math.ceil(points.length / group) }, (_, i) => {
    const members = points.slice(i * group, (i + 1) * group);
    const mean = (value: (point: LossPoint) => number) =>
      members.reduce((sum, point) => sum + value(point), 0) / members.length;
    return { step: mean(({ step }) => step), loss: mean(({ loss }) => loss) };
  });
}

/** Means with weights that fall off exponentially to both sides, so that the line does not lag; geometric on a log axis. */
function smoothed(points: readonly LossPoint[], keep: number, log: boolean): LossPoint[] {
  const values = points.map(({ loss }) => (log ? Math.log(loss) : loss));
  const past = decayingSums(values, keep);
  const future = decayingSums(values.toReversed(), keep).reverse();
  return points.map(({ step }, i) => {
    const before = past[i] as DecayingSum;
    const after = future[i] as DecayingSum;
    // Both sides count the point itself, with weight 1.
    const mean = (before.sum + after.sum - (values[i] as number)) / (before.weight + after.weight - 1);
    return { step, loss: log ? Math.exp(mean) : mean };
  });
}

interface DecayingSum {
  readonly sum: number;
  readonly weight: number;
}

function decayingSums(values: readonly number[], keep: number): DecayingSum[] {
  let sum = 0;
  let weight = 0;
  return values.map((value) => {
    sum = keep * sum + value;
    weight = keep * weight + 1;
    return { sum, weight };
  });
}

const px = (value: number): string => String(Math.round(value * 10) / 10);

function showNumber(value: number): string {
  if (value !== 0 && (Math.abs(value) < 1e-4 || Math.abs(value) >= 1e7)) return value.toExponential(0);
  return String(Number(value.toPrecision(6)));
}

const escapeText = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
