// Precision "f16": factors of products rounded to f16, and the loss scaled so that gradients survive that.

import {
  Adam,
  AdamW,
  compileStep,
  compileTraining,
  Linear,
  type MinimizeOptions,
  mse,
  Sequential,
  SGD,
} from "@figment/nn";
import {
  assertNoLeaks,
  compile,
  mean,
  NonFiniteError,
  ones,
  repeat,
  rng,
  type Stateful,
  type StateToRestore,
  scope,
  silu,
  sum,
  type Tensor,
  tensor,
  UsageError,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

afterAll(() => assertNoLeaks());

const precision = "f16";
const numbers = (x: Tensor): number[] => [...x.dataSync()];

interface Run {
  readonly model: Sequential;
  readonly optimizer: Adam;
  /** An update whose loss has a factor, which makes gradients as small or as large as one likes. */
  update(factor?: number): number;
  /** Every weight and state. */
  everything(): number[];
  dispose(): void;
}

function start(options: MinimizeOptions = {}, at: "f16" | "highest" = precision): Run {
  const random = rng(11);
  const data = rng(12);
  const model = new Sequential(new Linear(3, 8), silu, new Linear(8, 1)).init(random);
  const optimizer = new Adam(model, { lr: 1e-2 });
  const { accumulate } = options;
  const step = compileTraining(
    { model, optimizer },
    ({ x, y, factor }: { x: Tensor; y: Tensor; factor: Tensor }) => {
      const lossOf = (i: Tensor): Tensor => {
        const [own, want] = [x, y].map((all) => (accumulate ? all.at(i) : all)) as [Tensor, Tensor];
        return mse(model.forward(own), want).mul(factor);
      };
      return { loss: optimizer.minimize(lossOf, options) };
    },
    { precision: at },
  );
  return {
    model,
    optimizer,
    update: (factor = 1) =>
      scope(() => {
        const x = data.normal(accumulate ? [accumulate, 16, 3] : [16, 3]);
        const y = x.mul(0.5).sum([-1], { keepDims: true });
        return step({ x, y, factor: tensor(factor) }).loss.itemSync();
      }),
    everything: () =>
      scope(() =>
        [step.captureState().cells]
          .flatMap((cells) => Object.entries(cells))
          .filter(([name]) => !/lossScale|finiteSteps/.test(name))
          .flatMap(([, cell]) => numbers(cell.value)),
      ),
    dispose: () => {
      for (const owner of [step, optimizer, model, random, data]) owner.dispose();
    },
  };
}

const scaleOf = ({ optimizer }: Run): number => scope(() => optimizer.lossScale?.value.itemSync() ?? Number.NaN);
const stepsOf = ({ optimizer }: Run): number => scope(() => optimizer.step.value.itemSync());

describe("an optimiser at precision f16", () => {
  it("learns as at the highest precision, from the loss as it is", () => {
    const [half, exact] = [start(), start({}, "highest")];
    const losses = Array.from({ length: 120 }, () => [half.update(), exact.update()] as const);
    for (const [a, b] of losses.slice(0, 5)) expect(Math.abs(a - b)).toBeLessThan(2e-3 * b);
    const last = losses.slice(-20).map(([a]) => a);
    expect(Math.max(...last)).toBeLessThan(0.2 * (losses[0]?.[0] as number));
    expect(scaleOf(half)).toBe(2 ** 16);
    expect(exact.optimizer.lossScale).toBeUndefined();
    half.dispose();
    exact.dispose();
  });

  it("gives the same bits at any scale at which no gradient is lost or infinite", () => {
    const [low, high] = [start({ lossScale: { initial: 2 ** 8 } }), start({ lossScale: { initial: 2 ** 12 } })];
    for (let i = 0; i < 5; i++) expect(low.update()).toBe(high.update());
    expect(low.everything()).toEqual(high.everything());
    low.dispose();
    high.dispose();
  });

  it("keeps gradients that f16 has no numbers for", () =>
    scope(() => {
      const moved = (initial: number): number => {
        const model = new Linear(4, 4, { bias: false }).init(rng(2));
        const optimizer = new SGD(model, { lr: 1e8 });
        const step = compileStep(model, optimizer, (net, { x }: { x: Tensor }) => sum(net.forward(x)).mul(1e-9), {
          precision,
          lossScale: { initial },
        });
        const [cell] = model.parameters();
        const before = numbers(cell?.value as Tensor);
        step({ x: ones([2, 4]) });
        const after = numbers(cell?.value as Tensor);
        for (const owner of [step, optimizer, model]) owner.dispose();
        return Math.max(...after.map((w, i) => Math.abs(w - (before[i] as number))));
      };
      expect(moved(1)).toBe(0);
      // Two rows of ones: 2·10⁻⁹ of each weight, times 10⁸; the factor itself is rounded to f16.
      expect(moved(2 ** 16)).toBeCloseTo(0.2, 3);
    }));

  it("skips an update with a gradient that is not finite, and halves the scale", () => {
    const run = start({ lossScale: { initial: 2 ** 24 } });
    run.update(1e-4);
    const before = run.everything();
    expect([stepsOf(run), scaleOf(run)]).toEqual([1, 2 ** 24]);
    const loss = run.update(1e4);
    expect(loss).toBeGreaterThan(0);
    expect(loss).toBeLessThan(1e6);
    expect(run.everything()).toEqual(before);
    expect([stepsOf(run), scaleOf(run)]).toEqual([1, 2 ** 23]);
    for (let i = 0; i < 30 && stepsOf(run) === 1; i++) run.update(1e4);
    expect(stepsOf(run)).toBe(2);
    expect(scaleOf(run)).toBeLessThan(2 ** 20);
    expect(run.everything()).not.toEqual(before);
    expect(run.everything().every(Number.isFinite)).toBe(true);
    run.dispose();
  });

  it("skips also where clipping would make finite what is not", () => {
    for (const clipping of [{ clipValue: 1 }, { clipNorm: 1 }, { clipValue: 1, clipNorm: 1 }]) {
      const run = start({ ...clipping, lossScale: { initial: 2 ** 24 } });
      run.update(1e-4);
      const before = run.everything();
      run.update(1e4);
      expect(run.everything()).toEqual(before);
      run.dispose();
    }
  });

  it("doubles the scale after so many finite gradients in a row, which a skipped update begins anew", () => {
    const run = start({ lossScale: { initial: 2 ** 10, growthInterval: 3 } });
    const scales = [1, 1, 1, 1, 1, 1e9, 1, 1, 1].map((factor) => {
      run.update(factor);
      return Math.log2(scaleOf(run));
    });
    expect(scales).toEqual([10, 10, 11, 11, 11, 10, 10, 10, 11]);
    expect(stepsOf(run)).toBe(8);
    run.dispose();
  });

  it("clips the gradients of the loss, not those of the scaled one", () => {
    for (const clipping of [{ clipNorm: 0.05 }, { clipValue: 0.01 }, { clipNorm: 0.05, clipValue: 0.01 }]) {
      const runs = [start({ ...clipping, lossScale: { initial: 2 ** 12 } }), start(clipping, "highest")];
      const [half, exact] = runs.map((run) => {
        for (let i = 0; i < 4; i++) run.update();
        return run.everything();
      }) as [number[], number[]];
      half.forEach((x, i) => {
        expect(Math.abs(x - (exact[i] as number))).toBeLessThan(5e-3);
      });
      for (const run of runs) run.dispose();
    }
  });

  it("takes the mean over small batches, and skips all of them where one is not finite", () => {
    const run = start({ accumulate: 2, lossScale: { initial: 2 ** 24 } });
    const loss = run.update(1e-4);
    expect(loss).toBeGreaterThan(0);
    const before = run.everything();
    run.update(1e4);
    expect(run.everything()).toEqual(before);
    expect([stepsOf(run), scaleOf(run)]).toEqual([1, 2 ** 23]);
    run.dispose();
  });

  it("with checkFinite fails where the loss is not finite, and not where a gradient is", () => {
    const run = start({ checkFinite: true, lossScale: { initial: 2 ** 24 } });
    expect(run.update(1e4)).toBeGreaterThan(0);
    expect(stepsOf(run)).toBe(0);
    expect(() => run.update(Number.NaN)).toThrow(NonFiniteError);
    expect(scaleOf(run)).toBe(2 ** 23);
    run.dispose();
  });

  it("makes updates at the least scale, which is not halved, so that gradients that never are finite show", () =>
    scope(() => {
      for (const checkFinite of [false, true]) {
        const model = new Linear(2, 2).init(rng(5));
        const optimizer = new SGD(model, { lr: 1e-2 });
        // Zero, with derivatives that are NaN.
        const update = (): Tensor =>
          optimizer.minimize(
            () =>
              sum(model.forward(ones([4, 2])))
                .mul(0)
                .square()
                .sqrt(),
            {
              checkFinite,
              lossScale: { initial: 2 ** -23 },
            },
          );
        const step = compile(update, { precision });
        const weights = (): number[] => model.parameters().flatMap(({ value }) => numbers(value));
        expect(step().itemSync()).toBe(0);
        expect(weights().every(Number.isFinite)).toBe(true);
        if (checkFinite) {
          const failing = (): number => step().itemSync();
          expect(failing).toThrow(NonFiniteError);
          expect(failing).toThrow(/the gradient of weight/);
          expect(weights().every(Number.isFinite)).toBe(true);
        } else {
          expect(step().itemSync()).toBe(0);
          expect(weights().every(Number.isNaN)).toBe(true);
        }
        for (const owner of [step, optimizer, model]) owner.dispose();
      }
    }));

  it("scales losses in f16 in f32, which holds them", () =>
    scope(() => {
      const model = new Linear(4, 4).init(rng(6));
      const optimizer = new SGD(model, { lr: 0.1 });
      const step = compileStep(model, optimizer, (net, { x }: { x: Tensor }) => mse(net.forward(x), x), { precision });
      const x = ones([3, 4]).cast("f16");
      const losses = [1, 2, 3].map(() => step({ x }).loss.itemSync());
      // The derivative of the scaled loss, 2¹⁶, is infinite in f16: the first update is skipped.
      expect(losses[0]).toBeLessThan(10);
      expect(losses[1]).toBe(losses[0]);
      expect(losses[2]).toBeLessThan(losses[1] as number);
      expect(optimizer.lossScale?.value.itemSync()).toBe(2 ** 15);
      for (const owner of [step, optimizer, model]) owner.dispose();
    }));

  it("keeps its scale over updates in a loop of the program", () =>
    scope(() => {
      const model = new Linear(2, 2).init(rng(4));
      const optimizer = new SGD(model, { lr: 1e-2 });
      const step = compile(
        (x: Tensor) => {
          repeat(5, () => {
            optimizer.minimize(() => mean(model.forward(x).square()), { lossScale: { initial: 4, growthInterval: 2 } });
          });
        },
        { precision },
      );
      step(ones([4, 2]));
      expect(optimizer.lossScale?.value.itemSync()).toBe(16);
      expect(optimizer.step.value.itemSync()).toBe(5);
      for (const owner of [step, optimizer, model]) owner.dispose();
    }));

  it("refuses scales that would change digits, and intervals that are none", () => {
    const model = new Linear(1, 1).init(rng(1));
    const optimizer = new AdamW(model);
    const loss = (): Tensor => model.forward(ones([1, 1])).sum();
    const tried =
      (lossScale: object): (() => unknown) =>
      () =>
        optimizer.minimize(loss, { lossScale });
    expect(tried({ initial: 1000 })).toThrow(UsageError);
    expect(tried({ initial: 1000 })).toThrow(
      "AdamW: lossScale.initial must be a power of two from 2^-24 to 2^24, got 1000",
    );
    expect(tried({ initial: 2 ** 25 })).toThrow(/power of two/);
    expect(tried({ growthInterval: 0 })).toThrow(/lossScale.growthInterval must be an integer ≥ 1, got 0/);
    expect(tried({ scale: 2 })).toThrow(UsageError);
    for (const owner of [optimizer, model]) owner.dispose();
  });
});

describe("a saved state of such an optimiser", () => {
  const snapshot = (thing: Stateful): StateToRestore => {
    const { cells, json } = thing.captureState();
    return { tensors: Object.fromEntries(Object.entries(cells).map(([name, cell]) => [name, cell.value])), json };
  };
  const scale = { lossScale: { initial: 2 ** 10, growthInterval: 3 } };

  it("has the scale and how long it has held, so that a restored run gives the bits of one that went on", () =>
    scope(() => {
      const [first, second] = [start(scale), start(scale)];
      for (const factor of [1, 1e9, 1, 1]) first.update(factor);
      // The second sees the same batches, with another state: a scale of its own, then one that is made by restoring.
      for (const factor of [1e9, 1, 1, 1]) second.update(factor);
      second.model.restoreState(snapshot(first.model));
      second.optimizer.restoreState(snapshot(first.optimizer));
      const losses = [first, second].map((run) => [run.update(), run.update(), run.update()]);
      expect(losses[1]).toEqual(losses[0]);
      expect(second.everything()).toEqual(first.everything());
      expect([scaleOf(first), scaleOf(second)]).toEqual([2 ** 10, 2 ** 10]);
      for (const run of [first, second]) run.dispose();
    }));

  it("is taken by an optimiser that has not made an update yet", () =>
    scope(() => {
      const [trained, fresh] = [start(scale), start(scale)];
      trained.update(1e9);
      fresh.optimizer.restoreState(snapshot(trained.optimizer));
      expect(scaleOf(fresh)).toBe(2 ** 9);
      fresh.update();
      expect(scaleOf(fresh)).toBe(2 ** 9);
      for (const run of [trained, fresh]) run.dispose();
    }));

  it("without a scale, of another precision, begins with the first one", () =>
    scope(() => {
      const [half, exact] = [start(scale), start({}, "highest")];
      half.update(1e9);
      exact.update();
      half.optimizer.restoreState(snapshot(exact.optimizer));
      expect([scaleOf(half), stepsOf(half)]).toEqual([2 ** 10, 1]);
      for (const run of [half, exact]) run.dispose();
    }));
});
