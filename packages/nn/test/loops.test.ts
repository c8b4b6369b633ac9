// Training inside loops and with captured state: what optimisers, averages and their modules promise of compiled functions.

import { Adam, AdamW, EMA, Linear, Module, mse } from "@figment/nn";
import { assertNoLeaks, type Cell, compile, repeat, rng, scope, type Tensor } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

const seed = 19;
console.log(`loops: seed ${seed}`);
afterAll(() => assertNoLeaks());

const list = (cell: Cell): number[] => scope(() => [...(cell.value.dataSync() as Float32Array)]);
const weights = (module: Module): number[][] => module.cells().map(list);

/** Two nets, each with an optimiser and both with one average, the same at each call. */
class Nets extends Module {
  readonly first = new Linear(3, 4);
  readonly second = new Linear(4, 2);
}

interface World {
  readonly nets: Nets;
  readonly a: Adam;
  readonly b: AdamW;
  readonly ema: EMA<Nets>;
}

function withWorld<T>(fn: (world: World, x: Tensor, y: Tensor) => T): { result: T; cells: number[][] } {
  const random = rng(seed);
  const nets = new Nets().init(random);
  const world = { nets, a: new Adam(nets.first), b: new AdamW(nets.second, { lr: 0.01 }), ema: new EMA(nets) };
  const [x, y] = [random.normal([5, 6, 3]), random.normal([5, 6, 2])];
  try {
    const result = fn(world, x, y);
    const state = [world.a, world.b, world.ema].flatMap((owner) => Object.values(owner.captureState().cells));
    return { result, cells: [...weights(nets), ...state.map(list)] };
  } finally {
    for (const item of [x, y, random, nets, world.a, world.b, world.ema]) item.dispose();
  }
}

describe("training in a compiled loop", () => {
  const iteration = ({ nets, a, b, ema }: World, x: Tensor, y: Tensor): void => {
    const loss = (): Tensor => mse(nets.second.forward(nets.first.forward(x).tanh()), y);
    a.minimize(loss);
    b.minimize(loss, { clipNorm: 0.5 });
    ema.update();
  };
  const compiledBy = (loop: (world: World, x: Tensor, y: Tensor) => void) => (world: World, x: Tensor, y: Tensor) => {
    const step = compile((xs: Tensor, ys: Tensor) => loop(world, xs, ys));
    step(x, y);
    step(x, y);
    step.dispose();
  };
  const looped = (world: World, x: Tensor, y: Tensor): void => repeat(5, (i) => iteration(world, x.at(i), y.at(i)));

  it("equals the loop written out, bit for bit: several optimisers and an average", () => {
    const unrolled = withWorld(
      compiledBy((world, x, y) => {
        for (let i = 0; i < 5; i++) iteration(world, x.at(i), y.at(i));
      }),
    );
    expect(withWorld(compiledBy(looped)).cells).toEqual(unrolled.cells);
  });

  it("equals eager execution", () => {
    const eager = withWorld((world, x, y) => {
      for (let k = 0; k < 2; k++) looped(world, x, y);
    });
    withWorld(compiledBy(looped)).cells.forEach((values, i) => {
      values.forEach((value, k) => {
        expect(value).toBeCloseTo(eager.cells[i]?.[k] as number, 5);
      });
    });
  });

  it("goes on where an optimiser worked before, and one works after", () => {
    const around = (body: (world: World, x: Tensor, y: Tensor) => void) => (world: World, x: Tensor, y: Tensor) => {
      const loss = (): Tensor => mse(world.nets.second.forward(world.nets.first.forward(x.at(0))), y.at(0));
      world.a.minimize(loss);
      body(world, x, y);
      world.a.minimize(loss);
      world.ema.update();
    };
    const unrolled = around((world, x, y) => {
      for (let i = 0; i < 5; i++) iteration(world, x.at(i), y.at(i));
    });
    expect(withWorld(compiledBy(around(looped))).cells).toEqual(withWorld(compiledBy(unrolled)).cells);
  });

  it("updates parameters in place: the arena holds no second copy of them", () => {
    const random = rng(seed);
    const big = new Linear(256, 256).init(random);
    const adam = new Adam(big);
    const step = compile((x: Tensor) => repeat(3, (i) => adam.minimize(() => big.forward(x.at(i)).square().mean())));
    const x = random.normal([3, 1, 256]);
    step(x);
    const arena = Number(step.explain().match(/arena ([\d.]+) kB/)?.[1]);
    // The gradient alone, and the activations.
    expect(arena).toBeLessThan((256 * 257 * 4 * 1.1) / 1000);
    for (const item of [x, step, adam, big, random]) item.dispose();
  });
});

describe("an optimiser or average that a compiled function captures", () => {
  const scenario = (compiled: boolean): number[][] => {
    const random = rng(seed);
    const model = new Linear(2, 1).init(random);
    const twin = model.clone();
    const [adam, ema] = [new Adam(model, { lr: 0.1 }), new EMA(model)];
    const x = random.normal([4, 2]);
    const train = (net: Linear, input: Tensor): void => {
      scope(() => {
        adam.minimize(() => net.forward(input).square().mean());
      });
      ema.update();
    };
    const step = compile(train);
    for (const net of [model, twin, model]) (compiled ? step : train)(net, x);
    const cells = [model, twin, ema.model].flatMap(weights);
    expect(weights(twin)).not.toEqual(weights(model));
    for (const item of [x, step, adam, ema, model, twin, random]) item.dispose();
    return cells;
  };

  it("keeps to the module it was made for when a clone is given in its place, as eager execution does", () => {
    const [compiled, eager] = [scenario(true), scenario(false)];
    compiled.forEach((values, i) => {
      values.forEach((value, k) => {
        expect(value).toBeCloseTo(eager[i]?.[k] as number, 5);
      });
    });
  });
});
