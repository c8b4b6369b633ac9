// Modules: how state is found, named, drawn, saved, cloned and shared.

import * as initialisers from "@figment/nn";
import {
  Conv2d,
  Dropout,
  EMA,
  Embedding,
  fansOf,
  GroupNorm,
  type Layer,
  Linear,
  Module,
  ResidualBlock,
  Sequential,
  summary,
} from "@figment/nn";
import {
  assertNoLeaks,
  Cell,
  CheckpointError,
  compile,
  customVjp,
  grad,
  rng,
  ShapeError,
  scope,
  silu,
  type Tensor,
  tensor,
  zeros,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

const seed = 7;
console.log(`module tests: seed ${seed}`);
afterAll(() => assertNoLeaks());

class Branching extends Module {
  readonly branches = [new Linear(4, 4), new Linear(4, 4)];
  readonly heads = { mean: new Linear(4, 1), scale: new Linear(4, 1, { bias: false }) };
  readonly offset = new Cell({ shape: [4], name: "offset", initial: () => [1, 2, 3, 4] });
  readonly dropout = new Dropout(0.5);

  forward(x: Tensor): Tensor {
    const h = this.branches.reduce((sum, branch) => sum.add(branch.forward(x)), this.offset.value);
    return this.heads.mean.forward(this.dropout.forward(h)).mul(this.heads.scale.forward(h));
  }
}

/** Two layers of one parameter set. */
class Tied extends Module {
  readonly first = new Linear(3, 3);
  readonly second = this.first;

  forward(x: Tensor): Tensor {
    return this.second.forward(this.first.forward(x));
  }
}

const values = (cell: Cell): number[] => scope(() => [...cell.value.dataSync()]);

describe("finding state", () => {
  it("names parameters by their path through fields, arrays and objects", () => {
    expect([...new Branching().namedParameters()].map(([path]) => path)).toEqual([
      "branches.0.weight",
      "branches.0.bias",
      "branches.1.weight",
      "branches.1.bias",
      "heads.mean.weight",
      "heads.mean.bias",
      "heads.scale.weight",
    ]);
  });

  it("counts other cells as state but not as parameters, and streams as neither weight", () => {
    const model = new Branching();
    expect(Object.keys(model.stateDict())).toContain("offset");
    expect(Object.keys(model.stateDict())).not.toContain("dropout.random");
    expect(model.cells()).toContain(model.dropout.random.cell);
    expect(model.parameters()).not.toContain(model.offset);
  });

  it("counts a shared parameter once", () => {
    expect(new Tied().parameterCount).toBe(12);
    expect(Object.keys(new Tied().stateDict())).toEqual(["first.weight", "first.bias"]);
  });

  it("holds no memory before init", () => {
    const model = new ResidualBlock(8, { timeDim: 4, dropout: 0.1 });
    expect(model.cells().some((cell) => cell.allocated)).toBe(false);
    scope(() => expect(() => model.norm1.forward(zeros([1, 2, 2, 8]))).toThrow(/init\(rng\)/));
  });
});

describe("init", () => {
  it("gives the same values for the same seed, and others for another", () => {
    const [a, b, c] = [seed, seed, seed + 1].map((s) => new Branching().init(rng(s))) as [
      Branching,
      Branching,
      Branching,
    ];
    const [first, second, third] = [a, b, c].map((model) => values(model.branches[1]?.weight as Cell));
    expect(second).toEqual(first);
    expect(third).not.toEqual(first);
    for (const model of [a, b, c]) model.dispose();
  });

  it("depends on a parameter's path alone, not on what else is there", () => {
    const alone = new Sequential(new Linear(3, 3)).init(rng(seed));
    const more = new Sequential(new Linear(3, 3), new Linear(3, 3)).init(rng(seed));
    expect(values(more.parameters()[0] as Cell)).toEqual(values(alone.parameters()[0] as Cell));
    expect(values(more.parameters()[2] as Cell)).not.toEqual(values(alone.parameters()[0] as Cell));
    alone.dispose();
    more.dispose();
  });

  it("seeds every dropout by its path", () => {
    const model = new Sequential(new Dropout(0.5), new Dropout(0.5)).init(rng(seed));
    const [first, second] = model.cells() as [Cell, Cell];
    expect(values(first)).not.toEqual(values(second));
    model.dispose();
  });

  const count = 20_000;
  it.each([
    ["kaimingUniform", initialisers.kaimingUniform(), Math.sqrt(2 / 100)],
    ["kaimingNormal", initialisers.kaimingNormal(), Math.sqrt(2 / 100)],
    ["xavierUniform", initialisers.xavierUniform(), Math.sqrt(2 / 300)],
    ["xavierNormal", initialisers.xavierNormal(), Math.sqrt(2 / 300)],
    ["normalInit", initialisers.normalInit(0.3), 0.3],
  ] as const)("%s has mean 0 and the variance of its formula", (_name, init, deviation) => {
    const random = rng(seed);
    const data = scope(() => [...init(random, [200, 100]).dataSync()]);
    const mean = data.reduce((sum: number, x) => sum + x, 0) / count;
    const variance = data.reduce((sum: number, x) => sum + (x - mean) ** 2, 0) / count;
    // Five standard errors.
    expect(Math.abs(mean)).toBeLessThan((5 * deviation) / Math.sqrt(count));
    expect(Math.abs(Math.sqrt(variance) / deviation - 1)).toBeLessThan(5 / Math.sqrt(count));
    random.dispose();
  });

  it("takes the fans of a convolution over its kernel", () => {
    expect(fansOf([8, 3, 3, 4])).toEqual({ fanIn: 36, fanOut: 72 });
    expect(() => fansOf([5])).toThrow(ShapeError);
  });
});

describe("state dicts", () => {
  it("load what another module saved", () => {
    const source = new Branching().init(rng(seed));
    const target = new Branching();
    scope(() => {
      target.loadStateDict(
        Object.fromEntries(Object.entries(source.stateDict()).map(([path, cell]) => [path, cell.value])),
      );
    });
    expect(target.parameters().map(values)).toEqual(source.parameters().map(values));
    source.dispose();
    target.dispose();
  });

  it("refuse others, listing missing, unexpected and mis-shaped entries, and change nothing", () => {
    const model = new Linear(2, 3).init(rng(seed));
    const before = values(model.weight);
    const error = scope(() => {
      try {
        model.loadStateDict({ weight: zeros([2, 3]), stray: zeros([1]) });
      } catch (thrown) {
        return thrown;
      }
      return null;
    });
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message).toMatch(/missing: bias/);
    expect((error as Error).message).toMatch(/unexpected: stray/);
    expect((error as Error).message).toMatch(/weight: expected f32 \[3, 2\], got f32 \[2, 3\]/);
    expect(values(model.weight)).toEqual(before);
    model.dispose();
  });
});

describe("clones", () => {
  it("share structure and values but no cells", () => {
    const model = new Branching().init(rng(seed));
    const clone = model.clone();
    expect(clone).toBeInstanceOf(Branching);
    expect(clone.structure).toBe(model.structure);
    expect(clone.cells().map(values)).toEqual(model.cells().map(values));
    expect(clone.cells().some((cell) => model.cells().includes(cell))).toBe(false);
    scope(() => clone.offset.set(zeros([4])));
    expect(values(model.offset)).toEqual([1, 2, 3, 4]);
    model.dispose();
    expect(values(clone.parameters()[0] as Cell)).toHaveLength(16);
    clone.dispose();
  });

  it("share within themselves what the original shares", () => {
    const clone = new Tied().clone();
    expect(clone.second).toBe(clone.first);
  });

  it("compute the same", () => {
    const model = new Branching().init(rng(seed)).eval();
    const clone = model.clone();
    const random = rng(seed);
    const [a, b] = scope(() => {
      const x = random.normal([5, 4]);
      return [[...model.forward(x).dataSync()], [...clone.forward(x).dataSync()]];
    });
    expect(b).toEqual(a);
    for (const owner of [model, clone, random]) owner.dispose();
  });
});

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

describe("paths", () => {
  it("tag operations, in errors and in explain()", () => {
    const model = new Sequential(new Linear(3, 4), silu, new Sequential(new Linear(4, 2))).init(rng(seed));
    const run = compile((x: Tensor) => model.forward(x), { name: "tagged" });
    scope(() => {
      run(tensor([[1, 2, 3]]));
      expect(run.explain()).toMatch(/stages\.2\.stages\.0/);
      expect(() => run(tensor([[1, 2]]))).toThrow(/Linear/);
    });
    run.dispose();
    model.dispose();
  });
});

/** Applies a function, as a module. */
class Lambda extends Module {
  readonly apply: (x: Tensor) => Tensor;
  constructor(apply: (x: Tensor) => Tensor) {
    super();
    this.apply = apply;
  }
  forward(x: Tensor): Tensor {
    return this.apply(x);
  }
}

describe("errors inside modules", () => {
  const nested = (inner: (x: Tensor) => Tensor): Sequential =>
    new Sequential(new Linear(3, 4), new Sequential(new Lambda(inner), new Linear(4, 2))).init(rng(seed));
  type Fn = (x: Tensor) => Tensor;

  it.each([
    ["run at once", (fn: Fn): Fn => fn],
    ["traced", (fn: Fn): Fn => compile(fn)],
  ])("name the innermost module when %s", (_, make) => {
    const net = nested((x) => x.reshape([5]));
    const run = make((x) => net.forward(x));
    scope(() => {
      expect(() => run(tensor([[1, 2, 3]]))).toThrow(/^stages\.1\.stages\.0: reshape: /);
      expect(() => run(tensor([[1, 2]]))).toThrow(/^stages\.0: /);
    });
    net.dispose();
  });

  it("stay typed, and say it once", () => {
    const net = nested((x) => x.reshape([5]));
    const error = scope(() => {
      try {
        net.forward(tensor([[1, 2, 3]]));
      } catch (thrown) {
        return thrown as Error;
      }
    });
    expect(error).toBeInstanceOf(ShapeError);
    expect(error?.message.match(/stages\.0/g)).toHaveLength(1);
    expect(error?.stack).toContain(error?.message);
    net.dispose();
  });

  it("lead to the caller where the work failed in the queue, however deep the modules that queued it", () => {
    const nested = (depth: number): Layer => (depth === 0 ? new Embedding(4, 3) : new Sequential(nested(depth - 1)));
    const model = (nested(6) as Sequential).init(rng(seed));
    const frame = /module\.test/;
    function callerOfTheModel(indices: Tensor): Tensor {
      return model.forward(indices);
    }
    const compiled = compile(callerOfTheModel);
    scope(() => {
      const outside = tensor(Int32Array.of(1, 9));
      for (const f of [callerOfTheModel, compiled]) {
        let error: Error | undefined;
        try {
          f(outside).dataSync();
        } catch (caught) {
          error = caught as Error;
        }
        expect(error).toMatchObject({ code: "ERR_FIGMENT_INDEX" });
        expect(error?.stack).toMatch(f === compiled ? frame : /callerOfTheModel/);
      }
    });
    compiled.dispose();
    model.dispose();
  });

  it("name the module whose derivative fails", () => {
    const wrong = customVjp(
      (x: Tensor) => x.mul(2),
      (_, __, cotangent) => [cotangent.reshape([99])],
    );
    const net = nested(wrong);
    scope(() => {
      const loss = (x: Tensor): Tensor => net.forward(x).sum();
      expect(() => grad(loss)(tensor([[1, 2, 3]]))).toThrow(/^stages\.1\.stages\.0: reshape: /);
    });
    net.dispose();
  });
});

describe("summary", () => {
  it("lists shapes, parameters and FLOPs, and leaves the modes as they were", () => {
    const model = new Sequential(new Conv2d(3, 8, 3, { padding: 1 }), new Dropout(0.5), new GroupNorm(2, 8)).init(
      rng(seed),
    );
    (model.stages[1] as Dropout).eval();
    const result = scope(() => summary(model, zeros([2, 5, 5, 3])));
    expect(result.parameters).toBe(8 * 27 + 8 + 16);
    expect(result.flops).toBe(2 * (2 * 5 * 5) * 8 * 27);
    expect(result.rows.map(({ path, type }) => `${path} ${type}`)).toEqual([
      " Sequential",
      "stages.0 Conv2d",
      "stages.1 Dropout",
      "stages.2 GroupNorm",
    ]);
    expect(result.rows[1]?.output).toEqual([2, 5, 5, 8]);
    expect(String(result)).toMatch(/stages\.0 +Conv2d +\[2, 5, 5, 8\] +224 +21,600/);
    expect(model.training).toBe(true);
    expect((model.stages[1] as Dropout).training).toBe(false);
    model.dispose();
  });
});
