// Modules in compiled functions: what tells their programs apart, and their modes.

import { Conv2d, Dropout, EMA, GroupNorm, Linear, Module, Sequential } from "@figment/nn";
import { assertNoLeaks, compile, rng, scope, type Tensor, tensor, zeros } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

const seed = 7;
console.log(`tests of modules in compiled functions: seed ${seed}`);
afterAll(() => assertNoLeaks());

/** Two layers of one parameter set. */
class Tied extends Module {
  readonly first = new Linear(3, 3);
  readonly second = this.first;

  forward(x: Tensor): Tensor {
    return this.second.forward(this.first.forward(x));
  }
}

describe("structure", () => {
  it("tells apart configurations, shapes and classes of one name", () => {
    const nameless = () => class Block extends Linear {};
    const modules = [
      new Linear(2, 3),
      new Linear(3, 2),
      new Linear(2, 3, { bias: false }),
      new Conv2d(2, 3, 1),
      new Conv2d(2, 3, 1, { stride: 2 }),
      new (nameless())(2, 3),
      new (nameless())(2, 3),
      new GroupNorm(1, 4),
      new GroupNorm(2, 4),
      new Sequential(new Linear(3, 3), new Linear(3, 3)),
      new Tied(),
    ];
    expect(new Set(modules.map(({ structure }) => structure)).size).toBe(modules.length);
  });

  it("lets one program serve a module and its clone", () => {
    const model = new Linear(3, 2).init(rng(seed));
    const clone = model.clone();
    const run = compile((net: Linear, x: Tensor) => net.forward(x));
    scope(() => {
      const x = tensor([[1, 2, 3]]);
      clone.bias?.set(tensor([100, 200]));
      const [a] = run(model, x).dataSync();
      const [b] = run(clone, x).dataSync();
      expect((b as number) - (a as number)).toBeGreaterThan(90);
    });
    expect(run.stats.traces).toBe(1);
    run.dispose();
    model.dispose();
    clone.dispose();
  });
});

describe("a module as the argument of a compiled function", () => {
  class Scaled extends Module {
    rate = 2;
    options = { shift: 0 };
    layers = [new Linear(2, 2)];
    forward(x: Tensor): Tensor {
      return this.layers
        .reduce((h, layer) => layer.forward(h), x)
        .mul(this.rate)
        .add(this.options.shift);
    }
  }

  it("is known again until a member, an entry, a mode or the configuration is exchanged", () => {
    const model = new Scaled().init(rng(seed));
    const seen = new Set([model.identity()]);
    const changes: (() => void)[] = [
      () => void Object.assign(model, { rate: Number.NaN }),
      () => void Object.assign(model.options, { shift: 1 }),
      () => model.layers.splice(0, 1, new Linear(2, 2))[0]?.dispose(),
      () => void model.layers.push(new Linear(2, 2)),
      () => void Object.assign(model, { extra: 1 }),
      () => void (model.layers[1] as Linear).eval(),
    ];
    for (const change of changes) {
      expect(model.identity()).toBe(model.identity());
      change();
      expect(seen.has(model.identity()), String(change)).toBe(false);
      seen.add(model.identity());
    }
    expect(seen.has(model.clone().identity())).toBe(false);
    model.dispose();
  });

  it("is traced anew for another configuration, and bound anew for other cells, between calls that are like", () => {
    const model = new Scaled().init(rng(seed));
    model.layers[0]?.bias?.setData([0, 0]);
    const twin = model.clone();
    twin.layers[0]?.bias?.setData([100, 100]);
    const run = compile((net: Scaled, x: Tensor) => net.forward(x).sum());
    scope(() => {
      const x = zeros([1, 2]);
      const at = (net: Scaled): number => run(net, x).itemSync();
      expect([at(model), at(twin), at(model), at(twin)]).toEqual([0, 400, 0, 400]);
      expect(run.stats.traces).toBe(1);
      twin.rate = 3;
      expect([at(model), at(twin), at(twin)]).toEqual([0, 600, 600]);
      expect(run.stats.traces).toBe(2);
    });
    for (const owner of [run, model, twin]) owner.dispose();
  });
});

describe("modes", () => {
  it("make dropout the identity in evaluation, and keep the mean in training", () => {
    const p = 0.3;
    const n = 40_000;
    const layer = new Dropout(p).init(rng(seed));
    scope(() => {
      const x = tensor(new Float32Array(n).fill(2));
      const data = layer.forward(x).dataSync();
      const kept = data.filter((y) => y !== 0);
      expect([...new Set(kept)]).toEqual([Math.fround(2 * Math.fround(1 / (1 - p)))]);
      // Five standard deviations of a binomial.
      expect(Math.abs(kept.length - n * (1 - p))).toBeLessThan(5 * Math.sqrt(n * p * (1 - p)));
      expect(layer.eval().forward(x)).toBe(x);
    });
    layer.dispose();
  });

  it("are guarded in compiled functions", () => {
    const layer = new Dropout(0.5).init(rng(seed));
    const run = compile((x: Tensor) => layer.forward(x).sum());
    scope(() => {
      const x = tensor(new Float32Array(1000).fill(1));
      expect(run(x).itemSync()).not.toBe(1000);
      layer.eval();
      expect(run(x).itemSync()).toBe(1000);
      layer.train();
      expect(run(x).itemSync()).not.toBe(1000);
    });
    expect(run.stats.traces).toBe(2);
    run.dispose();
    layer.dispose();
  });

  it("are part of the signature of a module that is an argument", () => {
    const model = new Dropout(0.5).init(rng(seed));
    const ema = new EMA(model);
    const run = compile((net: Dropout, x: Tensor) => net.forward(x).sum());
    scope(() => {
      const x = tensor(new Float32Array(1000).fill(1));
      expect(run(model, x).itemSync()).not.toBe(1000);
      expect(run(ema.model, x).itemSync()).toBe(1000);
    });
    for (const owner of [run, ema, model]) owner.dispose();
  });

  it("can be fixed by compile", () => {
    const model = new Dropout(0.5).init(rng(seed));
    const run = compile((net: Dropout, x: Tensor) => net.forward(x).sum(), { mode: "eval" });
    scope(() => expect(run(model, tensor([1, 2, 3])).itemSync()).toBe(6));
    run.dispose();
    model.dispose();
  });
});
