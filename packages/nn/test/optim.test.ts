// Optimisers, schedules and moving averages.

import {
  Adam,
  type AdamOptions,
  AdamW,
  EMA,
  Linear,
  Module,
  mse,
  Parameter,
  Sequential,
  warmup,
  warmupCosine,
  zeroInit,
} from "@figment/nn";
import {
  assertNoLeaks,
  CheckpointError,
  compile,
  rng,
  scalar,
  scope,
  type Tensor,
  tensor,
  UsageError,
  zeros,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { expectGolden, golden } from "./golden.js";

const seed = 11;
console.log(`optimiser tests: seed ${seed}`);
afterAll(() => assertNoLeaks());

/** Two parameters, as the golden optimiser runs have them. */
class Pair extends Module {
  readonly first = new Parameter({ shape: [4, 3], init: zeroInit, name: "first" });
  readonly second = new Parameter({ shape: [5], init: zeroInit, name: "second" });
}

const goldenRuns = [
  ["adam", Adam, { lr: 0.03, betas: [0.8, 0.95], eps: 1e-7, weightDecay: 0.1 }, undefined],
  ["adamw", AdamW, { lr: 0.02, weightDecay: 0.05 }, 1],
] as const satisfies readonly (readonly [string, typeof Adam, AdamOptions, number | undefined])[];

describe("ten steps agree with PyTorch", () => {
  it.each(goldenRuns)("%s, eagerly", (name, Optimizer, options, clipNorm) => {
    const model = new Pair();
    const optimizer = new Optimizer(model, options);
    scope(() => {
      model.loadStateDict({ first: golden(`${name}/start/first`), second: golden(`${name}/start/second`) });
      for (let step = 0; step < 10; step++) {
        const [first, second] = [golden(`${name}/grad${step}/first`), golden(`${name}/grad${step}/second`)];
        optimizer.minimize(() => model.first.value.mul(first).sum().add(model.second.value.mul(second).sum()), {
          clipNorm,
        });
        expectGolden(model.first.value, `${name}/step${step}/first`);
        expectGolden(model.second.value, `${name}/step${step}/second`);
      }
    });
    optimizer.dispose();
    model.dispose();
  });

  it.each(goldenRuns)("%s, compiled", (name, Optimizer, options, clipNorm) => {
    const model = new Pair();
    const optimizer = new Optimizer(model, options);
    const step = compile((first: Tensor, second: Tensor) =>
      optimizer.minimize(() => model.first.value.mul(first).sum().add(model.second.value.mul(second).sum()), {
        clipNorm,
      }),
    );
    scope(() => {
      model.loadStateDict({ first: golden(`${name}/start/first`), second: golden(`${name}/start/second`) });
      for (let i = 0; i < 10; i++) step(golden(`${name}/grad${i}/first`), golden(`${name}/grad${i}/second`));
      expectGolden(model.first.value, `${name}/step9/first`);
      expectGolden(model.second.value, `${name}/step9/second`);
    });
    expect(step.stats.traces).toBe(1);
    step.dispose();
    optimizer.dispose();
    model.dispose();
  });
});

describe("Adam", () => {
  it("leaves a parameter that the loss does not read where it was", () => {
    const model = new Pair().init(rng(seed));
    const optimizer = new Adam(model);
    scope(() => {
      optimizer.minimize(() => model.first.value.sum());
      expect(model.second.value.dataSync().every((x) => x === 0)).toBe(true);
      expect(model.first.value.dataSync().every((x) => x < 0)).toBe(true);
    });
    optimizer.dispose();
    model.dispose();
  });

  it("reads a changed learning rate without a new program", () => {
    const model = new Pair().init(rng(seed));
    const optimizer = new Adam(model, { lr: 0.5 });
    const step = compile(() => optimizer.minimize(() => model.second.value.sum()));
    scope(() => {
      step();
      optimizer.setLearningRate(0);
      step();
      for (const x of model.second.value.dataSync()) expect(x).toBeCloseTo(-0.5, 5);
    });
    expect(step.stats.traces).toBe(1);
    step.dispose();
    optimizer.dispose();
    model.dispose();
  });

  it("names its moments by the parameters' paths, over several modules too", () => {
    const models = { generator: new Linear(2, 1), critic: new Linear(1, 1, { bias: false }) };
    const { cells } = new Adam(models).captureState();
    expect(Object.keys(cells)).toEqual([
      "lr",
      "step",
      ...["generator.weight", "generator.bias", "critic.weight"].flatMap((path) => [`${path}.m`, `${path}.v`]),
    ]);
  });

  it("refuses what it cannot train, and states of another kind or model", () => {
    expect(() => new Adam(new Sequential())).toThrow(UsageError);
    expect(() => new Adam(new Linear(1, 1), { lr: -1 })).toThrow(/learning rate/);
    const optimizer = new Adam(new Linear(2, 1));
    expect(() => optimizer.restoreState({ tensors: {}, json: "AdamW" })).toThrow(UsageError);
    expect(() => optimizer.restoreState({ tensors: {}, json: "Adam" })).toThrow(CheckpointError);
  });

  it("fits a line", () => {
    const model = new Linear(1, 1).init(rng(seed));
    const optimizer = new AdamW(model, { lr: 0.1, weightDecay: 0 });
    const step = compile((x: Tensor, y: Tensor) => optimizer.minimize(() => mse(model.forward(x), y)));
    scope(() => {
      const x = tensor([[-1], [0], [1], [2]]);
      const y = tensor([[-5], [-2], [1], [4]]);
      for (let i = 0; i < 300; i++) step(x, y);
      expect(model.weight.value.itemSync()).toBeCloseTo(3, 2);
      expect(model.bias?.value.itemSync()).toBeCloseTo(-2, 2);
    });
    for (const owner of [step, optimizer, model]) owner.dispose();
  });
});

describe("schedules", () => {
  const at = (schedule: (step: Tensor) => Tensor, step: number): number =>
    scope(() => schedule(scalar(step)).itemSync());

  it("warm up linearly, then stay", () => {
    expect([1, 5, 10, 100].map((step) => at(warmup(10), step))).toEqual([0.1, 0.5, 1, 1].map(Math.fround));
  });

  it("fall along a cosine to their floor, and stay there", () => {
    const schedule = warmupCosine({ warmup: 10, total: 110, floor: 0.2 });
    expect(at(schedule, 5)).toBeCloseTo(0.5, 6);
    expect(at(schedule, 10)).toBeCloseTo(1, 6);
    expect(at(schedule, 60)).toBeCloseTo(0.6, 6);
    expect(at(schedule, 110)).toBeCloseTo(0.2, 6);
    expect(at(schedule, 500)).toBeCloseTo(0.2, 6);
  });

  it("act inside the compiled step", () => {
    const model = new Pair().init(rng(seed));
    const optimizer = new Adam(model, { lr: 1, schedule: warmup(4) });
    const step = compile(() => optimizer.minimize(() => model.second.value.sum()));
    scope(() => {
      for (let i = 0; i < 3; i++) step();
      // A constant gradient moves each parameter by the learning rate: 1/4 + 2/4 + 3/4.
      for (const x of model.second.value.dataSync()) expect(x).toBeCloseTo(-1.5, 4);
    });
    for (const owner of [step, optimizer, model]) owner.dispose();
  });
});

describe("EMA", () => {
  it("averages with the warmed-up decay, in a model of its own that is in evaluation mode", () => {
    const model = new Pair().init(rng(seed));
    const ema = new EMA(model, { decay: 0.15 });
    const expected = [1, 2, 3].reduce((average, value, n) => {
      const decay = Math.min(0.15, (1 + n) / (10 + n));
      return decay * average + (1 - decay) * value;
    }, 0);
    scope(() => {
      for (const value of [1, 2, 3]) {
        model.second.setData(new Array(5).fill(value));
        ema.update();
      }
      for (const x of ema.model.second.value.dataSync()) expect(x).toBeCloseTo(expected, 6);
    });
    expect(ema.model.training).toBe(false);
    expect(model.training).toBe(true);
    ema.dispose();
    model.dispose();
  });

  it("refuses a module without weights", () => {
    expect(() => new EMA(new Linear(1, 1))).toThrow(/init\(rng\)/);
  });

  it("can be saved and restored", () => {
    const model = new Pair().init(rng(seed));
    const [a, b] = [new EMA(model), new EMA(model)];
    scope(() => {
      model.second.set(zeros([5]).add(3));
      a.update();
      const { cells, json } = a.captureState();
      b.restoreState({
        tensors: Object.fromEntries(Object.entries(cells).map(([path, cell]) => [path, cell.value])),
        json,
      });
      model.second.set(zeros([5]).add(4));
      a.update();
      b.update();
      expect([...b.model.second.value.dataSync()]).toEqual([...a.model.second.value.dataSync()]);
    });
    for (const owner of [a, b, model]) owner.dispose();
  });
});
