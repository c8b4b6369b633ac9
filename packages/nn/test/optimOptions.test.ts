// What an optimiser is told: groups of parameters, clipping, learning rates, and what it refuses.

import { Adam, AdamW, compileStep, type Schedule, SGD, vectorsWithoutDecay } from "@figment/nn";
import { assertNoLeaks, rng, scope, type Tensor, tensor, UsageError, valueAndGrad, zeros } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { Pair } from "./support/pair.js";

const seed = 11;
console.log(`tests of optimisers' options: seed ${seed}`);
afterAll(() => assertNoLeaks());

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
