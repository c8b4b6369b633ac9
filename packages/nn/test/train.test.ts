// The compiled training step.

import { AdamW, compileStep, Dropout, Linear, mse, Sequential } from "@figment/nn";
import {
  assertNoLeaks,
  compile,
  memory,
  type Rng,
  rng,
  type Stateful,
  type StateToRestore,
  scope,
  silu,
  type Tensor,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

const seed = 5;
console.log(`training tests: seed ${seed}`);
afterAll(() => assertNoLeaks());

interface Run {
  readonly model: Sequential;
  readonly optimizer: AdamW;
  readonly step: ReturnType<typeof makeStep>;
  dispose(): void;
}

const makeStep = (model: Sequential, optimizer: AdamW) =>
  compileStep(model, optimizer, (net, { x, y }: { x: Tensor; y: Tensor }) => mse(net.forward(x), y), {
    clipNorm: 1,
    ema: 0.9,
  });

function start(): Run {
  const model = new Sequential(new Linear(2, 16), silu, new Dropout(0.1), new Linear(16, 1)).init(rng(seed));
  const optimizer = new AdamW(model, { lr: 1e-2 });
  const step = makeStep(model, optimizer);
  const dispose = (): void => {
    for (const owner of [step, optimizer, model]) owner.dispose();
  };
  return { model, optimizer, step, dispose };
}

/** One update on fresh points of y = x₀·x₁. */
function update({ step }: Run, random: Rng): number {
  return scope(() => {
    const x = random.normal([64, 2]);
    const y = x.slice([0, 0], [64, 1]).mul(x.slice([0, 1], [64, 1]));
    return step({ x, y }).loss.itemSync();
  });
}

/** A deep copy of a state, as a checkpoint file would hold it. */
function snapshot(thing: Stateful): StateToRestore {
  const { cells, json } = thing.captureState();
  return { tensors: Object.fromEntries(Object.entries(cells).map(([path, cell]) => [path, cell.value])), json };
}

const release = ({ tensors }: StateToRestore): void => {
  for (const tensor of Object.values(tensors)) tensor.dispose();
};

describe("compileStep", () => {
  it("reduces the loss, counts, compiles once and allocates nothing as it goes", () => {
    const run = start();
    const random = rng(seed + 1);
    const losses = Array.from({ length: 300 }, () => update(run, random));
    const early = memory();
    losses.push(...Array.from({ length: 100 }, () => update(run, random)));
    const mean = (list: readonly number[]): number => list.reduce((sum, x) => sum + x, 0) / list.length;
    expect(mean(losses.slice(-50))).toBeLessThan(0.5 * mean(losses.slice(0, 20)));
    expect(run.step.count).toBe(400);
    expect(run.step.stats.traces).toBe(1);
    expect(memory().systemAllocations).toBe(early.systemAllocations);
    expect(memory().liveBuffers).toBe(early.liveBuffers);
    expect(run.step.explain()).toMatch(/stages\.3/);
    run.dispose();
    random.dispose();
  });

  it("resumes bit for bit: model, streams, optimiser, average and count", () => {
    const [whole, first] = [start(), start()];
    const randoms = [rng(seed + 2), rng(seed + 2)] as const;
    const tail: number[] = [];
    for (let i = 0; i < 12; i++) {
      const loss = update(whole, randoms[0]);
      if (i >= 7) tail.push(loss);
    }
    for (let i = 0; i < 7; i++) update(first, randoms[1]);
    const saved = snapshot(first.step);
    first.dispose();

    const second = start();
    second.step.restoreState(saved);
    expect(second.step.count).toBe(7);
    expect(Array.from({ length: 5 }, () => update(second, randoms[1]))).toEqual(tail);
    const weights = ({ step }: Run): number[][] =>
      scope(() => Object.values(step.captureState().cells).map((cell) => [...cell.value.dataSync()]));
    expect(weights(second)).toEqual(weights(whole));
    release(saved);
    for (const owner of [whole, second, ...randoms]) owner.dispose();
  });

  it("leaves no packed copies of weights behind that a step, its moving average or a restored state has changed", () => {
    const run = start();
    const random = rng(seed + 3);
    const x = scope(() => random.normal([32, 2]));
    const { model } = run.step.ema;
    const predict = compile((net: Sequential, input: Tensor) => net.forward(input), { mode: "eval" });
    // The cells of a clone are new, and so are their packed copies.
    const agree = (): void => {
      for (const net of [run.model, model]) {
        const clone = net.clone();
        expect(scope(() => predict(net, x).dataSync())).toEqual(scope(() => predict(clone, x).dataSync()));
        clone.dispose();
      }
    };
    agree();
    const first = snapshot(run.step);
    for (let i = 0; i < 3; i++) {
      update(run, random);
      agree();
      agree();
    }
    run.step.restoreState(first);
    agree();
    expect(predict.explain()).toMatch(/packed \d+×, kept \d+×/);
    release(first);
    for (const owner of [predict, x, run, random]) owner.dispose();
  });

  it("has no moving average unless asked", () => {
    const model = new Linear(1, 1).init(rng(seed));
    const optimizer = new AdamW(model);
    const step = compileStep(model, optimizer, (net, { x }) => net.forward(x).mean());
    expect(step.ema).toBeUndefined();
    for (const owner of [step, optimizer, model]) owner.dispose();
  });
});
