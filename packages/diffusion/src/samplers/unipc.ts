// UniPC (Zhao et al. 2023): a multistep predictor, and a corrector that uses the prediction made at the new point at no
// further evaluation of the network.

import { checkChoice, checkCounts, checkFlags } from "@figment/nn";
import { checkArray, checkObject } from "@figment/tensor";
import { clean, combine, kept, type Mix, now, type Sampler } from "./row.js";
import { checkOrder, type Level, type SolverOptions, solverWalk } from "./solvers.js";

/** Options of {@link uniPc}. */
export interface UniPcOptions extends SolverOptions {
  /** B(h) of Zhao et al. 2023, §3.1: h, or eʰ − 1. Default "bh2". */
  readonly kind?: "bh1" | "bh2";
  /** Steps whose results are not corrected. Default none. */
  readonly uncorrected?: readonly number[];
}

/** Solves A·x = b by elimination; small, and well enough conditioned. */
function solve(matrix: readonly (readonly number[])[], vector: readonly number[]): number[] {
  const n = vector.length;
  const rows = matrix.map((row, i) => [...row, vector[i] as number]);
  for (let i = 0; i < n; i++) {
    const best = rows.slice(i).reduce((most, row, k) => {
      return Math.abs(row[i] as number) > Math.abs(rows[most]?.[i] as number) ? i + k : most;
    }, i);
    [rows[i], rows[best]] = [rows[best] as number[], rows[i] as number[]];
    const pivot = rows[i] as number[];
    for (const [k, row] of rows.entries()) {
      if (k === i) continue;
      const factor = (row[i] as number) / (pivot[i] as number);
      for (let j = i; j <= n; j++) row[j] = (row[j] as number) - factor * (pivot[j] as number);
    }
  }
  return rows.map((row, i) => (row[n] as number) / (row[i] as number));
}

/** A step between levels: what x is scaled by, what x₀ there counts, what the differences count, and their weights. */
interface Parts {
  readonly decay: number;
  readonly onPrediction: number;
  readonly onDifferences: number;
  /** (λᵢ − λ₀)/h of the earlier levels, then 1. */
  readonly places: readonly number[];
  /** The right-hand sides of Zhao et al. 2023, eq. 8. */
  readonly sides: readonly number[];
}

function partsOf(levels: readonly Level[], from: number, order: number, kind: "bh1" | "bh2"): Parts {
  const [start, to] = [levels[from] as Level, levels[from + 1] as Level];
  const step = to.lambda - start.lambda;
  const h = -step;
  const earlier = Array.from({ length: order - 1 }, (_, k) => levels[from - 1 - k] as Level);
  const grown = Math.expm1(h);
  const scale = kind === "bh1" ? h : grown;
  const sides: number[] = [];
  let factorial = 1;
  let phi = grown / h - 1;
  for (let k = 1; k <= order; k++) {
    sides.push((phi * factorial) / scale);
    factorial *= k + 1;
    phi = phi / h - 1 / factorial;
  }
  return {
    decay: to.noise / start.noise,
    onPrediction: -to.alpha * grown,
    onDifferences: -to.alpha * scale,
    places: [...earlier.map(({ lambda }) => (lambda - start.lambda) / step), 1],
    sides,
  };
}

const powers = (places: readonly number[], count: number): number[][] =>
  Array.from({ length: count }, (_, k) => places.slice(0, count).map((place) => place ** k));

/** (mᵢ − m₀)/rᵢ. */
const difference = (m: Mix, m0: Mix, place: number): Mix => combine([1 / place, m], [-1 / place, m0]);

/**
 * UniPC, predicting x₀ (Zhao et al. 2023, algorithms 1 and 2): as accurate as DPM-Solver++ at one order more.
 *
 * @throws UsageError unless the order is 1 to 3.
 * @example
 * const images = await diffusion.sample(model, { shape: [4, 28, 28, 1], sampler: uniPc({ steps: 8 }), rng: rng(0) });
 */
export function uniPc(options: UniPcOptions = {}): Sampler {
  const {
    order = 2,
    kind = "bh2",
    lowerOrderFinal = true,
    uncorrected = [],
  } = checkObject("uniPc", "options", options);
  checkOrder("uniPc", order);
  checkFlags("uniPc", { lowerOrderFinal });
  checkArray("uniPc", "uncorrected", uncorrected);
  checkCounts("uniPc", Object.fromEntries(uncorrected.map((step, i) => [`uncorrected[${i}]`, step])), 0);
  checkChoice("uniPc", "kind", kind, ["bh1", "bh2"]);
  const name = (i: number): string => `x₀ ${i % order}`;
  return {
    name: "unipc",
    rows: (process) => {
      const { levels, denoised } = solverWalk(process, options, { round: true });
      const orderOf = (i: number): number =>
        Math.min(order, i + 1, lowerOrderFinal ? denoised.length - i : Number.POSITIVE_INFINITY);
      const earlier = (i: number, count: number): Mix[] =>
        Array.from({ length: count }, (_, k) => kept(name(i - 1 - k)));
      return denoised.map((level, i) => {
        const corrected = i > 0 && !uncorrected.includes(i - 1) ? correct(levels, i, orderOf(i - 1)) : now;
        const used = orderOf(i);
        const parts = partsOf(levels, i, used, kind);
        const weights = used < 3 ? [0.5] : solve(powers(parts.places, used - 1), parts.sides.slice(0, -1));
        const differences = earlier(i, used - 1).map((m, k): [number, Mix] => [
          parts.onDifferences * (weights[k] as number),
          difference(m, clean, parts.places[k] as number),
        ]);
        // A last step to no noise at all is of first order, and the rest of the formula has no limit.
        const exact = levels[i + 1]?.noise === 0;
        const mix = exact ? clean : combine([parts.decay, corrected], [parts.onPrediction, clean], ...differences);
        return { ...level, ...combine([1, mix]), onNoise: 0, keep: { [name(i)]: clean, start: corrected } };
      });

      /** x at level i, once its own prediction of x₀ is known. */
      function correct(all: readonly Level[], i: number, used: number): Mix {
        const parts = partsOf(all, i - 1, used, kind);
        const weights = used === 1 ? [0.5] : solve(powers(parts.places, used), parts.sides);
        const m0 = kept(name(i - 1));
        const differences = earlier(i - 1, used - 1).map((m, k): [number, Mix] => [
          parts.onDifferences * (weights[k] as number),
          difference(m, m0, parts.places[k] as number),
        ]);
        return combine([parts.decay, kept("start")], [parts.onPrediction, m0], ...differences, [
          parts.onDifferences * (weights.at(-1) as number),
          difference(clean, m0, 1),
        ]);
      }
    },
  };
}
