// Compiled steps of several models, and updates by the mean gradient of several small batches.

import { Adam, AdamW, compileStep, compileTraining, EMA, Linear, mse, Sequential } from "@figment/nn";
import {
  assertNoLeaks,
  NonFiniteError,
  type Rng,
  repeat,
  rng,
  ShapeError,
  type Stateful,
  type StateToRestore,
  scope,
  silu,
  type Tensor,
  tensor,
  UsageError,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

const seed = 23;
console.log(`training steps: seed ${seed}`);
afterAll(() => assertNoLeaks());

const makeNet = (random: Rng): Sequential => new Sequential(new Linear(2, 8), silu, new Linear(8, 1)).init(random);

const numbersOf = (thing: Stateful): number[][] =>
  scope(() => Object.values(thing.captureState().cells).map((cell) => [...cell.value.dataSync()].map(Number)));

/** Two nets that alternate, as generators and critics do. */
function alternating(checkFinite: boolean | "gradients" = false) {
  const random = rng(seed);
  const [a, b] = [makeNet(random.fork("a")), makeNet(random.fork("b"))];
  const [optA, optB] = [new AdamW(a, { lr: 1e-2 }), new Adam(b, { lr: 1e-3 })];
  const average = new EMA(b, { decay: 0.9 });
  const update = ({ x }: { x: Tensor }) => {
    repeat(3, (i) =>
      optA.minimize(() =>
        a
          .forward(x.at(i))
          .sub(b.forward(x.at(i)))
          .square()
          .mean(),
      ),
    );
    const loss = optB.minimize(() =>
      b
        .forward(random.normal([4, 2]))
        .sub(1)
        .square()
        .mean(),
    );
    average.update();
    return { loss, size: a.forward(x.at(0)).square().mean() };
  };
  const step = compileTraining({ a, b, optA, optB, average, random }, update, { checkFinite });
  const owners = [step, a, b, optA, optB, average, random];
  const dispose = (): void => {
    for (const owner of owners) owner.dispose();
  };
  return { a, b, step, dispose };
}

const batchOf = (k: number): { x: Tensor } => {
  const random = rng(100 + k);
  const x = random.normal([3, 4, 2]);
  random.dispose();
  return { x };
};

const take = (step: ReturnType<typeof alternating>["step"], k: number): number[] => {
  const { x } = batchOf(k);
  const { loss, size } = step({ x });
  x.dispose();
  return [loss.itemSync(), size.itemSync()];
};

describe("compileTraining", () => {
  it("makes alternating updates of several models one program that counts and is traced once", () => {
    const world = alternating();
    const first = take(world.step, 0);
    for (let k = 1; k < 30; k++) take(world.step, k);
    expect(take(world.step, 30)[0]).toBeLessThan(first[0] as number);
    expect(world.step.count).toBe(31);
    expect(world.step.stats.traces).toBe(1);
    expect(world.step.explain()).toContain("repeat");
    world.dispose();
  });

  it("resumes bit for bit from the states of its parts", () => {
    const whole = alternating();
    for (let k = 0; k < 4; k++) take(whole.step, k);
    const { cells, json } = whole.step.captureState();
    const saved: StateToRestore = {
      tensors: Object.fromEntries(Object.entries(cells).map(([path, cell]) => [path, cell.value])),
      json: JSON.parse(JSON.stringify(json)),
    };
    const again = alternating();
    again.step.restoreState(saved);
    for (const value of Object.values(saved.tensors)) value.dispose();
    expect(again.step.count).toBe(4);
    for (let k = 4; k < 7; k++) expect(take(again.step, k)).toEqual(take(whole.step, k));
    expect(numbersOf(again.step)).toEqual(numbersOf(whole.step));
    whole.dispose();
    again.dispose();
  });

  it("names by the part what is not finite: a parameter, and a gradient without being asked twice", () => {
    const watched = alternating(true);
    take(watched.step, 0);
    watched.b.parameters()[0]?.setData(new Array(16).fill(Number.NaN));
    expect(() => take(watched.step, 1)).toThrow(
      /the parameter b\.stages\.0\.weight is not finite: element 0 of 16 is NaN/,
    );
    expect(watched.step.count).toBe(1);
    watched.dispose();

    const random = rng(seed);
    const [net, other] = [makeNet(random), makeNet(random)];
    const optimizer = new AdamW(net);
    const step = compileTraining(
      { net, other, optimizer },
      ({ x }: { x: Tensor }) => ({ loss: optimizer.minimize(() => net.forward(x).mul(0).abs().sqrt().mean()) }),
      { checkFinite: "gradients" },
    );
    using x = tensor([[1, 2]]);
    const before = numbersOf(net);
    expect(() => step({ x }).loss.itemSync()).toThrow(/the gradient of net\.stages\.0\.weight/);
    expect(numbersOf(net)).toEqual(before);
    for (const owner of [step, optimizer, net, other, random]) owner.dispose();
  });

  it("watches inside loops too", () => {
    const watched = alternating(true);
    const { x } = batchOf(0);
    using bad = x.mul(1e30);
    x.dispose();
    expect(() => watched.step({ x: bad }).loss.itemSync()).toThrow(NonFiniteError);
    watched.dispose();
  });
});

describe("results of a step", () => {
  it.each([
    [(): unknown => undefined, /expected the update's results by name, got undefined/],
    [(): unknown => ({ loss: undefined }), /expected a tensor for the result "loss", got undefined/],
    [(x: Tensor): unknown => ({ loss: x }), /the result "loss" must be 0-d, got \[2\]/],
  ])("that are no 0-d tensors by name are refused when the step is traced: %s", (update, message) => {
    const step = compileTraining({}, ({ x }: { x: Tensor }) => update(x) as { loss: Tensor });
    const x = tensor([1, 2]);
    expect(() => step({ x })).toThrow(message);
    step.dispose();
    x.dispose();
  });
});

describe("accumulation", () => {
  const loss = (net: Sequential, { x, y }: { x: Tensor; y: Tensor }): Tensor => mse(net.forward(x), y);

  /** Losses and weights after a few updates by batches of 24 points, at once or in four parts. */
  const trained = (accumulate: number | undefined, options: { clipNorm?: number; checkFinite?: boolean } = {}) => {
    const random = rng(seed);
    const net = makeNet(random);
    const optimizer = new AdamW(net, { lr: 1e-2 });
    const step = compileStep(net, optimizer, loss, { ...options, accumulate, ema: 0.9 });
    const lead = accumulate === undefined ? [24] : [accumulate, 24 / accumulate];
    const losses = Array.from({ length: 6 }, () =>
      scope(() => {
        const x = random.normal([24, 2]);
        const y = x.slice([0, 0], [24, 1]).mul(x.slice([0, 1], [24, 1]));
        return step({ x: x.reshape([...lead, 2]), y: y.reshape([...lead, 1]) }).loss.itemSync();
      }),
    );
    const cells = [losses, ...numbersOf(step)];
    const text = step.explain();
    for (const owner of [step, optimizer, net, random]) owner.dispose();
    return { cells, text };
  };

  it.each([{}, { clipNorm: 0.05 }, { checkFinite: true }])("equals one big batch within rounding: %o", (options) => {
    const whole = trained(undefined, options).cells;
    for (const parts of [1, 4, 24]) {
      trained(parts, options).cells.forEach((values, i) => {
        values.forEach((value, k) => {
          expect(value).toBeCloseTo(whole[i]?.[k] as number, 5);
        });
      });
    }
  });

  it("is one loop of the program, however many parts there are", () => {
    const size = (text: string): number => text.split("\n").length;
    expect(trained(12).text).toContain("repeat");
    expect(size(trained(12).text)).toBe(size(trained(4).text));
  });

  it("takes the mean of what a loss gives for each number, outside compiled functions too", () => {
    const net = new Linear(1, 1).init(rng(seed));
    const optimizer = new AdamW(net, { lr: 0 });
    using xs = tensor([[[1]], [[2]], [[6]]]);
    using value = optimizer.minimize((i) => net.forward(xs.at(i)).sum(), { accumulate: 3 });
    const expected = scope(() => net.forward(tensor([[3]])).itemSync());
    expect(value.itemSync()).toBeCloseTo(expected, 5);
    for (const owner of [optimizer, net]) owner.dispose();
  });

  it("refuses what is no count, and batches that are stacked otherwise", () => {
    const net = makeNet(rng(seed));
    const optimizer = new AdamW(net);
    expect(() => compileStep(net, optimizer, loss, { accumulate: 0 })).toThrow(UsageError);
    expect(() => optimizer.minimize(() => net.forward(x).mean(), { accumulate: 1.5 })).toThrow(UsageError);
    const step = compileStep(net, optimizer, loss, { accumulate: 2 });
    using x = tensor([[[1, 2]]]);
    using y = tensor([[[1]]]);
    expect(() => step({ x, y })).toThrow(ShapeError);
    expect(() => step({ x, y })).toThrow("the batch's x must be [2, N, …], got [1, 1, 2]");
    for (const owner of [step, optimizer, net]) owner.dispose();
  });
});
