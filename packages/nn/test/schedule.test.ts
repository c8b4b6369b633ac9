// Learning-rate schedules.

import * as nn from "@figment/nn";
import {
  Adam,
  constantLr,
  cosineLr,
  exponentialLr,
  linearLr,
  polynomialLr,
  type Schedule,
  sequentialLr,
  stepLr,
  warmupCosineLr,
  warmupLr,
} from "@figment/nn";
import { assertNoLeaks, compile, rng, scalar, scope, UsageError } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { casesOf, numbers } from "./golden.js";
import { Pair } from "./support/pair.js";

const seed = 11;
console.log(`schedule tests: seed ${seed}`);
afterAll(() => assertNoLeaks());

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

  it("refuse to last longer than optimisers count", () => {
    const [most, more] = [2 ** 24, 2 ** 24 + 1];
    expect(at(linearLr({ from: 1, steps: most }), most)).toBe(0);
    const tooLong = /must be at most 2²⁴ updates/;
    expect(() => warmupLr({ to: 1, steps: more })).toThrow(tooLong);
    expect(() => linearLr({ from: 1, steps: more })).toThrow(tooLong);
    expect(() => cosineLr({ from: 1, steps: more })).toThrow(tooLong);
    expect(() => polynomialLr({ from: 1, steps: more, power: 2 })).toThrow(tooLong);
    expect(() => stepLr({ from: 1, factor: 0.5, every: more })).toThrow(tooLong);
    expect(() => warmupCosineLr({ peak: 1, total: more })).toThrow(tooLong);
    const half = { lr: constantLr(1), steps: most / 2 + 1 };
    expect(() => sequentialLr([half, half], constantLr(1))).toThrow(tooLong);
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
