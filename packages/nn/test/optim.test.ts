// Optimisers, schedules and moving averages.

import * as nn from "@figment/nn";
import {
  Adam,
  AdamW,
  compileStep,
  constantLr,
  cosineLr,
  EMA,
  exponentialLr,
  Linear,
  linearLr,
  Module,
  mse,
  Optimizer,
  Parameter,
  polynomialLr,
  RMSProp,
  type Schedule,
  Sequential,
  SGD,
  sequentialLr,
  stepLr,
  vectorsWithoutDecay,
  warmupCosineLr,
  warmupLr,
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
  valueAndGrad,
  zeros,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { casesOf, expectGolden, golden, numbers } from "./golden.js";
import { subclassesOf } from "./goldenCase.js";

const seed = 11;
console.log(`optimiser tests: seed ${seed}`);
afterAll(() => assertNoLeaks());

/** Two parameters, as the golden optimiser runs have them. */
class Pair extends Module {
  readonly first = new Parameter({ shape: [4, 3], init: zeroInit, name: "first" });
  readonly second = new Parameter({ shape: [5], init: zeroInit, name: "second" });
}

interface GoldenRun {
  readonly name: string;
  make(model: Module): Optimizer;
  readonly clipNorm?: number;
}

const goldenRuns: readonly GoldenRun[] = [
  { name: "adam", make: (m) => new Adam(m, { lr: 0.03, betas: [0.8, 0.95], eps: 1e-7, weightDecay: 0.1 }) },
  { name: "adamw", make: (m) => new AdamW(m, { lr: 0.02, weightDecay: 0.05 }), clipNorm: 1 },
  { name: "sgd", make: (m) => new SGD(m, { lr: 0.1, weightDecay: 0.02 }) },
  { name: "sgdMomentum", make: (m) => new SGD(m, { lr: 0.05, momentum: 0.9, weightDecay: 0.02 }), clipNorm: 1 },
  {
    name: "sgdNesterov",
    make: (m) => new SGD(m, { lr: cosineLr({ from: 0.05, to: 0.01, steps: 9 }), momentum: 0.8, nesterov: true }),
  },
  { name: "rmsprop", make: (m) => new RMSProp(m) },
  {
    name: "rmspropCentered",
    make: (m) =>
      new RMSProp(m, {
        lr: stepLr({ from: 0.01, factor: 0.5, every: 3 }),
        alpha: 0.9,
        eps: 1e-6,
        momentum: 0.7,
        centered: true,
        weightDecay: 0.1,
      }),
  },
];

describe("ten steps agree with PyTorch", () => {
  it("of every exported optimiser", () => {
    const exported = subclassesOf(Optimizer);
    const model = new Pair();
    const made = goldenRuns.map(({ make }) => make(model));
    const compared = new Set<unknown>(made.map((optimizer) => optimizer.constructor));
    expect(exported.length).toBeGreaterThan(3);
    expect(exported.filter((kind) => !compared.has(kind)).map(({ name }) => name)).toEqual([]);
    for (const owner of [...made, model]) owner.dispose();
  });

  it("of a moving average", () => {
    const model = new Pair();
    const load = (from: string): unknown =>
      model.loadStateDict({ first: golden(`ema/${from}/first`), second: golden(`ema/${from}/second`) });
    scope(() => {
      load("start");
      const ema = new EMA(model, { decay: 0.8, warmup: false });
      for (let step = 0; step < 10; step++) {
        load(`weights${step}`);
        ema.update();
        expectGolden(ema.model.first.value, `ema/step${step}/first`);
        expectGolden(ema.model.second.value, `ema/step${step}/second`);
      }
      ema.dispose();
    });
    model.dispose();
  });

  it.each(goldenRuns)("$name, eagerly", ({ name, make, clipNorm }) => {
    const model = new Pair();
    const optimizer = make(model);
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

  it.each(goldenRuns)("$name, compiled", ({ name, make, clipNorm }) => {
    const model = new Pair();
    const optimizer = make(model);
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

const goldenSchedules: Readonly<Record<string, Schedule>> = {
  constant: constantLr(0.2),
  warmup: warmupLr({ to: 0.2, steps: 4 }),
  linear: linearLr({ from: 0.2, to: 0.02, steps: 7 }),
  polynomial: polynomialLr({ from: 0.2, steps: 8, power: 1.5 }),
  cosine: cosineLr({ from: 0.2, to: 0.02, steps: 9 }),
  exponential: exponentialLr({ from: 0.2, decay: 0.8 }),
  step: stepLr({ from: 0.2, factor: 0.3, every: 3 }),
  sequential: sequentialLr(
    [
      { lr: warmupLr({ to: 0.2, steps: 4 }), steps: 2 },
      { lr: constantLr(0.2), steps: 3 },
    ],
    exponentialLr({ from: 0.2, decay: 0.7 }),
  ),
  warmupCosine: warmupCosineLr({ peak: 0.2, warmup: 3, total: 10, floor: 0.02 }),
};

describe("schedules", () => {
  const at = (schedule: Schedule, step: number): number => scope(() => schedule(scalar(step)).itemSync());

  it("are recorded from PyTorch one and all", () => {
    const exported = Object.keys(nn).flatMap((name) => /^(\w+)Lr$/.exec(name)?.[1] ?? []);
    expect(Object.keys(goldenSchedules).sort()).toEqual(exported.sort());
    expect(casesOf("schedule").sort()).toEqual(exported.sort());
  });

  it.each(Object.entries(goldenSchedules))("%s gives the ten rates of PyTorch's", (name, schedule) => {
    numbers(`schedule/${name}/lr`).forEach((rate, step) => {
      expect(at(schedule, step), `step ${step}`).toBeCloseTo(rate, 6);
    });
  });

  it("stay where they arrived", () => {
    const far = 100_000;
    expect(at(warmupLr({ to: 0.5, steps: 10 }), far)).toBe(0.5);
    expect(at(linearLr({ from: 1, to: 0.5, steps: 10 }), far)).toBe(0.5);
    expect(at(cosineLr({ from: 1, to: 0.25, steps: 10 }), far)).toBeCloseTo(0.25, 7);
    expect(at(polynomialLr({ from: 1, steps: 10, power: 3 }), far)).toBe(0);
  });

  it("follow one another, each from its own beginning", () => {
    const schedule = sequentialLr(
      [
        { lr: constantLr(1), steps: 2 },
        { lr: linearLr({ from: 0.5, to: 0, steps: 2 }), steps: 2 },
      ],
      constantLr(3),
    );
    expect([0, 1, 2, 3, 4, 9].map((step) => at(schedule, step))).toEqual([1, 1, 0.5, 0.25, 3, 3]);
  });

  it("refuse lengths and rates that make none", () => {
    expect(() => warmupLr({ to: 1, steps: 0 })).toThrow(UsageError);
    expect(() => linearLr({ from: -1, steps: 3 })).toThrow(/from must be a finite number ≥ 0, got -1/);
    expect(() => exponentialLr({ from: 1, decay: 0 })).toThrow(UsageError);
    expect(() => sequentialLr([{ lr: constantLr(1), steps: 0 }], constantLr(1))).toThrow(UsageError);
    expect(() => warmupCosineLr({ peak: 1, warmup: 5, total: 5 })).toThrow(/total must exceed warmup/);
  });

  it("act inside one compiled step, and leave the rate used in the optimiser's cell", () => {
    const model = new Pair().init(rng(seed));
    const optimizer = new Adam(model, { lr: warmupLr({ to: 1, steps: 4 }) });
    const step = compile(() => optimizer.minimize(() => model.second.value.sum()));
    scope(() => {
      expect(optimizer.lr.value.itemSync()).toBe(0.25);
      for (let i = 0; i < 3; i++) step();
      // A constant gradient moves each parameter by the learning rate: 1/4 + 2/4 + 3/4.
      for (const x of model.second.value.dataSync()) expect(x).toBeCloseTo(-1.5, 4);
      expect(optimizer.lr.value.itemSync()).toBe(0.75);
    });
    expect(step.stats.traces).toBe(1);
    expect(() => optimizer.setLearningRate(1)).toThrow(/schedule/);
    for (const owner of [step, optimizer, model]) owner.dispose();
  });
});

describe("what an optimiser is told wrongly", () => {
  it("is a schedule that gives a number: refused, saying what is expected", () => {
    const model = new Pair().init(rng(seed));
    const optimizer = new Adam(model, { lr: (() => 3) as unknown as Schedule });
    const minimize = (): Tensor => optimizer.minimize(() => model.second.value.sum());
    scope(() => {
      expect(minimize).toThrow(UsageError);
      expect(minimize).toThrow(/Adam: the schedule gave 3; expected a 0-d tensor/);
      expect(() => optimizer.lr.value).toThrow(/Adam: the schedule gave 3/);
    });
    for (const owner of [optimizer, model]) owner.dispose();
  });

  it("is an option that there is not: refused by minimize, update and a compiled step", () => {
    const model = new Pair().init(rng(seed));
    const optimizer = new Adam(model);
    const misspelt = { clipnorm: 1 } as object;
    const loss = (): Tensor => model.second.value.sum();
    expect(() => optimizer.minimize(loss, misspelt)).toThrow(
      /Adam: unknown option "clipnorm"; the options are clipValue/,
    );
    const { value, grads } = valueAndGrad(loss, { wrt: model })();
    expect(() => optimizer.update(grads, misspelt)).toThrow(UsageError);
    grads.dispose();
    value.dispose();
    const step = compileStep(model, optimizer, loss, misspelt);
    expect(() => step({})).toThrow(/unknown option "clipnorm"/);
    for (const owner of [step, optimizer, model]) owner.dispose();
  });
});

describe("groups of parameters", () => {
  it("keep vectors from decaying", () => {
    const model = new Pair().init(rng(seed));
    const optimizer = new AdamW(model, { lr: 0.1, weightDecay: 0.5, groups: [vectorsWithoutDecay] });
    scope(() => {
      model.first.setData(new Array(12).fill(1));
      model.second.setData(new Array(5).fill(1));
      // No gradient: only weight decay moves anything.
      optimizer.minimize(() => model.first.value.add(model.second.value.sum()).mul(0).sum());
      for (const x of model.first.value.dataSync()) expect(x).toBeCloseTo(0.95, 6);
      for (const x of model.second.value.dataSync()) expect(x).toBe(1);
    });
    for (const owner of [optimizer, model]) owner.dispose();
  });

  it("scale the learning rate, and the first that selects a parameter has it", () => {
    const model = new Pair().init(rng(seed));
    const optimizer = new SGD(model, {
      lr: 1,
      groups: [
        { select: (path) => path === "second", lrScale: 0.5 },
        { select: () => true, lrScale: 0.25 },
      ],
    });
    scope(() => {
      optimizer.minimize(() => model.first.value.sum().add(model.second.value.sum()));
      expect([...model.first.value.dataSync()]).toEqual(new Array(12).fill(-0.25));
      expect([...model.second.value.dataSync()]).toEqual(new Array(5).fill(-0.5));
    });
    for (const owner of [optimizer, model]) owner.dispose();
  });

  it("share one gradient norm", () => {
    const model = new Pair().init(rng(seed));
    const optimizer = new SGD(model, { lr: 1, groups: [vectorsWithoutDecay] });
    scope(() => {
      optimizer.minimize(() => model.first.value.sum().add(model.second.value.sum()), { clipNorm: 1 });
      for (const x of model.second.value.dataSync()) expect(x).toBeCloseTo(-1 / Math.sqrt(17), 5);
    });
    for (const owner of [optimizer, model]) owner.dispose();
  });
});

describe("SGD and RMSProp", () => {
  it("keep only the states that they need", () => {
    const model = new Linear(2, 1, { bias: false });
    const statesOf = (optimizer: Optimizer): string[] => Object.keys(optimizer.captureState().cells);
    expect(statesOf(new SGD(model))).toEqual(["lr", "step"]);
    expect(statesOf(new SGD(model, { momentum: 0.9 }))).toEqual(["lr", "step", "weight.buffer"]);
    expect(statesOf(new RMSProp(model, { centered: true, momentum: 0.5 }))).toEqual([
      "lr",
      "step",
      ...["square", "mean", "buffer"].map((name) => `weight.${name}`),
    ]);
  });

  it("update in place, in the commit section of one compiled step", () => {
    const model = new Pair().init(rng(seed));
    const optimizer = new RMSProp(model, { momentum: 0.5, centered: true });
    const step = compile(() => optimizer.minimize(() => model.first.value.square().sum()));
    step();
    const records = step.explain().split("\n");
    // Constants that it reads are made in its name too.
    expect(records.filter((line) => /^rmsprop(?!.*tiles)/.test(line))).toHaveLength(1);
    for (const owner of [step, optimizer, model]) owner.dispose();
  });

  it("divide by a variance that rounding never makes negative", () => {
    const model = new Pair().init(rng(seed));
    const optimizer = new RMSProp(model, { centered: true });
    const step = compile(() => optimizer.minimize(() => model.second.value.mul(0.3).sum()));
    scope(() => {
      // The variance of a constant gradient tends to 0.
      for (let i = 0; i < 2000; i++) step();
      expect(model.second.value.dataSync().every(Number.isFinite)).toBe(true);
    });
    for (const owner of [step, optimizer, model]) owner.dispose();
  });

  it("refuse constants out of range", () => {
    const model = new Linear(1, 1);
    expect(() => new SGD(model, { momentum: 1 })).toThrow(/momentum must be in \[0, 1\), got 1/);
    expect(() => new SGD(model, { nesterov: true })).toThrow(/nesterov needs momentum/);
    expect(() => new SGD(model, { weightDecay: -1 })).toThrow(UsageError);
    expect(() => new RMSProp(model, { alpha: 1.5 })).toThrow(UsageError);
  });
});

describe("clipping by value", () => {
  it("bounds each element, before the norm is taken", () => {
    const model = new Pair().init(rng(seed));
    const optimizer = new SGD(model, { lr: 1 });
    scope(() => {
      const loss = (): Tensor => model.second.value.mul(tensor([-9, -1, 0, 1, 9])).sum();
      optimizer.minimize(loss, { clipValue: 2 });
      expect([...model.second.value.dataSync()]).toEqual([2, 1, 0, -1, -2]);
      model.second.set(zeros([5]));
      optimizer.minimize(loss, { clipValue: 2, clipNorm: 1 });
      expect(model.second.value.dataSync()[0]).toBeCloseTo(2 / Math.sqrt(10), 5);
    });
    for (const owner of [optimizer, model]) owner.dispose();
  });
});

describe("clipping by norm", () => {
  /** The step that gradients of 3 and of 4, one in each parameter, make at a learning rate of 1. */
  const stepAt = (clipNorm: number, scale = 1): readonly [number, number] => {
    const model = new Pair().init(rng(seed));
    const optimizer = new SGD(model, { lr: 1 });
    const moved = scope(() => {
      const [first, second] = [zeros([4, 3]), tensor([0, 0, 4 * scale, 0, 0])];
      const one = first.add(tensor([3 * scale, ...new Array<number>(11).fill(0)]).reshape([4, 3]));
      optimizer.minimize(() => model.first.value.mul(one).sum().add(model.second.value.mul(second).sum()), {
        clipNorm,
      });
      return [model.first.value.dataSync()[0], model.second.value.dataSync()[2]] as [number, number];
    });
    for (const owner of [optimizer, model]) owner.dispose();
    return moved;
  };

  it("scales all gradients by one factor, so that their common norm is the bound", () => {
    const [first, second] = stepAt(1);
    expect(first).toBeCloseTo(-3 / 5, 5);
    expect(second).toBeCloseTo(-4 / 5, 5);
  });

  it("leaves gradients below the bound as they are", () => {
    expect(stepAt(5.1)).toEqual([-3, -4]);
    expect(stepAt(1e30)).toEqual([-3, -4]);
  });

  it("leaves gradients of zero at zero", () => {
    expect(stepAt(1, 0).map(Math.abs)).toEqual([0, 0]);
  });
});

describe("settings of an update", () => {
  it.each(["clipNorm", "clipValue"] as const)(
    "refuse a %s that bounds nothing, and leave the parameters alone",
    (option) => {
      const model = new Pair().init(rng(seed));
      const optimizer = new SGD(model, { lr: 1 });
      scope(() => {
        for (const bound of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, "1" as unknown as number]) {
          const attempt = (): unknown => optimizer.minimize(() => model.second.value.sum(), { [option]: bound });
          expect(attempt, String(bound)).toThrow(UsageError);
          expect(attempt, String(bound)).toThrow(new RegExp(option));
        }
        expect([...model.second.value.dataSync()]).toEqual([0, 0, 0, 0, 0]);
        expect(optimizer.step.value.itemSync()).toBe(0);
      });
      for (const owner of [optimizer, model]) owner.dispose();
    },
  );

  it("refuse a learning rate that is none, and keep the one before", () => {
    const model = new Pair().init(rng(seed));
    const optimizer = new SGD(model, { lr: 0.5 });
    scope(() => {
      for (const lr of [-1, Number.NaN, Number.POSITIVE_INFINITY, "1" as unknown as number]) {
        expect(() => optimizer.setLearningRate(lr), String(lr)).toThrow(UsageError);
        expect(() => optimizer.setLearningRate(lr), String(lr)).toThrow(/SGD: .*learning rate/);
      }
      expect(optimizer.lr.value.itemSync()).toBe(0.5);
      optimizer.setLearningRate(0.25);
      optimizer.minimize(() => model.second.value.sum());
      expect([...model.second.value.dataSync()]).toEqual(new Array(5).fill(-0.25));
    });
    for (const owner of [optimizer, model]) owner.dispose();
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
