// Samplers that walk down the noise levels σ of x = x₀ + σ·ε: Euler and Heun (Karras et al. 2022, algorithm 1), Euler with
// ancestral noise, and linear multistep (as k-diffusion has them); for networks trained on timesteps, and for those trained
// on noise levels themselves (EDM).

import { checkChoice, checkPositive } from "@figment/nn";
import { checkObject, UsageError } from "@figment/tensor";
import { mostSteps } from "../schedule.js";
import { clean, combine, kept, type Mix, now, type Process, type Sampler, type SamplerRow } from "./row.js";
import {
  checkSpread,
  exponentialSigmas,
  interpolate,
  karrasSigmas,
  type SigmaSpacing,
  sigmasOf,
  spreadSigmas,
  timeOfSigma,
} from "./sigmas.js";
import { checkCount, spacedTimesteps, type TimestepOptions } from "./timesteps.js";

/** What a network is told at a noise level, and how its output becomes x₀. */
export type Denoised = Pick<SamplerRow, "timestep" | "level" | "inputScale" | "x0FromX" | "x0FromModel">;

/** The noise levels of a walk, the last one where it ends, and the network at each of the others. */
export interface SigmaWalk {
  readonly sigmas: readonly number[];
  readonly levels: readonly Denoised[];
}

/** Options of samplers that walk down noise levels. */
export interface SigmaOptions extends TimestepOptions {
  /** Default 50. */
  readonly steps?: number;
  /**
   * How noise levels are spread: those of the timesteps, as Karras et al. 2022 (eq. 5), or evenly in their logarithm. Default
   * "timesteps".
   */
  readonly sigmas?: SigmaSpacing;
  /** Where the walk ends: no noise, or that of the first training step. Default "zero". */
  readonly finalSigma?: "zero" | "smallest";
}

/** x₀ from x = x₀ + σ·ε and an output that was predicted from x/√(σ² + 1). */
function fromScaled(predict: Process["predict"], sigma: number): Pick<SamplerRow, "x0FromX" | "x0FromModel"> {
  if (predict === "epsilon") return { x0FromX: 1, x0FromModel: -sigma };
  if (predict === "x0") return { x0FromX: 0, x0FromModel: 1 };
  return { x0FromX: 1 / (sigma ** 2 + 1), x0FromModel: -sigma / Math.sqrt(sigma ** 2 + 1) };
}

/** In place of ᾱ = 0, where σ has no end (the smallest positive number of f16). */
const leastSignal = 2 ** -24;

/** σ at each training step, the last one finite. */
export const finiteSigmas = (alphasCumprod: Float64Array): Float64Array =>
  sigmasOf(alphasCumprod.map((alphaBar) => alphaBar || leastSignal));

function walk({ alphasCumprod, predict }: Process, options: SigmaOptions): SigmaWalk {
  const { steps = 50, sigmas: spread = "timesteps", finalSigma = "zero", ...spacing } = options;
  checkSpread(spread, finalSigma);
  const all = finiteSigmas(alphasCumprod);
  let times = spacedTimesteps(steps, all.length, spacing, false);
  let sigmas = times.map((t) => interpolate(all, t));
  if (spread !== "timesteps") {
    sigmas = spreadSigmas(spread, steps, sigmas[0] as number, sigmas.at(-1) as number);
    times = sigmas.map((sigma) => timeOfSigma(sigma, all));
  }
  const rounded = [...sigmas, finalSigma === "zero" ? 0 : (all[0] as number)].map(Math.fround);
  return {
    sigmas: rounded,
    levels: times.map((t, i) => {
      const sigma = rounded[i] as number;
      return {
        timestep: Math.fround(t),
        level: [1, sigma],
        inputScale: 1 / Math.sqrt(sigma ** 2 + 1),
        ...fromScaled(predict, sigma),
      };
    }),
  };
}

/** The largest noise level; where timesteps lead, that of noise and image together. */
function startScale(process: Process, options: SigmaOptions): number {
  const most = Math.max(...walk(process, options).sigmas);
  return options.spacing === "leading" ? Math.sqrt(most ** 2 + 1) : most;
}

/** (x − x₀)/σ, the slope of the probability flow at a noise level. */
const slopeAt = (sigma: number): Mix => combine([1 / sigma, now], [-1 / sigma, clean]);

function eulerRows({ sigmas, levels }: SigmaWalk): SamplerRow[] {
  return levels.map((level, i) => {
    const [sigma, next] = [sigmas[i] as number, sigmas[i + 1] as number];
    return { ...level, ...combine([1, now], [next - sigma, slopeAt(sigma)]), onNoise: 0 };
  });
}

/** Each step but one that ends at σ = 0 asks the network twice; the mean of both slopes is what counts. */
function heunRows({ sigmas, levels }: SigmaWalk): SamplerRow[] {
  return levels.flatMap((level, i): SamplerRow[] => {
    const [sigma, next] = [sigmas[i] as number, sigmas[i + 1] as number];
    const step = next - sigma;
    const euler = { ...level, ...combine([1, now], [step, slopeAt(sigma)]), onNoise: 0 };
    const ahead = levels[i + 1];
    if (next === 0 || !ahead) return [euler];
    const half = combine([1, now], [step / 2, slopeAt(sigma)]);
    const corrected = combine([1, kept("half")], [step / 2, slopeAt(next)]);
    return [
      { ...euler, keep: { half } },
      { ...ahead, ...corrected, onNoise: 0 },
    ];
  });
}

function sigmaSampler(name: string, options: SigmaOptions, rows: (walk: SigmaWalk) => SamplerRow[]): Sampler {
  const { spacing, sigmas = "timesteps" } = checkObject(name, "options", options);
  return {
    name,
    continuous: spacing === "linspace" || sigmas !== "timesteps",
    rows: (process) => rows(walk(process, options)),
    startScale: (process) => startScale(process, options),
  };
}

/**
 * Euler's method on the probability flow (Karras et al. 2022, algorithm 1 without the correction): x ← x + (σ′ − σ)·(x − x₀)/σ.
 *
 * @example
 * const images = await diffusion.sample(model, { shape: [4, 28, 28, 1], sampler: euler({ steps: 5 }), rng: rng(0) });
 */
export const euler = (options: SigmaOptions = {}): Sampler => sigmaSampler("euler", options, eulerRows);

/**
 * Heun's method (Karras et al. 2022, algorithm 1): of second order, with two evaluations of the network a step but the
 * last. That one, to σ = 0, is of first order; by default its noise level shrinks about as 1/steps, and the result's error in the
 * end as the square of that.
 *
 * @example
 * const images = await diffusion.sample(model, { shape: [4, 28, 28, 1], sampler: heun({ steps: 5 }), rng: rng(0) });
 */
export const heun = (options: SigmaOptions = {}): Sampler => sigmaSampler("heun", options, heunRows);

/**
 * Euler steps to a lower noise level than wanted, and fresh noise up to it: σ_up² = σ′²·(σ² − σ′²)/σ², σ_down² = σ′² − σ_up².
 *
 * @example
 * const images = await diffusion.sample(model, {
 *   shape: [4, 28, 28, 1], sampler: eulerAncestral({ steps: 5 }), rng: rng(0),
 * });
 */
export const eulerAncestral = (options: Omit<SigmaOptions, "sigmas" | "finalSigma"> = {}): Sampler =>
  sigmaSampler("euler ancestral", options, ({ sigmas, levels }) =>
    levels.map((level, i) => {
      const [sigma, next] = [sigmas[i] as number, sigmas[i + 1] as number];
      const up = Math.sqrt((next ** 2 * (sigma ** 2 - next ** 2)) / sigma ** 2);
      const down = Math.sqrt(next ** 2 - up ** 2);
      return { ...level, ...combine([1, now], [down - sigma, slopeAt(sigma)]), onNoise: up };
    }),
  );

/** Options of {@link lms}. */
export interface LmsOptions extends Omit<SigmaOptions, "finalSigma"> {
  /** Slopes that a step looks at, 1 to 4. Default 4. */
  readonly order?: number;
}

/** Most slopes that a linear multistep looks at. */
const mostSlopes = 4;

/**
 * Linear multistep (Adams–Bashforth on uneven noise levels): the polynomial through the latest slopes is integrated over the
 * step.
 *
 * @throws UsageError unless the order is 1 to 4.
 * @example
 * const images = await diffusion.sample(model, { shape: [4, 28, 28, 1], sampler: lms({ steps: 8 }), rng: rng(0) });
 */
export function lms(given: LmsOptions = {}): Sampler {
  const { order = mostSlopes, ...options } = checkObject("lms", "options", given);
  if (!Number.isInteger(order) || order < 1 || order > mostSlopes)
    throw new UsageError(`lms: the order must be 1 to ${mostSlopes}, got ${order}`);
  const name = (i: number): string => `slope ${i % order}`;
  return sigmaSampler("lms", options, ({ sigmas, levels }) =>
    levels.map((level, i) => {
      const used = Math.min(i + 1, order);
      const nodes = Array.from({ length: used }, (_, k) => sigmas[i - k] as number);
      const weights = nodes.map((_, k) => integralOfBasis(nodes, k, sigmas[i] as number, sigmas[i + 1] as number));
      const slope = slopeAt(sigmas[i] as number);
      const terms = weights.map((weight, k) => [weight, k === 0 ? slope : kept(name(i - k))] as const);
      return { ...level, ...combine([1, now], ...terms), onNoise: 0, keep: { [name(i)]: slope } };
    }),
  );
}

/** Nodes and weights of Gauss and Legendre on [-1, 1], exact for polynomials up to degree 5. */
const gauss = [
  [-Math.sqrt(3 / 5), 5 / 9],
  [0, 8 / 9],
  [Math.sqrt(3 / 5), 5 / 9],
] as const;

/** ∫ of the polynomial that is 1 at one node and 0 at the others. */
function integralOfBasis(nodes: readonly number[], one: number, from: number, to: number): number {
  const basis = (x: number): number =>
    nodes.reduce((product, node, k) => {
      return k === one ? product : (product * (x - node)) / ((nodes[one] as number) - node);
    }, 1);
  const [middle, half] = [(from + to) / 2, (to - from) / 2];
  return half * gauss.reduce((sum, [node, weight]) => sum + weight * basis(middle + half * node), 0);
}

/** Options of {@link edm}. */
export interface EdmOptions {
  /** Default 18. */
  readonly steps?: number;
  /** 1: Euler's method; 2: Heun's. Default 2. */
  readonly order?: 1 | 2;
  /** Default 0.002. */
  readonly sigmaMin?: number;
  /** Default 80. */
  readonly sigmaMax?: number;
  /** Standard deviation of the data. Default 0.5. */
  readonly sigmaData?: number;
  /** Default 7. */
  readonly rho?: number;
  /** How noise levels are spread. Default "karras". */
  readonly sigmas?: "karras" | "exponential";
  /** What the network predicts: F of Karras et al. 2022, eq. 7, or its negative ("v"). Default "F". */
  readonly output?: "F" | "v";
  /** Default "zero". */
  readonly finalSigma?: "zero" | "smallest";
}

/** The walk of EDM: a network told ¼·ln σ, with the preconditioning of Karras et al. 2022, table 1. */
export function edmWalk(options: EdmOptions): SigmaWalk {
  const { steps = 18, sigmaMin = 0.002, sigmaMax = 80, sigmaData = 0.5, rho = 7, output = "F" } = options;
  const { sigmas: spacing = "karras", finalSigma = "zero" } = options;
  checkCount(steps, mostSteps);
  checkSpread(spacing, finalSigma, []);
  checkChoice("edm", "output", output, ["F", "v"]);
  checkPositive("edm", { sigmaMin, sigmaMax, sigmaData, rho });
  if (sigmaMax <= sigmaMin) throw new UsageError(`edm: expected sigmaMin < sigmaMax, got ${sigmaMin} and ${sigmaMax}`);
  const spread =
    spacing === "exponential"
      ? exponentialSigmas(steps, sigmaMin, sigmaMax)
      : karrasSigmas(steps, sigmaMin, sigmaMax, rho);
  const sigmas = [...spread, finalSigma === "smallest" ? sigmaMin : 0].map(Math.fround);
  return {
    sigmas,
    levels: sigmas.slice(0, -1).map((sigma) => {
      const total = sigma ** 2 + sigmaData ** 2;
      const scale = (sigma * sigmaData) / Math.sqrt(total);
      return {
        timestep: Math.fround(0.25 * Math.log(sigma)),
        level: [1, sigma],
        inputScale: 1 / Math.sqrt(total),
        x0FromX: sigmaData ** 2 / total,
        x0FromModel: output === "F" ? scale : -scale,
      };
    }),
  };
}

/**
 * The deterministic sampler of EDM (Karras et al. 2022, algorithm 1) for networks trained with its preconditioning: told
 * ¼·ln σ as their time, they see x/√(σ² + σ_data²).
 *
 * @throws UsageError when a number is out of range.
 * @example
 * const images = await diffusion.sample(model, { shape: [4, 28, 28, 1], sampler: edm({ steps: 4 }), rng: rng(0) });
 */
export function edm(options: EdmOptions = {}): Sampler {
  checkObject("edm", "options", options);
  checkChoice("edm", "order", options.order ?? 2, [1, 2]);
  return {
    name: "edm",
    continuous: true,
    rows: () => (options.order === 1 ? eulerRows : heunRows)(edmWalk(options)),
    startScale: () => Math.sqrt((options.sigmaMax ?? 80) ** 2 + 1),
  };
}
