// What a scheduler_config.json of diffusers says, as a process and samplers of ours: the fields that each class has, their
// defaults, and which values have no counterpart here.

import { CheckpointError } from "@figment/tensor";
import type { DiffusionOptions } from "../diffusion.js";
import { ddim, ddimInversion, ddpm } from "../samplers/ddpm.js";
import { flowEuler, lcm } from "../samplers/flow.js";
import { pndm } from "../samplers/pndm.js";
import type { Prediction, Sampler } from "../samplers/row.js";
import { edm, euler, eulerAncestral, heun, lms } from "../samplers/sigmaSpace.js";
import type { SigmaSpacing } from "../samplers/sigmas.js";
import { deis, dpmSolver, dpmSolverSinglestep, edmDpmSolver } from "../samplers/solvers.js";
import type { Spacing } from "../samplers/timesteps.js";
import { uniPc } from "../samplers/unipc.js";
import { alphasCumprod, mostSteps } from "../schedule.js";

/** The fields of a scheduler_config.json. */
export type SchedulerConfig = Readonly<Record<string, unknown>>;

/** How a sampler of a configuration is run. */
export interface SchedulerRun {
  /** Evaluations of the network (for some samplers: steps). Default: as diffusers' pipelines, 50, but 1000 for DDPM and 4 for LCM. */
  readonly steps?: number;
  /** DDIM's η. Default 0. */
  readonly eta?: number;
}

/** A configuration in our terms. */
export interface Scheduler {
  /** Options of a `Diffusion`: βs as diffusers has them, what is predicted, and whether variances are learned. */
  readonly process: Pick<DiffusionOptions, "betas" | "predict" | "variance">;
  /** The sampler that the configuration names. */
  sampler(run?: SchedulerRun): Sampler;
}

/** Reads fields of one configuration, with the defaults of its class. */
class Fields {
  constructor(
    readonly className: string,
    private readonly config: SchedulerConfig,
  ) {}

  number(name: string, fallback: number): number {
    const value = this.config[name] ?? fallback;
    if (typeof value === "number" && Number.isFinite(value)) return value;
    throw this.wrong(name, value, "a number");
  }

  /** A number of training steps. */
  trainSteps(): number {
    const value = this.number("num_train_timesteps", 1000);
    if (Number.isInteger(value) && value >= 1 && value <= mostSteps) return value;
    throw this.wrong("num_train_timesteps", value, `an integer from 1 to ${mostSteps}`);
  }

  /** A number; -∞, which configurations have in several spellings, where there is none. */
  limit(name: string): number {
    const value = this.config[name] ?? null;
    const none = value === null || value === "-inf" || value === "-Infinity" || value === Number.NEGATIVE_INFINITY;
    return none ? Number.NEGATIVE_INFINITY : this.number(name, 0);
  }

  flag(name: string, fallback: boolean): boolean {
    const value = this.config[name] ?? fallback;
    if (typeof value === "boolean") return value;
    throw this.wrong(name, value, "true or false");
  }

  /** One of the values that have a counterpart, as that. */
  choice<T>(name: string, fallback: string, choices: Readonly<Record<string, T>>): T {
    const value = this.config[name] ?? fallback;
    if (typeof value === "string" && Object.hasOwn(choices, value)) return choices[value] as T;
    throw this.wrong(name, value, Object.keys(choices).join(" or "));
  }

  /** Refuses a field that is set. */
  without(...names: string[]): void {
    for (const name of names) {
      const value = this.config[name];
      if (value !== undefined && value !== null && value !== false) throw this.wrong(name, value, "it not to be set");
    }
  }

  numbers(name: string): number[] | null {
    const value = this.config[name] ?? null;
    if (value === null) return null;
    if (Array.isArray(value) && value.every((x) => typeof x === "number")) return value;
    throw this.wrong(name, value, "a list of numbers");
  }

  private wrong(name: string, value: unknown, expected: string): CheckpointError {
    return new CheckpointError(`${this.className}: ${name} is ${JSON.stringify(value)}; expected ${expected}`);
  }
}

/** f32 arithmetic of torch.linspace, from both ends. */
function linspace32(from: number, to: number, count: number): Float32Array {
  const f = Math.fround;
  const [start, end] = [f(from), f(to)];
  const step = f(f(end - start) / f(Math.max(1, count - 1)));
  return Float32Array.from({ length: count }, (_, i) =>
    i < count / 2 ? f(start + f(step * i)) : f(end - f(step * (count - 1 - i))),
  );
}

/** βs of a configuration, in float32 as diffusers computes them. */
function betasOf(fields: Fields, start: number, end: number): Float32Array {
  const f = Math.fround;
  const count = fields.trainSteps();
  const trained = fields.numbers("trained_betas");
  if (trained) return rescaled(fields, Float32Array.from(trained));
  const [from, to] = [fields.number("beta_start", start), fields.number("beta_end", end)];
  const make = fields.choice("beta_schedule", "linear", {
    linear: () => linspace32(from, to, count),
    scaled_linear: () => linspace32(Math.sqrt(from), Math.sqrt(to), count).map((root) => f(root * root)),
    squaredcos_cap_v2: () => {
      const signal = (share: number): number => Math.cos((((share + 0.008) / 1.008) * Math.PI) / 2) ** 2;
      return Float32Array.from({ length: count }, (_, i) =>
        Math.min(1 - signal((i + 1) / count) / signal(i / count), 0.999),
      );
    },
    sigmoid: () => linspace32(-6, 6, count).map((x) => f(f(f(1 / (1 + Math.exp(-x))) * f(to - from)) + f(from))),
  });
  return rescaled(fields, make());
}

/** Zero terminal SNR in float32, if the configuration asks for it. */
function rescaled(fields: Fields, betas: Float32Array): Float32Array {
  if (!fields.flag("rescale_betas_zero_snr", false)) return betas;
  const f = Math.fround;
  const roots = alphasCumprod(betas).map((alphaBar) => f(Math.sqrt(alphaBar)));
  const [first, last] = [roots[0] as number, roots.at(-1) as number];
  const scale = f(first / f(first - last));
  const signal = roots.map((root) => {
    const shifted = f(f(root - last) * scale);
    return f(shifted * shifted);
  });
  return Float32Array.from(signal, (alphaBar, t) =>
    f(1 - (t === 0 ? alphaBar : f(alphaBar / (signal[t - 1] as number)))),
  );
}

const predictions: Readonly<Record<string, Prediction>> = { epsilon: "epsilon", sample: "x0", v_prediction: "v" };
const spacings: Readonly<Record<string, Spacing>> = { leading: "leading", linspace: "linspace", trailing: "trailing" };
const finalSigmas = { zero: "zero", sigma_min: "smallest" } as const;

const timesteps = (fields: Fields, spacing: Spacing): { spacing: Spacing; stepsOffset: number } => ({
  spacing: fields.choice("timestep_spacing", spacing, spacings),
  stepsOffset: fields.number("steps_offset", 0),
});

function sigmaSpacing(fields: Fields): SigmaSpacing {
  fields.without("use_beta_sigmas", "use_lu_lambdas", "use_flow_sigmas");
  if (fields.flag("use_karras_sigmas", false)) return "karras";
  return fields.flag("use_exponential_sigmas", false) ? "exponential" : "timesteps";
}

/** Bounds of x₀, or none. */
function clipOf(fields: Fields, fallback: boolean): Sampler["clip"] {
  fields.without("thresholding");
  if (!fields.flag("clip_sample", fallback)) return false;
  const range = fields.number("clip_sample_range", 1);
  return [-range, range];
}

const finalAlpha = (fields: Fields, one: boolean): "one" | "first" =>
  fields.flag("set_alpha_to_one", one) ? "one" : "first";

/** A sampler of a class, made anew for each number of steps. */
type Make = (fields: Fields, run: SchedulerRun & { readonly steps: number }) => Sampler;

const solver = (fields: Fields) => ({
  ...timesteps(fields, "linspace"),
  order: fields.number("solver_order", 2),
  lowerOrderFinal: fields.flag("lower_order_final", true),
  sigmas: sigmaSpacing(fields),
});

const dpm = (fields: Fields) => {
  fields.without("thresholding");
  return {
    leastLambda: fields.limit("lambda_min_clipped"),
    sde: fields.choice("algorithm_type", "dpmsolver++", { "dpmsolver++": false, "sde-dpmsolver++": true }),
    kind: fields.choice("solver_type", "midpoint", { midpoint: "midpoint", heun: "heun" } as const),
    finalSigma: fields.choice("final_sigmas_type", "zero", finalSigmas),
  };
};

const edmFields = (fields: Fields) => ({
  sigmaMin: fields.number("sigma_min", 0.002),
  sigmaMax: fields.number("sigma_max", 80),
  sigmaData: fields.number("sigma_data", 0.5),
  rho: fields.number("rho", 7),
  sigmas: fields.choice("sigma_schedule", "karras", { karras: "karras", exponential: "exponential" } as const),
  output: fields.choice("prediction_type", "epsilon", { epsilon: "F", v_prediction: "v" } as const),
  finalSigma: fields.choice("final_sigmas_type", "zero", finalSigmas),
});

/** The classes that there are, and their βs where they are not those of Ho et al. */
const classes: Readonly<
  Record<string, { readonly make: Make; readonly betas?: readonly [number, number]; readonly steps?: number }>
> = {
  DDPMScheduler: {
    steps: 1000,
    make: (fields, { steps }) => ({
      ...ddpm({ steps, variance: varianceOf(fields), noiseAtEnd: true, ...timesteps(fields, "leading") }),
      clip: clipOf(fields, true),
    }),
  },
  DDIMScheduler: {
    make: (fields, { steps, eta }) => ({
      ...ddim({
        steps,
        eta,
        clippedNoise: false,
        evenSteps: true,
        finalAlpha: finalAlpha(fields, true),
        ...timesteps(fields, "leading"),
      }),
      clip: clipOf(fields, true),
    }),
  },
  DDIMInverseScheduler: {
    make: (fields, { steps }) => ({
      ...ddimInversion({
        steps,
        evenSteps: true,
        finalAlpha: finalAlpha(fields, true),
        ...timesteps(fields, "leading"),
      }),
      clip: clipOf(fields, true),
    }),
  },
  PNDMScheduler: {
    make: (fields, { steps }) =>
      pndm({
        steps,
        rungeKutta: !fields.flag("skip_prk_steps", false),
        evenSteps: true,
        finalAlpha: finalAlpha(fields, false),
        ...timesteps(fields, "leading"),
      }),
  },
  LMSDiscreteScheduler: {
    make: (fields, { steps }) => lms({ steps, sigmas: sigmaSpacing(fields), ...timesteps(fields, "linspace") }),
  },
  EulerDiscreteScheduler: {
    make: (fields, { steps }) => {
      fields.choice("interpolation_type", "linear", { linear: true });
      fields.choice("timestep_type", "discrete", { discrete: true });
      const finalSigma = fields.choice("final_sigmas_type", "zero", finalSigmas);
      return euler({ steps, sigmas: sigmaSpacing(fields), finalSigma, ...timesteps(fields, "linspace") });
    },
  },
  EulerAncestralDiscreteScheduler: {
    make: (fields, { steps }) => eulerAncestral({ steps, ...timesteps(fields, "linspace") }),
  },
  HeunDiscreteScheduler: {
    betas: [0.00085, 0.012],
    make: (fields, { steps }) => ({
      ...heun({ steps, sigmas: sigmaSpacing(fields), ...timesteps(fields, "linspace") }),
      clip: clipOf(fields, false),
    }),
  },
  DPMSolverMultistepScheduler: {
    make: (fields, { steps }) =>
      dpmSolver({ steps, ...solver(fields), ...dpm(fields), eulerAtFinal: fields.flag("euler_at_final", false) }),
  },
  DPMSolverSinglestepScheduler: {
    make: (fields, { steps }) => {
      const { spacing: _spacing, stepsOffset: _offset, order, ...options } = solver(fields);
      if (order !== 1 && order !== 2)
        throw new CheckpointError(`${fields.className}: solver_order is ${order}; expected 1 or 2`);
      const solving = dpm(fields);
      // diffusers lowers the last order wherever it must.
      const uneven = solving.finalSigma === "zero" || steps % order !== 0;
      const lowerOrderFinal = uneven || fields.flag("lower_order_final", false);
      return dpmSolverSinglestep({ steps, ...options, order, ...solving, lowerOrderFinal });
    },
  },
  UniPCMultistepScheduler: {
    make: (fields, { steps }) => {
      fields.without("thresholding", "solver_p");
      if (!fields.flag("predict_x0", true))
        throw new CheckpointError(`${fields.className}: predict_x0 is false; expected true`);
      return uniPc({
        steps,
        ...solver(fields),
        kind: fields.choice("solver_type", "bh2", { bh1: "bh1", bh2: "bh2" } as const),
        uncorrected: fields.numbers("disable_corrector") ?? [],
        finalSigma: fields.choice("final_sigmas_type", "zero", finalSigmas),
      });
    },
  },
  DEISMultistepScheduler: {
    make: (fields, { steps }) => {
      fields.without("thresholding");
      return deis({ steps, ...solver(fields) });
    },
  },
  EDMEulerScheduler: { make: (fields, { steps }) => edm({ steps, order: 1, ...edmFields(fields) }) },
  EDMDPMSolverMultistepScheduler: {
    make: (fields, { steps }) => {
      const { finalSigma, ...rest } = dpm(fields);
      const { order, lowerOrderFinal } = solver(fields);
      const eulerAtFinal = fields.flag("euler_at_final", false);
      return edmDpmSolver({ steps, ...edmFields(fields), finalSigma, ...rest, order, lowerOrderFinal, eulerAtFinal });
    },
  },
  FlowMatchEulerDiscreteScheduler: {
    make: (fields, { steps }) => {
      fields.without("use_dynamic_shifting", "invert_sigmas", "shift_terminal", "use_beta_sigmas");
      fields.without("use_karras_sigmas", "use_exponential_sigmas");
      return flowEuler({
        steps,
        shift: fields.number("shift", 1),
        trainSteps: fields.trainSteps(),
        stochastic: fields.flag("stochastic_sampling", false),
      });
    },
  },
  LCMScheduler: {
    betas: [0.00085, 0.012],
    steps: 4,
    make: (fields, { steps }) => ({
      ...lcm({
        steps,
        originalSteps: fields.number("original_inference_steps", 50),
        timestepScaling: fields.number("timestep_scaling", 10),
      }),
      clip: clipOf(fields, false),
    }),
  },
};

const varianceOf = (fields: Fields): "small" | "large" | "learned" =>
  fields.choice("variance_type", "fixed_small", {
    fixed_small: "small",
    fixed_small_log: "small",
    fixed_large: "large",
    learned_range: "learned",
  } as const);

/**
 * The process and the sampler of a scheduler_config.json: its βs in diffusers' own float32, and a sampler of the class that
 * it names, for any number of steps.
 *
 * @throws CheckpointError when there is no such class here, or a field has a value without a counterpart; it names both.
 * @example
 * const config = { _class_name: "DDIMScheduler", beta_schedule: "scaled_linear", steps_offset: 1 };
 * const { process, sampler } = schedulerFromConfig(config);
 * new Diffusion(process).steps; // 1000
 * sampler({ steps: 20 }).name;
 */
export function schedulerFromConfig(config: SchedulerConfig): Scheduler {
  const className = config?._class_name;
  const known = typeof className === "string" && Object.hasOwn(classes, className) ? classes[className] : undefined;
  if (!known || typeof className !== "string")
    throw new CheckpointError(
      `scheduler: no sampler here is a ${JSON.stringify(className)}; there are ${Object.keys(classes).join(", ")}`,
    );
  const fields = new Fields(className, config);
  const hasBetas = !className.startsWith("EDM") && !className.startsWith("FlowMatch");
  const [start, end] = known.betas ?? [1e-4, 0.02];
  const learned = config.variance_type === "learned_range";
  const sampler = ({ steps = known.steps ?? 50, eta }: SchedulerRun = {}): Sampler => {
    const made = known.make(fields, { steps, eta });
    // diffusers clips x₀ only where a configuration says so.
    return { clip: false, ...made };
  };
  // What has no counterpart is found when the configuration is read, not when images are asked for.
  sampler();
  return {
    process: {
      betas: hasBetas ? betasOf(fields, start, end) : linspace32(1e-4, 0.02, fields.trainSteps()),
      predict: hasBetas ? fields.choice("prediction_type", "epsilon", predictions) : "epsilon",
      variance: learned ? "learned-range" : "fixed",
    },
    sampler,
  };
}
