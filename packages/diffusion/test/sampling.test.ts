// Samplers: what they converge to, and how they behave while they run.

import {
  cosineBetas,
  Diffusion,
  ddim,
  ddpm,
  deis,
  dpmSolver,
  dpmSolverSinglestep,
  euler,
  eulerAncestral,
  heun,
  linearBetas,
  lms,
  pndm,
  posterior,
  type SamplerRow,
  trailingTimesteps,
  uniPc,
} from "@figment/diffusion";
import { Conv2d, Module } from "@figment/nn";
import { assertNoLeaks, matmul, memory, openScope, type Rng, rng, scope, settled, type Tensor } from "@figment/tensor";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { functionNet, gaussianNet, moments } from "./support.js";

const seed = 17;
console.log(`sampling tests: seed ${seed}`);
afterAll(() => assertNoLeaks());

/** Numbers drawn in statistical tests. */
const n = 20_000;
const [mean, deviation] = [0.4, 0.3];
const random = rng(seed);
afterAll(() => random.dispose());

describe("coefficients", () => {
  const process = {
    alphasCumprod: new Diffusion({ betas: linearBetas(100) }).alphasCumprod,
    predict: "epsilon",
  } as const;

  it("space timesteps from the last of training down", () => {
    expect(trailingTimesteps(5, 1000)).toEqual([999, 799, 599, 399, 199]);
    expect(trailingTimesteps(4, 4)).toEqual([3, 2, 1, 0]);
    expect(() => trailingTimesteps(5, 4)).toThrow(/1 to 4/);
  });

  it("of DDPM are the posterior's, without noise in the last step", () => {
    const rows = ddpm().rows(process);
    expect(rows).toHaveLength(100);
    const row = rows[40] as SamplerRow;
    const t = row.timestep;
    const expected = posterior(process.alphasCumprod[t] as number, process.alphasCumprod[t - 1] as number);
    expect([row.onX0, row.onX, row.onNoise ** 2]).toEqual([
      expected.onX0,
      expected.onX,
      expect.closeTo(expected.variance, 12),
    ]);
    expect(rows.at(-1)).toMatchObject({ timestep: 0, onNoise: 0, onX0: 1, onX: 0 });
  });

  it("of DDIM with η = 1 are those of DDPM", () => {
    const a = ddpm({ steps: 20 }).rows(process);
    const b = ddim({ steps: 20, eta: 1 }).rows(process);
    a.forEach((row, i) => {
      for (const key of ["x0FromX", "x0FromModel", "onX0", "onX", "onNoise"] as const) {
        expect(b[i]?.[key]).toBeCloseTo(row[key], 10);
      }
    });
  });

  it("of DDIM reproduce x at the next level from its own x₀ and ε", () => {
    for (const predict of ["epsilon", "x0", "v"] as const) {
      const rows = ddim({ steps: 10 }).rows({ ...process, predict });
      rows.forEach((row, i) => {
        const now = process.alphasCumprod[row.timestep] as number;
        const next = i + 1 < rows.length ? (process.alphasCumprod[(rows[i + 1] as SamplerRow).timestep] as number) : 1;
        const [clean, epsilon] = [0.7, -1.3];
        const x = Math.sqrt(now) * clean + Math.sqrt(1 - now) * epsilon;
        const answer = { epsilon, x0: clean, v: Math.sqrt(now) * epsilon - Math.sqrt(1 - now) * clean }[predict];
        const x0 = row.x0FromX * x + row.x0FromModel * answer;
        expect(x0).toBeCloseTo(clean, 10);
        expect(row.onX0 * x0 + row.onX * x).toBeCloseTo(Math.sqrt(next) * clean + Math.sqrt(1 - next) * epsilon, 10);
      });
    }
  });
});

describe("with the true score of a normal distribution", () => {
  const samplers = [
    ["DDIM", ddim({ steps: 100 })],
    ["DDIM with η = 0.5", ddim({ steps: 100, eta: 0.5 })],
    ["DDPM", ddpm({ steps: 250 })],
    ["DDPM with large variance", ddpm({ steps: 250, variance: "large" })],
  ] as const;

  it.each(samplers)("%s recovers the distribution", async (_name, sampler) => {
    using diffusion = new Diffusion({ betas: cosineBetas(1000) });
    const net = gaussianNet(diffusion, mean, deviation);
    const x = await diffusion.sample(net, { shape: [n], sampler, rng: random, clip: false });
    const found = moments(await x.data());
    x.dispose();
    // Discretisation moves the deviation by some percent at these numbers of steps.
    expect(Math.abs(found.mean - mean)).toBeLessThan(0.02);
    expect(Math.abs(found.deviation / deviation - 1)).toBeLessThan(0.06);
  });

  it.each([
    ["PNDM", pndm({ steps: 50 })],
    ["PNDM from Runge-Kutta steps", pndm({ steps: 50, rungeKutta: true })],
    ["Euler", euler({ steps: 100 })],
    ["Euler ancestral", eulerAncestral({ steps: 600 })],
    ["Heun", heun({ steps: 40 })],
    ["linear multistep", lms({ steps: 50 })],
    ["DPM-Solver++ of order 2", dpmSolver({ steps: 60 })],
    ["DPM-Solver++ of order 3", dpmSolver({ steps: 60, order: 3 })],
    ["DPM-Solver++ with noise", dpmSolver({ steps: 60, sde: true })],
    ["DPM-Solver++ of order 3 with noise", dpmSolver({ steps: 60, sde: true, order: 3 })],
    ["DPM-Solver++ in single steps", dpmSolverSinglestep({ steps: 60 })],
    ["UniPC of order 3", uniPc({ steps: 60, order: 3 })],
    ["DEIS of order 3", deis({ steps: 60, order: 3 })],
  ])("%s recovers it in few steps", async (_name, sampler) => {
    using diffusion = new Diffusion({ betas: linearBetas(1000) });
    const net = gaussianNet(diffusion, mean, deviation);
    const x = await diffusion.sample(net, { shape: [n], sampler, rng: random, clip: false });
    const found = moments(await x.data());
    x.dispose();
    expect(Math.abs(found.mean - mean)).toBeLessThan(0.02);
    expect(Math.abs(found.deviation / deviation - 1)).toBeLessThan(0.06);
  });

  it.each([
    ["PNDM", false],
    ["PNDM from Runge-Kutta steps", true],
  ])(
    "%s follows the exact map for numbers of steps that do not divide those of training",
    async (_name, rungeKutta) => {
      using diffusion = new Diffusion({ betas: linearBetas(1000) });
      const net = gaussianNet(diffusion, mean, deviation);
      const start = random.normal([256]);
      const end = diffusion.alphasCumprod[999] as number;
      const exact = [...(await start.data())].map(
        (z) => mean + (deviation * (z - Math.sqrt(end) * mean)) / Math.sqrt(end * deviation ** 2 + 1 - end),
      );
      for (const steps of [60, 300, 400]) {
        const sampler = pndm({ steps, rungeKutta, finalAlpha: "one" });
        const x = await diffusion.sample(net, { shape: [256], sampler, rng: random, clip: false, start });
        const data = await x.data();
        x.dispose();
        const error = Math.max(...exact.map((value, i) => Math.abs(value - (data[i] as number))));
        expect(error, `${steps} steps`).toBeLessThan(0.01);
      }
      start.dispose();
    },
  );

  it("single steps of second order with noise come closer than those of first", async () => {
    using diffusion = new Diffusion({ betas: linearBetas(1000) });
    const net = gaussianNet(diffusion, mean, 0.6);
    const error = async (order: 1 | 2): Promise<number> => {
      const sampler = dpmSolverSinglestep({ steps: 50, order, sde: true });
      const x = await diffusion.sample(net, { shape: [n], sampler, rng: random, clip: false });
      const found = moments(await x.data());
      x.dispose();
      return Math.abs(found.deviation - 0.6);
    };
    // 0.029 and 0.061; drawing moves either by 0.003.
    expect(await error(2)).toBeLessThan((await error(1)) * 0.75);
  });

  it("DDIM's result is a function of where it starts: more steps come closer to the exact map", async () => {
    using diffusion = new Diffusion({ betas: cosineBetas(1000) });
    const net = gaussianNet(diffusion, mean, deviation);
    const start = random.normal([256]);
    const alphaBar = diffusion.alphasCumprod[999] as number;
    // The probability flow of a normal distribution maps quantiles to quantiles.
    const exact = [...(await start.data())].map(
      (z) =>
        mean + (deviation * (z - Math.sqrt(alphaBar) * mean)) / Math.sqrt(alphaBar * deviation ** 2 + 1 - alphaBar),
    );
    const error = async (steps: number): Promise<number> => {
      const x = await diffusion.sample(net, {
        shape: [256],
        sampler: ddim({ steps }),
        rng: random,
        clip: false,
        start,
      });
      const data = await x.data();
      x.dispose();
      return Math.max(...exact.map((value, i) => Math.abs(value - (data[i] as number))));
    };
    const [few, many] = [await error(10), await error(200)];
    start.dispose();
    expect(many).toBeLessThan(few / 4);
    expect(many).toBeLessThan(0.03);
  });
});

/** A network with parameters, cheap. */
class Small extends Module {
  readonly conv = new Conv2d(1, 1, 3, { padding: 1 });
  forward(x: Tensor): Tensor {
    return this.conv.forward(x);
  }
}

describe("sampling", () => {
  const shape = [2, 6, 6, 1];
  const disposables: { dispose(): void }[] = [];
  afterEach(() => {
    for (const thing of disposables.splice(0)) thing.dispose();
  });
  const keep = <T extends { dispose(): void }>(thing: T): T => {
    disposables.push(thing);
    return thing;
  };
  const setUp = (steps = 20) => ({
    diffusion: keep(new Diffusion({ betas: cosineBetas(steps) })),
    net: keep(new Small().init(random)),
  });

  it.each([
    ["DDPM", ddpm()],
    ["DDIM", ddim({ steps: 7 })],
  ])("is determined by the seed, %s", async (_name, sampler) => {
    const { diffusion, net } = setUp();
    const draw = async (s: number): Promise<number[]> => {
      const x = await diffusion.sample(net, { shape, sampler, rng: keep(rng(s)) });
      const data = [...(await x.data())];
      x.dispose();
      return data;
    };
    const [a, b, c] = [await draw(1), await draw(1), await draw(2)];
    expect(b).toEqual(a);
    expect(c).not.toEqual(a);
  });

  it("compiles the network once for all steps and samples of a shape", async () => {
    const { diffusion } = setUp();
    let traces = 0;
    const net = functionNet((x) => {
      traces++;
      return x.mul(0.5);
    }, "counting");
    for (const steps of [5, 9])
      (await diffusion.sample(net, { shape, sampler: ddim({ steps }), rng: random })).dispose();
    expect(traces).toBe(1);
  });

  it("keeps x₀ within its bounds", async () => {
    const { diffusion, net } = setUp();
    const options = { shape, sampler: ddim({ steps: 7 }), rng: random, predictions: true };
    const wide = functionNet((x) => x.mul(-40), "wide");
    for (const clip of [true, [-0.5, 0.25]] as const) {
      const [lo, hi] = clip === true ? ([-1, 1] as const) : clip;
      let last: Tensor | undefined;
      for await (const { x, x0 } of diffusion.sampleSteps(wide, { ...options, clip })) {
        const data = await (x0 as Tensor).data();
        expect(Math.min(...data)).toBeGreaterThanOrEqual(lo);
        expect(Math.max(...data)).toBeLessThanOrEqual(hi);
        last?.dispose();
        last = x.clone();
      }
      // The last step gives x₀ itself.
      for (const value of (await last?.data()) ?? []) expect(value >= lo && value <= hi).toBe(true);
      last?.dispose();
    }
    for (const clip of [[1, 1], [-1], [-1, Number.POSITIVE_INFINITY], [Number.NaN, 1], null, "no", 0])
      await expect(diffusion.sample(net, { ...options, clip: clip as never })).rejects.toThrow(
        /clip must be true, false or \[lo, hi\] of finite lo < hi, got /,
      );
    await expect(diffusion.sampleSteps(net, { ...options, predictions: "no" as never }).next()).rejects.toThrow(
      /predictions must be true or false, got "no"/,
    );
  });

  it("reports progress after each step", async () => {
    const { diffusion, net } = setUp();
    const seen: string[] = [];
    const sampler = ddim({ steps: 4 });
    const onProgress = ({ step, total }: { step: number; total: number }): void => void seen.push(`${step}/${total}`);
    (await diffusion.sample(net, { shape, sampler, rng: random, onProgress })).dispose();
    expect(seen).toEqual(["1/4", "2/4", "3/4", "4/4"]);
  });

  it("yields the frames that sample() goes through, borrowed until the next", async () => {
    const { diffusion, net } = setUp();
    const options = (s: number) => ({ shape, sampler: ddpm(), rng: keep(rng(s)) });
    let last: Tensor | undefined;
    let previous: Tensor | undefined;
    for await (const { x } of diffusion.sampleSteps(net, options(4))) {
      if (previous) expect(previous.disposed).toBe(true);
      previous = x;
      last?.dispose();
      last = x.clone();
    }
    const direct = await diffusion.sample(net, options(4));
    expect(await last?.data()).toEqual(await direct.data());
    last?.dispose();
    direct.dispose();
  });

  it("frees everything when the loop is left", async () => {
    const { diffusion, net } = setUp();
    (await diffusion.sample(net, { shape, sampler: ddpm(), rng: random })).dispose();
    const before = memory().liveBuffers;
    for await (const { step } of diffusion.sampleSteps(net, { shape, sampler: ddpm(), rng: random }))
      if (step === 3) break;
    await settled();
    expect(memory().liveBuffers).toBe(before);
  });

  it("rejects with the signal's reason, before and while it runs, at once and without leaks", async () => {
    using diffusion = new Diffusion({ betas: cosineBetas(1000) });
    const net = keep(new Small().init(random));
    const reason = new Error("enough");
    await expect(diffusion.sample(net, { shape, rng: random, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);

    (
      await diffusion.sample(net, { shape: [8, 32, 32, 1], sampler: ddim({ steps: 2 }), rng: random, clip: false })
    ).dispose();
    const before = memory().liveBuffers;
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(reason), 30);
    const endless = { name: "endless", rows: () => new Array(100_000).fill(ddim({ steps: 1 }).rows(diffusion)[0]) };
    await expect(
      diffusion.sample(net, {
        shape: [8, 32, 32, 1],
        sampler: endless,
        rng: random,
        signal: controller.signal,
        clip: false,
      }),
    ).rejects.toBe(reason);
    clearTimeout(timer);
    await settled();
    expect(memory().liveBuffers).toBe(before);
  });

  it("stops the steps that are queued, the running one in the middle, and leaves no error behind", async () => {
    using diffusion = new Diffusion({ betas: cosineBetas(1000) });
    // Minutes of work, should a step not stop.
    const slow = functionNet((x) => {
      let y = x;
      for (let i = 0; i < 60; i++) y = matmul(y, x).mul(1e-4);
      return y;
    }, "slow");
    const controller = new AbortController();
    const options = { shape: [3072, 3072], sampler: ddpm(), rng: random, signal: controller.signal };
    const sampling = diffusion.sample(slow, options);
    setTimeout(() => controller.abort(), 20);
    const reason: unknown = await sampling.catch((error: unknown) => error);
    expect(reason).toBe(controller.signal.reason);
    await settled();
  });

  it("leaves the stream past the draws of the steps that were computed, when it is stopped", async () => {
    const { diffusion, net } = setUp();
    /** Advances the stream as a start and `steps` steps of DDPM do. */
    const advanced = async (steps: number): Promise<number[]> => {
      const stream = keep(rng(5));
      for (let i = 0; i < 1 + steps; i++) stream.normal(shape).dispose();
      return state(stream);
    };
    const state = async (stream: Rng): Promise<number[]> => {
      const value = stream.cell.value;
      const data = [...(await value.data())];
      value.dispose();
      return data;
    };
    const stream = keep(rng(5));
    for await (const { step } of diffusion.sampleSteps(net, { shape, sampler: ddpm(), rng: stream }))
      if (step === 3) break;
    // One more step is queued when the loop is left: it was computed or not, but never in part.
    expect([await advanced(3), await advanced(4)]).toContainEqual(await state(stream));
  });

  it("outlives a scope that it was started in", async () => {
    const { diffusion, net } = setUp();
    using scoped = openScope();
    const pending = scoped.run(() => diffusion.sample(net, { shape, sampler: ddim({ steps: 3 }), rng: random }));
    scoped[Symbol.dispose]();
    const x = await pending;
    expect(x.disposed).toBe(false);
    x.dispose();
  });

  it("refuses a start of another shape", async () => {
    const { diffusion, net } = setUp();
    await expect(
      diffusion.sample(net, { shape, rng: random, start: scope(() => keep(random.normal([3]))) }),
    ).rejects.toThrow(/start has shape \[3\]/);
  });
});
