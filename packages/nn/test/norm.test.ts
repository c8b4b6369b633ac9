// Normalising layers: running statistics in compiled steps, modes, spectral norms.

import {
  BatchNorm,
  BufferCell,
  Conv2d,
  compileStep,
  EMA,
  InstanceNorm,
  LayerNorm,
  Linear,
  Module,
  mse,
  normalInit,
  Parameter,
  RMSNorm,
  Sequential,
  SGD,
  SpectralNorm,
  spectralNorm,
  type WeightedLayer,
  zeroInit,
} from "@figment/nn";
import {
  assertNoLeaks,
  type Cell,
  compile,
  grad,
  leakyRelu,
  matmul,
  relu,
  remat,
  repeat,
  rng,
  ShapeError,
  scope,
  sum,
  type Tensor,
  tanh,
  tensor,
  UsageError,
  valueAndGrad,
  zeros,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

const seed = 29;
console.log(`norm tests: seed ${seed}`);
const weights = rng(seed);
afterAll(() => {
  weights.dispose();
  assertNoLeaks();
});

const values = (cell: Cell | null): number[] => scope(() => [...(cell as Cell).value.dataSync()]);

/** Normal numbers, the same at each call; the caller's own. */
function normal(shape: readonly number[]): Tensor {
  const random = rng(seed);
  try {
    return random.normal(shape);
  } finally {
    random.dispose();
  }
}

/** Largest difference of two lists of equal length. */
function distance(a: readonly number[], b: readonly number[]): number {
  expect(a.length).toBe(b.length);
  return Math.max(...a.map((x, i) => Math.abs(x - (b[i] as number))));
}

describe("BatchNorm", () => {
  const network = (activation: (x: Tensor) => Tensor): Sequential =>
    new Sequential(new Linear(3, 4), new BatchNorm(4), activation, new BatchNorm(4, { momentum: 0.5 })).init(rng(seed));

  it.each([
    ["tanh", tanh],
    ["relu", relu],
    ["leakyRelu", (x: Tensor) => leakyRelu(x, 0.2)],
  ] as const)("trains the same in a compiled step as eagerly, running statistics included: %s", (_name, activation) => {
    const [eager, compiled] = [network(activation), network(activation)];
    const optimizers = [new SGD(eager, { lr: 0.1 }), new SGD(compiled, { lr: 0.1 })] as const;
    const loss = (net: Sequential, { x, y }: { x: Tensor; y: Tensor }): Tensor => mse(net.forward(x), y);
    const step = compileStep(compiled, optimizers[1], loss);
    const random = rng(seed);
    scope(() => {
      for (let i = 0; i < 3; i++) {
        const batch = { x: random.normal([8, 3]), y: random.normal([8, 4]) };
        optimizers[0].minimize(() => loss(eager, batch));
        step(batch);
      }
    });
    const state = eager.stateDict();
    for (const [path, cell] of Object.entries(compiled.stateDict()))
      expect(distance(values(cell), values(state[path] as Cell)), path).toBeLessThan(1e-6);
    for (const owner of [step, ...optimizers, eager, compiled, random]) owner.dispose();
  });

  it("moves its statistics at every call of one compiled step", () => {
    const layer = new BatchNorm(1, { momentum: 0.5 }).init(weights);
    const run = compile((a: Tensor, b: Tensor) => layer.forward(a).add(layer.forward(b)));
    scope(() => void run(tensor([[1], [3]]), tensor([[6], [10]])));
    expect(values(layer.runningMean)).toEqual([(0 + 2) / 4 + 8 / 2]);
    // Unbiased variances 2 and 8.
    expect(values(layer.runningVar)).toEqual([(1 + 2) / 4 + 8 / 2]);
    for (const owner of [run, layer]) owner.dispose();
  });

  it("moves its statistics once under rematerialisation", () => {
    const layer = new BatchNorm(1, { momentum: 0.5 }).init(weights);
    const slope = compile((x: Tensor) =>
      grad((y: Tensor) => remat((z: Tensor) => layer.forward(z).square())(y).sum())(x),
    );
    scope(() => void slope(tensor([[1], [3]])));
    expect(values(layer.runningMean)).toEqual([1]);
    for (const owner of [slope, layer]) owner.dispose();
  });

  it("moves its statistics once under rematerialisation without compiling, and has the same derivatives", () => {
    const layer = new BatchNorm(1, { momentum: 0.5 }).init(weights);
    const slopeOf = (f: (z: Tensor) => Tensor): number[] =>
      scope(() => {
        const x = tensor([[1], [3], [8]]);
        const run = grad((y: Tensor) =>
          grad((z: Tensor) => sum(f(z).mul(z)))(y)
            .square()
            .sum(),
        );
        return [...(run(x).dataSync() as Float32Array)];
      });
    const forward = (z: Tensor): Tensor => layer.forward(z).square();
    const again = slopeOf(remat(forward));
    expect(values(layer.runningMean)).toEqual([2]);
    expect(values(layer.runningVar)).toEqual([(1 + 13) / 2]);
    slopeOf(forward).forEach((slope, i) => {
      expect(again[i]).toBeCloseTo(slope, 5);
    });
    layer.dispose();
  });

  it("is traced once for training and once for evaluation", () => {
    const layer = new BatchNorm(2).init(weights);
    const run = compile((x: Tensor) => layer.forward(x));
    scope(() => {
      const x = tensor([
        [1, 2],
        [3, 5],
      ]);
      for (const training of [true, true, false, false, true, false]) {
        layer.train(training);
        const mean = run(x).mean().itemSync();
        if (training) expect(mean).toBeCloseTo(0, 5);
        else expect(mean).toBeGreaterThan(0.5);
      }
    });
    expect(run.stats.traces).toBe(2);
    for (const owner of [run, layer]) owner.dispose();
  });

  it("gives its statistics no derivative", () => {
    const layer = new BatchNorm(2).init(weights);
    scope(() => {
      const x = normal([5, 2]);
      const { grads } = valueAndGrad(() => layer.forward(x).square().sum(), { wrt: layer })();
      expect([...grads.get(layer.runningMean as Cell).dataSync()]).toEqual([0, 0]);
    });
    layer.dispose();
  });

  it("saves its statistics with its weights, and an average of it evaluates with averaged ones", () => {
    const layer = new BatchNorm(1, { momentum: 0.5 }).init(weights);
    expect(Object.keys(layer.stateDict())).toEqual(["weight", "bias", "runningMean", "runningVar"]);
    const ema = new EMA(layer, { decay: 0.5, warmup: false });
    scope(() => {
      layer.forward(tensor([[1], [3]]));
      ema.update();
      expect(values(ema.model.runningMean)).toEqual([0.5]);
      const [low, high] = ema.model.forward(tensor([[0.5], [1.5]])).dataSync();
      expect(low).toBeCloseTo(0, 6);
      expect(high).toBeCloseTo(1 / Math.sqrt(1.25 + 1e-5), 5);
      expect(values(ema.model.runningMean)).toEqual([0.5]);
    });
    for (const owner of [ema, layer]) owner.dispose();
  });

  it("starts anew when initialised again", () => {
    const layer = new BatchNorm(1).init(weights);
    scope(() => void layer.forward(tensor([[1], [3]])));
    layer.init(weights);
    expect([values(layer.runningMean), values(layer.runningVar)]).toEqual([[0], [1]]);
    layer.dispose();
  });

  it("uses the batch's statistics in evaluation too when it tracks none", () => {
    const layer = new BatchNorm(1, { trackRunningStats: false, affine: false }).eval();
    expect(layer.cells()).toEqual([]);
    scope(() =>
      expect(
        layer
          .forward(tensor([[1], [3]]))
          .mean()
          .itemSync(),
      ).toBeCloseTo(0, 6),
    );
  });

  it("refuses to train on one value a channel, and momenta out of range", () => {
    const layer = new BatchNorm(2).init(weights);
    scope(() => expect(() => layer.forward(zeros([1, 2]))).toThrow(ShapeError));
    expect(values(layer.runningMean)).toEqual([0, 0]);
    scope(() =>
      expect([
        ...layer
          .eval()
          .forward(zeros([1, 2]))
          .dataSync(),
      ]).toEqual([0, 0]),
    );
    expect(() => new BatchNorm(2, { momentum: 1.5 })).toThrow(UsageError);
    layer.dispose();
  });
});

describe("running statistics and power iterations", () => {
  it("move in a loop inside a compiled step as they do eagerly", () => {
    const make = (): Sequential => new Sequential(new SpectralNorm(new Linear(3, 4)), new BatchNorm(4)).init(weights);
    const [eager, looped] = [make(), make()];
    const optimizers = [
      new SGD(eager, { lr: 0.1, momentum: 0.9 }),
      new SGD(looped, { lr: 0.1, momentum: 0.9 }),
    ] as const;
    const step = compile((xs: Tensor, ys: Tensor) =>
      repeat(3, (i) => optimizers[1].minimize(() => mse(looped.forward(xs.at(i)), ys.at(i)))),
    );
    scope(() => {
      const [xs, ys] = [normal([3, 8, 3]), normal([3, 8, 4])];
      for (let i = 0; i < 3; i++) optimizers[0].minimize(() => mse(eager.forward(xs.at(i)), ys.at(i)));
      step(xs, ys);
    });
    const state = eager.stateDict();
    for (const [path, cell] of Object.entries(looped.stateDict()))
      expect(distance(values(cell), values(state[path] as Cell)), path).toBeLessThan(1e-5);
    for (const owner of [step, ...optimizers, eager, looped]) owner.dispose();
  });
});

describe("LayerNorm, RMSNorm and InstanceNorm", () => {
  it.each([
    ["LayerNorm", new LayerNorm(3, { affine: false })],
    ["RMSNorm", new RMSNorm(3, { affine: false })],
    ["InstanceNorm", new InstanceNorm(3)],
  ])("%s without scale and shift has no parameters", (_name, layer) => {
    expect(layer.cells()).toEqual([]);
    scope(() => {
      const y = layer.forward(normal([2, 50, 3]));
      expect(y.square().mean().itemSync()).toBeCloseTo(1, 3);
    });
  });

  it("LayerNorm may scale without shifting", () => {
    expect(Object.keys(new LayerNorm(3, { bias: false }).stateDict())).toEqual(["weight"]);
  });
});

describe("SpectralNorm", () => {
  /** The largest singular value of a matrix given by rows, from many power iterations in double precision. */
  function largestSingularValue(matrix: readonly number[], rows: number): number {
    const columns = matrix.length / rows;
    const at = (r: number, c: number): number => matrix[r * columns + c] as number;
    let v = Array.from({ length: columns }, (_, c) => 1 + c / columns);
    let size = 0;
    for (let i = 0; i < 5000; i++) {
      const u = Array.from({ length: rows }, (_, r) => v.reduce((sum, x, c) => sum + at(r, c) * x, 0));
      const w = Array.from({ length: columns }, (_, c) => u.reduce((sum, x, r) => sum + at(r, c) * x, 0));
      size = Math.hypot(...w);
      v = w.map((x) => x / size);
    }
    return Math.sqrt(size);
  }

  const layers: readonly (readonly [string, () => WeightedLayer, readonly number[]])[] = [
    ["Linear", () => new Linear(6, 5, { bias: false }), [1, 6]],
    ["Conv2d", () => new Conv2d(2, 4, 3, { bias: false }), [1, 3, 3, 2]],
  ];

  it.each(layers)("finds the largest singular value of a %s, by which it divides the weight", (_name, make, shape) => {
    const module = new SpectralNorm(make()).init(weights);
    const largest = largestSingularValue(values(module.layer.weight), module.layer.weight.shape[0] as number);
    const call = compile((x: Tensor) => module.forward(x));
    scope(() => {
      const x = normal(shape);
      const plain = module.layer.forward(x).dataSync();
      const ratio = (): number => (plain[0] as number) / (call(x).dataSync()[0] as number);
      const first = Math.abs(ratio() - largest);
      for (let i = 0; i < 200; i++) call(x);
      expect(Math.abs(ratio() - largest)).toBeLessThan(1e-5 * largest);
      expect(first).toBeGreaterThan(1e-3 * largest);
    });
    expect(call.stats.traces).toBe(1);
    for (const owner of [call, module]) owner.dispose();
  });

  it("moves its vectors in training only, and is traced once for each mode", () => {
    const module = spectralNorm(new Linear(4, 3)).init(weights);
    const run = compile((x: Tensor) => module.forward(x));
    scope(() => {
      const x = normal([2, 4]);
      const start = values(module.u);
      run(x);
      const moved = values(module.u);
      expect(moved).not.toEqual(start);
      module.eval();
      run(x);
      run(x);
      expect(values(module.u)).toEqual(moved);
      module.train();
      run(x);
      expect(values(module.u)).not.toEqual(moved);
    });
    expect(run.stats.traces).toBe(2);
    for (const owner of [run, module]) owner.dispose();
  });

  it("normalises a layer that loops inside itself", () => {
    class Looping extends Module {
      readonly weight = new Parameter({ shape: [2, 2], init: normalInit(1) });
      readonly total = new BufferCell({ shape: [1, 2], init: zeroInit });
      forward(x: Tensor): Tensor {
        this.total.set(x.mul(0));
        repeat(3, () => this.total.set(this.total.value.add(matmul(x, this.weight.value, { transposeB: true }))));
        return this.total.value;
      }
    }
    const module = new SpectralNorm(new Looping()).init(weights).eval();
    const once = new SpectralNorm(new Linear(2, 2, { bias: false })).eval();
    for (const [to, from] of [
      [once.layer.weight, module.layer.weight],
      [once.u, module.u],
      [once.v, module.v],
    ] as const)
      scope(() => to.set(from.value));
    const compiled = compile((x: Tensor) => module.forward(x));
    scope(() => {
      const x = tensor([[1, -2]]);
      const wanted = once.forward(x).mul(3);
      for (const y of [module.forward(x), compiled(x)])
        expect(distance([...y.dataSync()], [...wanted.dataSync()])).toBeLessThan(1e-6);
    });
    compiled.dispose();
    module.dispose();
    once.dispose();
  });

  it("does not change when its weight is scaled", () => {
    const module = new SpectralNorm(new Linear(4, 3, { bias: false })).init(weights);
    scope(() => {
      const x = normal([2, 4]);
      for (let i = 0; i < 10; i++) module.forward(x);
      module.eval();
      const before = [...module.forward(x).dataSync()];
      module.layer.weight.set(module.layer.weight.value.mul(7));
      expect(distance([...module.forward(x).dataSync()], before)).toBeLessThan(1e-5);
    });
    module.dispose();
  });

  it("evaluates with averaged vectors as with vectors of length one", () => {
    const module = new SpectralNorm(new Linear(4, 3, { bias: false })).init(weights);
    scope(() => {
      const x = normal([2, 4]);
      const before = [...module.eval().forward(x).dataSync()];
      module.u.set(module.u.value.mul(0.5));
      module.v.set(module.v.value.mul(0.25));
      expect(distance([...module.forward(x).dataSync()], before)).toBeLessThan(1e-5);
    });
    module.dispose();
  });

  it("takes any axis for the rows", () => {
    const [first, last] = [0, 1].map((axis) => new SpectralNorm(new Linear(4, 3), { axis }).init(weights));
    expect([first?.u.shape, last?.u.shape]).toEqual([[3], [4]]);
    scope(() => {
      const x = normal([2, 4]);
      const [a, b] = [first, last].map((module) => {
        for (let i = 0; i < 100; i++) module?.forward(x);
        return [...((module as SpectralNorm<Linear>).forward(x).dataSync() as Float32Array)];
      });
      expect(distance(a as number[], b as number[])).toBeLessThan(1e-5);
    });
    for (const module of [first, last]) module?.dispose();
  });

  it("saves the vectors beside the layer's weights", () => {
    const module = new SpectralNorm(new Linear(4, 3));
    expect(Object.keys(module.stateDict())).toEqual(["u", "v", "layer.weight", "layer.bias"]);
    expect(module.parameters()).toHaveLength(2);
  });

  it("refuses weights that are no matrices", () => {
    expect(() => new SpectralNorm(new Linear(4, 3), { axis: 2 })).toThrow(UsageError);
    expect(() => new SpectralNorm(new Linear(4, 3), { powerIterations: 0 })).toThrow(UsageError);
  });
});
