// Multistep solvers of the probability flow in λ = ln(α/σ), half the logarithm of the signal-to-noise ratio: DPM-Solver++
// (Lu et al. 2022), with noise and without, and DEIS (Zhang & Chen 2023). A step of DEIS of order k is exact where ε is a
// polynomial of degree k − 1 in λ; one of DPM-Solver++ of first order where x₀ is constant, of second order of the kind "heun" where
// it is a straight line. The kind "midpoint" errs there by h³, and so does third order where x₀ bends: as in its authors' program,
// it counts half of the second derivative.

import { checkChoice, checkFlags } from "@figment/nn";
import { checkObject, show, UsageError } from "@figment/tensor";
import {
  clean,
  combine,
  epsilonFromX0,
  kept,
  type Mix,
  now,
  type Process,
  type Sampler,
  type SamplerRow,
  x0Coefficients,
} from "./row.js";
import { type Denoised, type EdmOptions, edmWalk, finiteSigmas } from "./sigmaSpace.js";
import { checkSpread, interpolate, partsOf, type SigmaSpacing, spreadSigmas, timeOfSigma } from "./sigmas.js";
import { roundEven, solverTimesteps, type TimestepOptions } from "./timesteps.js";

/** Where multistep solvers go. */
export interface SolverOptions extends TimestepOptions {
  /** Default 20. */
  readonly steps?: number;
  /** Predictions that a step looks at, 1 to 3. Default 2. */
  readonly order?: number;
  /** Whether the last steps, of fewer than 15, are of lower order, for stability. Default true. */
  readonly lowerOrderFinal?: boolean;
  /** How noise levels are spread. Default "timesteps". */
  readonly sigmas?: SigmaSpacing;
  /** Where the walk ends: no noise, or that of the first training step. Default "zero". */
  readonly finalSigma?: "zero" | "smallest";
  /** Training steps with less of λ = ln(α/σ) are left out: some -5 for the cosine schedule. Default: none. */
  readonly leastLambda?: number;
}

/** One noise level of a solver: x = α·x₀ + noise·ε there. */
export interface Level {
  readonly alpha: number;
  readonly noise: number;
  /** ln(α/noise). */
  readonly lambda: number;
}

/** What a solver walks over: one level more than there are evaluations. */
export interface SolverWalk {
  readonly levels: readonly Level[];
  readonly denoised: readonly Denoised[];
}

const levelOf = (alpha: number, noise: number): Level => ({ alpha, noise, lambda: Math.log(alpha) - Math.log(noise) });

/** Steps below which the last ones are of lower order. */
export const fewSteps = 15;

export function checkOrder(name: string, order: number, most = 3): void {
  if (!Number.isInteger(order) || order < 1 || order > most)
    throw new UsageError(`${name}: the order must be 1 to ${most}, got ${order}`);
}

/** How a kind of solver places its timesteps beyond what its options say. */
export interface Placing {
  /** Whether the timesteps of other spreads are rounded to whole ones, and otherwise cut. */
  readonly round: boolean;
  /** Whether a spread of its own repeats its smallest level at the end. */
  readonly repeatLast?: boolean;
}

export function solverWalk({ alphasCumprod, predict }: Process, options: SolverOptions, placing: Placing): SolverWalk {
  const { steps = 20, sigmas: spread = "timesteps", finalSigma = "zero", ...spacing } = options;
  const { leastLambda = Number.NEGATIVE_INFINITY } = options;
  const all = finiteSigmas(alphasCumprod);
  const noisy = all.filter((sigma) => -Math.log(sigma) < leastLambda).length;
  checkSpread(spread, finalSigma);
  if (typeof leastLambda !== "number" || Number.isNaN(leastLambda))
    throw new UsageError(`sampler: leastLambda must be a number, got ${show(leastLambda)}`);
  if (noisy === all.length)
    throw new UsageError(`sampler: no training step has as much as leastLambda, ${leastLambda}`);
  let times = solverTimesteps(steps, all.length, spacing, all.length - noisy);
  let sigmas = times.map((t) => interpolate(all, t));
  let smallest = all[0] as number;
  if (spread !== "timesteps") {
    sigmas = spreadSigmas(spread, steps, all.at(-1) as number, smallest);
    const exact = sigmas.map((sigma) => timeOfSigma(sigma, all));
    times = exact.map(placing.round && spread === "karras" ? roundEven : Math.trunc);
    if (placing.repeatLast) smallest = sigmas.at(-1) as number;
  }
  const rounded = [...sigmas, finalSigma === "zero" ? 0 : smallest].map(Math.fround);
  const levels = rounded.map((sigma) => {
    const { alpha, noise } = partsOf(sigma);
    return levelOf(alpha, noise);
  });
  return {
    levels,
    denoised: times.map((timestep, i) => ({
      timestep,
      level: [levels[i]?.alpha ?? 1, levels[i]?.noise ?? 0],
      ...x0Coefficients(predict, 1 / ((rounded[i] as number) ** 2 + 1)),
    })),
  };
}

/** Options of {@link dpmSolver}. */
export interface DpmSolverOptions extends SolverOptions {
  /** Whether fresh noise is added: the solver of the reverse SDE. Default false. */
  readonly sde?: boolean;
  /** How steps of second order take the slope: Lu et al. 2022, eq. 12 ("midpoint") or its variant. Default "midpoint". */
  readonly kind?: "midpoint" | "heun";
  /** Whether the last step is always of first order. Default false. */
  readonly eulerAtFinal?: boolean;
}

const stepKinds: readonly DpmSolverOptions["kind"][] = ["midpoint", "heun"];

/** α·(1 − e⁻ʰ), and the weights of the first and second derivative, of a step h in λ; with noise h counts twice. */
function stepWeights(h: number, sde: boolean): { zeroth: number; first: number; second: number } {
  if (h === Number.POSITIVE_INFINITY) return { zeroth: 1, first: 1, second: 0.5 };
  const y = sde ? 2 * h : h;
  const e = Math.exp(-y);
  return { zeroth: 1 - e, first: (e - 1) / y + 1, second: 0.5 - (e - 1 + y) / y ** 2 };
}

/** The mix that goes from one level to another, given x there, x₀'s values at earlier levels (the latest first), and their λ. */
export function dpmStep(
  from: Level,
  to: Level,
  start: Mix,
  predictions: readonly Mix[],
  lambdas: readonly number[],
  { sde = false, kind = "midpoint" }: Pick<DpmSolverOptions, "sde" | "kind">,
): Required<Mix> & { readonly onNoise: number } {
  const h = to.lambda - from.lambda;
  const { zeroth, first, second } = stepWeights(h, sde);
  const decay = (to.noise / from.noise) * (sde ? Math.exp(-h) : 1);
  const [m0, m1, m2] = predictions;
  const terms: [number, Mix][] = [
    [decay, start],
    [to.alpha * zeroth, m0 as Mix],
  ];
  if (m1) {
    const r0 = ((lambdas[0] as number) - (lambdas[1] as number)) / h;
    const slope = combine([1 / r0, m0 as Mix], [-1 / r0, m1]);
    if (!m2) terms.push([to.alpha * (kind === "midpoint" ? zeroth / 2 : first), slope]);
    else {
      const r1 = ((lambdas[1] as number) - (lambdas[2] as number)) / h;
      const earlier = combine([1 / r1, m1], [-1 / r1, m2]);
      const bend = combine([1, slope], [-1, earlier]);
      terms.push([to.alpha * first, combine([1, slope], [r0 / (r0 + r1), bend])]);
      terms.push([to.alpha * second, combine([1 / (r0 + r1), bend])]);
    }
  }
  const onNoise = sde ? to.noise * Math.sqrt(1 - Math.exp(-2 * h)) : 0;
  return { ...combine(...terms), onNoise };
}

/** The order of step i of n, given what the solver may look at. */
function orderAt(i: number, n: number, order: number, lower: boolean, euler: boolean): number {
  const possible = Math.min(order, i + 1);
  if (i === n - 1 && (euler || (lower && n < fewSteps))) return 1;
  return i === n - 2 && lower && n < fewSteps ? Math.min(possible, 2) : possible;
}

function multistepRows({ levels, denoised }: SolverWalk, options: DpmSolverOptions): SamplerRow[] {
  const { order = 2, lowerOrderFinal = true, finalSigma = "zero", eulerAtFinal = false } = options;
  const name = (i: number): string => `x₀ ${i % order}`;
  return denoised.map((level, i) => {
    const used = orderAt(i, denoised.length, order, lowerOrderFinal, eulerAtFinal || finalSigma === "zero");
    const back = Array.from({ length: used }, (_, k) => k);
    const predictions = back.map((k) => (k === 0 ? clean : kept(name(i - k))));
    const lambdas = back.map((k) => (levels[i - k] as Level).lambda);
    const step = dpmStep(levels[i] as Level, levels[i + 1] as Level, now, predictions, lambdas, options);
    return { ...level, ...step, ...(order > 1 ? { keep: { [name(i)]: clean } } : {}) };
  });
}

/**
 * DPM-Solver++, multistep (Lu et al. 2022, algorithm 2): good images in some 20 evaluations of the network. The last step, to
 * σ = 0, is of first order whatever the others are; by default its noise level shrinks about as 1/steps, and the result's error in
 * the end as the square of that.
 *
 * With noise and of third order it has k-diffusion's sign of the second derivative; that of diffusers 0.40 does not vanish
 * with the step.
 *
 * @throws UsageError unless the order is 1 to 3.
 * @example
 * const images = await diffusion.sample(model, {
 *   shape: [4, 28, 28, 1], sampler: dpmSolver({ steps: 10, sigmas: "karras" }), rng: rng(0),
 * });
 */
export function dpmSolver(options: DpmSolverOptions = {}): Sampler {
  checkObject("dpmSolver", "options", options);
  const { order = 2, sde = false, lowerOrderFinal = true, eulerAtFinal = false } = options;
  checkOrder("dpmSolver", order);
  checkFlags("dpmSolver", { sde, lowerOrderFinal, eulerAtFinal });
  checkChoice("dpmSolver", "kind", options.kind ?? "midpoint", stepKinds);
  return {
    name: sde ? "dpm-solver++ sde" : "dpm-solver++",
    rows: (process) => multistepRows(solverWalk(process, options, { round: true }), options),
  };
}

/** Options of {@link dpmSolverSinglestep}. */
export type DpmSinglestepOptions = Omit<DpmSolverOptions, "order" | "eulerAtFinal" | "spacing" | "stepsOffset"> & {
  /** 1 or 2. Default 2. */
  readonly order?: 1 | 2;
};

/** What the noise of a step of the SDE is multiplied by when the walk goes on from `from` to `to`. */
const decayOf = (from: Level, to: Level): number => (to.noise / from.noise) * Math.exp(from.lambda - to.lambda);

/**
 * DPM-Solver++, single step (Lu et al. 2022, algorithm 1): every second evaluation goes back to where the one before
 * started and makes the step of second order. With noise it takes along what was drawn on the way there, so that both
 * evaluations lie on one path.
 *
 * @throws UsageError unless the order is 1 or 2.
 * @example
 * const images = await diffusion.sample(model, {
 *   shape: [4, 28, 28, 1], sampler: dpmSolverSinglestep({ steps: 6 }), rng: rng(0),
 * });
 */
export function dpmSolverSinglestep(options: DpmSinglestepOptions = {}): Sampler {
  const {
    order = 2,
    finalSigma = "zero",
    lowerOrderFinal = true,
    sde = false,
    kind = "midpoint",
  } = checkObject("dpmSolverSinglestep", "options", options);
  checkOrder("dpmSolverSinglestep", order, 2);
  checkFlags("dpmSolverSinglestep", { sde, lowerOrderFinal });
  checkChoice("dpmSolverSinglestep", "kind", kind, stepKinds);
  return {
    name: "dpm-solver++ singlestep",
    rows: (process) => {
      const walk = solverWalk(process, { ...options, spacing: "linspace" }, { round: true });
      const { levels, denoised } = walk;
      const orders = singlestepOrders(denoised.length, order, lowerOrderFinal, finalSigma === "zero");
      return denoised.map((level, i): SamplerRow => {
        const [before, here, next] = [levels[i - 1], levels[i] as Level, levels[i + 1] as Level];
        if (orders[i] === 1 || !before) {
          const keep = orders[i + 1] === 2 ? { keep: { start: now, first: clean } } : {};
          return { ...level, ...dpmStep(here, next, now, [clean], [here.lambda], options), ...keep };
        }
        // The slope is taken between the start and here, for a step from the start: both as seen from there.
        const predictions = [kept("first"), clean];
        const step = dpmStep(before, next, kept("start"), predictions, [before.lambda, here.lambda], options);
        if (!sde) return { ...level, ...step };
        // The noise that led here is what the first step does not explain; the rest of the way adds its own.
        const { onNoise: _drawn, ...first } = dpmStep(before, here, kept("start"), [kept("first")], [], options);
        const noise = combine([1, now], [-1, first]);
        const { onNoise } = dpmStep(here, next, now, [clean], [], options);
        return { ...level, ...combine([1, step], [decayOf(here, next), noise]), onNoise };
      });
    },
  };
}

/** The order of each evaluation: 1, 2, 1, 2, … with the last ones lowered. */
function singlestepOrders(steps: number, order: number, lower: boolean, toZero: boolean): number[] {
  const orders = Array.from({ length: steps }, (_, i) => (order === 2 && i % 2 === 1 ? 2 : 1));
  if ((lower && order === 2 && steps % 2 === 0) || toZero) orders[steps - 1] = 1;
  return orders;
}

/**
 * DPM-Solver++ for networks trained with EDM's preconditioning.
 *
 * @throws UsageError when a number is out of range.
 * @example
 * const sampler = edmDpmSolver({ steps: 6 });
 * const images = await diffusion.sample(model, { shape: [4, 28, 28, 1], sampler, rng: rng(0) });
 */
export function edmDpmSolver(options: Omit<EdmOptions, "order"> & Omit<DpmSolverOptions, "sigmas"> = {}): Sampler {
  const {
    order = 2,
    sde = false,
    lowerOrderFinal = true,
    eulerAtFinal = false,
    kind = "midpoint",
  } = checkObject("edmDpmSolver", "options", options);
  checkOrder("edmDpmSolver", order);
  checkFlags("edmDpmSolver", { sde, lowerOrderFinal, eulerAtFinal });
  checkChoice("edmDpmSolver", "kind", kind, stepKinds);
  return {
    name: "edm dpm-solver++",
    continuous: true,
    rows: () => {
      const { order: _order, ...edm } = options;
      const { sigmas, levels } = edmWalk({ steps: 20, ...edm });
      return multistepRows({ levels: sigmas.map((sigma) => levelOf(1, sigma)), denoised: levels }, options);
    },
    startScale: () => Math.sqrt((options.sigmaMax ?? 80) ** 2 + 1),
  };
}

/** ∫ of the polynomial in ln ρ that is 1 at one node and 0 at the others, from the first node to `to`. */
function logBasisIntegral(nodes: readonly number[], one: number, to: number): number {
  const logs = nodes.map(Math.log);
  const others = logs.filter((_, k) => k !== one);
  const scale = others.reduce((product, log) => product * ((logs[one] as number) - log), 1);
  // ∫ (ln ρ)ᵏ dρ for k = 0, 1, 2.
  const at = (rho: number): number => {
    const log = Math.log(rho);
    const [i0, i1, i2] = [rho, rho * (log - 1), rho * (log ** 2 - 2 * log + 2)];
    const [a, b] = others;
    if (b === undefined) return a === undefined ? i0 : i1 - a * i0;
    return i2 - ((a as number) + b) * i1 + (a as number) * b * i0;
  };
  return (at(to) - at(nodes[0] as number)) / scale;
}

/**
 * DEIS in log ρ (Zhang & Chen 2023, §4): ε is extrapolated as a polynomial of ln(σ/α) and integrated exactly.
 *
 * @throws UsageError unless the order is 1 to 3.
 * @example
 * const images = await diffusion.sample(model, { shape: [4, 28, 28, 1], sampler: deis({ steps: 10 }), rng: rng(0) });
 */
export function deis(options: Omit<SolverOptions, "finalSigma"> = {}): Sampler {
  const { order = 2, lowerOrderFinal = true } = checkObject("deis", "options", options);
  checkOrder("deis", order);
  checkFlags("deis", { lowerOrderFinal });
  const name = (i: number): string => `ε ${i % order}`;
  return {
    name: "deis",
    rows: (process) => {
      const placing = { round: true, repeatLast: true };
      const { levels, denoised } = solverWalk(process, { ...options, finalSigma: "smallest" }, placing);
      return denoised.map((level, i) => {
        const [from, to] = [levels[i] as Level, levels[i + 1] as Level];
        const used = orderAt(i, denoised.length, order, lowerOrderFinal, false);
        const epsilon = epsilonFromX0(from.alpha ** 2);
        const rho = Array.from({ length: used }, (_, k) => Math.exp(-(levels[i - k] as Level).lambda));
        const terms = rho.map((_, k): [number, Mix] => {
          const weight = to.alpha * logBasisIntegral(rho, k, Math.exp(-to.lambda));
          return [weight, k === 0 ? epsilon : kept(name(i - k))];
        });
        const mix = combine([to.alpha / from.alpha, now], ...terms);
        return { ...level, ...mix, onNoise: 0, ...(order > 1 ? { keep: { [name(i)]: epsilon } } : {}) };
      });
    },
  };
}
