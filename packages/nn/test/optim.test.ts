// Optimisers: their updates, which PyTorch recorded, and their states.

import {
  Adam,
  AdamW,
  cosineLr,
  Linear,
  type Module,
  mse,
  Optimizer,
  RMSProp,
  Sequential,
  SGD,
  stepLr,
} from "@figment/nn";
import { assertNoLeaks, CheckpointError, compile, rng, scope, type Tensor, tensor, UsageError } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { expectGolden, golden } from "./golden.js";
import { subclassesOf } from "./goldenCase.js";
import { Pair } from "./support/pair.js";

const seed = 11;
console.log(`optimiser tests: seed ${seed}`);
afterAll(() => assertNoLeaks());

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
    expect(records.filter((line) => /^rmsprop(?!.*(tiles|interpreter|ptx))/.test(line))).toHaveLength(1);
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
