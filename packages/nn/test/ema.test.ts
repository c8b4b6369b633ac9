// Moving averages of weights.

import { EMA, Linear } from "@figment/nn";
import { assertNoLeaks, rng, scope, zeros } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { expectGolden, golden } from "./golden.js";
import { Pair } from "./support/pair.js";

const seed = 11;
console.log(`moving average tests: seed ${seed}`);
afterAll(() => assertNoLeaks());

describe("EMA", () => {
  it("agrees with ten steps of PyTorch", () => {
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
