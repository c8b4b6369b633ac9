// Samplers against whole loops that diffusers' own schedulers made, step for step, with the same noise.

import { readFileSync } from "node:fs";
import {
  Diffusion,
  ddim,
  ddpm,
  dpmSolver,
  edm,
  euler,
  linearBetas,
  type NoiseSource,
  pndm,
  type Sampler,
  type SchedulerConfig,
  schedulerFromConfig,
  spacedTimesteps,
  uniPc,
} from "@figment/diffusion";
import { assertNoLeaks, CheckpointError, concat, rng, type Tensor, tensor, UsageError } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { goldenFile } from "../../tensor/test/support/golden.js";
import { functionNet } from "./support.js";

const golden = goldenFile("schedulers", new URL("./golden/", import.meta.url));
const cases = JSON.parse(readFileSync(new URL("./golden/schedulers.json", import.meta.url), "utf8")) as Record<
  string,
  { readonly steps: number; readonly eta?: number; readonly config: SchedulerConfig }
>;
const random = rng(1);
afterAll(() => {
  random.dispose();
  assertNoLeaks();
});

/** The formula of schedulers.py; with variances where they are learned. */
const network = (twice: boolean) =>
  functionNet((x, t) => {
    const time = t
      .cast("f32")
      .mul(0.01)
      .sin()
      .mul(0.1)
      .reshape([t.dim(0), 1, 1, 1]);
    const out = x.tanh().mul(0.8).add(time);
    return twice ? concat([out, x.mul(3).sin()], 3) : out;
  }, `recorded ${twice}`);

/** Recorded noise, one step's after the other's. The steps that draw none in diffusers draw nothing here. */
function recordedNoise(name: string, shape: readonly number[]): NoiseSource {
  const { array } = golden.read(`${name}/noise`);
  const size = shape.reduce((a, b) => a * b, 1);
  let next = 0;
  return {
    normal: () => {
      const part = array.slice(next * size, (next + 1) * size);
      next++;
      return tensor(part.length === size ? part : new Float32Array(size), { shape: [...shape] });
    },
  };
}

const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Math.hypot(...Array.from(a, (x, i) => x - (b[i] as number))) / Math.hypot(...Array.from(b));

it("the loops were recorded by the script beside them, from PyTorch 2", () => {
  expect(golden.metadata.script_sha256).toBe(golden.scriptHash());
  expect(golden.metadata.torch).toMatch(/^2\./);
});

describe("schedules of diffusers", () => {
  const withAlphas = Object.keys(cases).filter((name) => golden.keys(name).includes("alphas"));

  it.each(withAlphas)("%s: ᾱ in the same float32 numbers but for rounding", (name) => {
    const { process } = schedulerFromConfig((cases[name] as (typeof cases)[string]).config);
    const { alphasCumprod } = new Diffusion(process);
    const recorded = golden.read(`${name}/alphas`).array;
    const ours = [...alphasCumprod].filter((_, t) => t % 9 === 0);
    expect(ours.length).toBe(recorded.length);
    ours.forEach((alphaBar, i) => {
      // A few units in the last place: sigmoids and roots may be rounded otherwise.
      const value = recorded[i] as number;
      // What keeps the noise of the last step finite stands for no signal at all.
      if (value > 2 ** -24)
        expect(Math.abs(alphaBar - value)).toBeLessThanOrEqual(Math.max(2 ** -21 * value, 2 ** -24));
    });
  });
});

describe("loops of diffusers", () => {
  it.each(Object.keys(cases))("%s", async (name) => {
    const { config, steps, eta } = cases[name] as (typeof cases)[string];
    const { process, sampler } = schedulerFromConfig(config);
    using diffusion = new Diffusion(process);
    // Recorded as [N,C,H,W]; the network is a function of single values, so that channels may be anywhere, except
    // where there are twice as many.
    const twice = process.variance === "learned-range";
    const order = twice ? [0, 2, 3, 1] : [0, 1, 2, 3];
    const made = golden.tensor(`${name}/start`);
    using start = made.transpose(order);
    made.dispose();
    const recorded = golden.read(`${name}/x`).array;
    const times = golden.read(`${name}/timesteps`).array;
    const size = start.size;
    const noise = golden.keys(name).includes("noise") && !twice ? recordedNoise(name, start.shape) : undefined;
    const last = noise || !golden.keys(name).includes("noise") ? undefined : permutedNoise(name, start.shape);
    let step = 0;
    const options = { shape: start.shape, start, rng: random, noise: noise ?? last, sampler: sampler({ steps, eta }) };
    for await (const { x, timestep } of diffusion.sampleSteps(network(twice), options)) {
      expect(timestep, `time of step ${step}`).toBeCloseTo(times[step] as number, 2);
      const back = twice ? x.transpose([0, 3, 1, 2]) : x.clone();
      const error = distance(await back.data(), recorded.subarray(step * size, (step + 1) * size));
      back.dispose();
      expect(error, `step ${step}`).toBeLessThan(1e-5);
      step++;
    }
    expect(step).toBe(times.length);
  });
});

/** Recorded noise [N,C,H,W] as [N,H,W,C]. */
function permutedNoise(name: string, shape: readonly number[]): NoiseSource {
  const [n, h, w, c] = shape as [number, number, number, number];
  const first = recordedNoise(name, [n, c, h, w]);
  return {
    normal: () => {
      const noise = first.normal([n, c, h, w]);
      const moved: Tensor = noise.transpose([0, 2, 3, 1]);
      noise.dispose();
      return moved;
    },
  };
}

describe("configurations without a counterpart", () => {
  it.each([
    [{ _class_name: "VQDiffusionScheduler" }, /"VQDiffusionScheduler".*DDPMScheduler/],
    [{ _class_name: "DDPMScheduler", beta_schedule: "laplace" }, /beta_schedule is "laplace"/],
    [{ _class_name: "DDPMScheduler", thresholding: true }, /thresholding is true/],
    [{ _class_name: "DDPMScheduler", variance_type: "fixed_large_log" }, /variance_type is "fixed_large_log"/],
    [{ _class_name: "DPMSolverMultistepScheduler", algorithm_type: "dpmsolver" }, /algorithm_type/],
    [{ _class_name: "EulerDiscreteScheduler", use_beta_sigmas: true }, /use_beta_sigmas/],
    [{ _class_name: "DDIMScheduler", num_train_timesteps: "many" }, /num_train_timesteps is "many"; expected a number/],
    [
      { _class_name: "DDIMScheduler", num_train_timesteps: 1e12 },
      /num_train_timesteps is 1000000000000; expected an int/,
    ],
    [
      { _class_name: "EDMEulerScheduler", num_train_timesteps: 10.5 },
      /num_train_timesteps is 10.5; expected an integer/,
    ],
  ])("%j are refused by name", (config, message) => {
    expect(() => schedulerFromConfig(config)).toThrow(CheckpointError);
    expect(() => schedulerFromConfig(config)).toThrow(message);
  });
});

describe("values that lead to no walk", () => {
  it.each([
    [
      { _class_name: "DDIMScheduler", steps_offset: 5000 },
      /stepsOffset must be an integer from 0 to 19 here, got 5000/,
    ],
    [{ _class_name: "DDPMScheduler", steps_offset: -500 }, /stepsOffset.*got -500/],
    [
      { _class_name: "UniPCMultistepScheduler", timestep_spacing: "leading", steps_offset: 0.5 },
      /stepsOffset.*got 0.5/,
    ],
    [{ _class_name: "DPMSolverMultistepScheduler", lambda_min_clipped: 50 }, /leastLambda, 50/],
    [{ _class_name: "EDMEulerScheduler", rho: 0 }, /rho must be a positive number, got 0/],
    [{ _class_name: "LCMScheduler", timestep_scaling: 0 }, /timestepScaling must be a positive number/],
  ])("%j are refused", (config, message) => {
    const rows = (): unknown => {
      const { process, sampler } = schedulerFromConfig(config);
      using diffusion = new Diffusion(process);
      return sampler({ steps: 50 }).rows(diffusion);
    };
    expect(rows).toThrow(UsageError);
    expect(rows).toThrow(message);
  });

  it.each([
    [(): Sampler => euler({ sigmas: "cosine" as "karras" }), /sigmas must be "timesteps" or "karras" or "exponential"/],
    [(): Sampler => dpmSolver({ finalSigma: "none" as "zero" }), /finalSigma must be "zero" or "smallest"/],
    [(): Sampler => dpmSolver({ kind: "euler" as "heun" }), /kind must be "midpoint" or "heun", got "euler"/],
    [(): Sampler => uniPc({ kind: "bh3" as "bh2" }), /kind must be "bh1" or "bh2"/],
    [(): Sampler => edm({ order: 3 as 2 }), /order must be 1 or 2, got 3/],
    [(): Sampler => edm({ output: "x0" as "F" }), /output must be "F" or "v"/],
    [(): Sampler => ddpm({ variance: "fixed" as "small" }), /variance must be "small" or "large" or "learned"/],
    [(): Sampler => pndm({ finalAlpha: "zero" as "one" }), /finalAlpha must be "one" or "first"/],
    [(): Sampler => ddim({ spacing: "even" as "leading" }), /spacing must be "leading" or "linspace" or "trailing"/],
  ])("%s is refused", (make, message) => {
    using diffusion = new Diffusion({ betas: linearBetas(1000) });
    expect(() => make().rows(diffusion)).toThrow(message);
  });
});

describe("numbers of steps", () => {
  it("beyond a million are refused before any memory is taken", () => {
    expect(() => linearBetas(2 ** 40)).toThrow(
      "linearBetas: expected a number of steps from 1 to 1000000, got 1099511627776",
    );
    expect(() => spacedTimesteps(2 ** 40, 2 ** 40)).toThrow("sampler: expected 1 to 1000000 training steps");
  });
});
