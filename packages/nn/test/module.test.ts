// Modules: how state is found, named, drawn, saved, cloned and shared, and summed up.

import * as initialisers from "@figment/nn";
import { Conv2d, Dropout, fansOf, GroupNorm, Linear, Module, ResidualBlock, Sequential, summary } from "@figment/nn";
import { assertNoLeaks, Cell, CheckpointError, rng, ShapeError, scope, type Tensor, zeros } from "@figment/tensor";
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
