// An exception in any function that a user hands to the library reaches the caller, and leaves nothing behind.

import {
  AdamW,
  assertNoLeaks,
  Cell,
  compile,
  compileStep,
  cosineBetas,
  customVjp,
  Diffusion,
  ddim,
  grad,
  Linear,
  Module,
  memory,
  mse,
  observeForward,
  ones,
  openScope,
  remat,
  rng,
  type Sampler,
  scope,
  sum,
  type Tensor,
  tensor,
  valueAndGrad,
} from "figment";
import { afterAll, describe, expect, it } from "vitest";

afterAll(() => assertNoLeaks());

const thrown = new Error("from a callback");
/** Throws, after its arguments have been made. */
const fail = (..._made: unknown[]): never => {
  throw thrown;
};

/** Expects the error of the callback, no memory left behind, and a device that works on. */
async function survives(use: () => unknown): Promise<void> {
  const before = memory().liveBuffers;
  let error: unknown;
  try {
    await use();
  } catch (caught) {
    error = caught;
  }
  expect(error).toBe(thrown);
  expect(memory().liveBuffers).toBe(before);
  using total = scope(() => tensor([1, 2]).add(1).sum());
  expect(await total.item()).toBe(5);
}

class Net extends Module {
  readonly layer = new Linear(2, 2);
  broken = false;
  forward(x: Tensor): Tensor {
    const y = this.layer.forward(x).mul(2);
    return this.broken ? fail() : y;
  }
}

describe("an exception", () => {
  it("in a scope, of either kind, frees what the scope made", async () => {
    await survives(() => scope(() => fail(ones([8]).mul(2))));
    await survives(async () => {
      await using open = openScope();
      open.run(() => fail(ones([8]).mul(2)));
    });
  });

  it("in a function that is compiled, at its trace, inside another one too", async () => {
    using x = ones([3]);
    const inner = compile((y: Tensor) => fail(y.mul(2)));
    await survives(() => inner(x));
    const outer = compile((y: Tensor) => inner(y.add(1)));
    await survives(() => outer(x));
    for (const fn of [inner, outer]) fn.dispose();
  });

  it("in a function that is differentiated, recomputed, or given a derivative of its own", async () => {
    using x = ones([3]);
    await survives(() => scope(() => grad((y: Tensor) => fail(y.mul(2).sum()) as Tensor)(x)));
    await survives(() =>
      scope(() => valueAndGrad((y: Tensor) => sum(remat((z: Tensor) => fail(z.mul(2)) as Tensor)(y)))(x)),
    );
    const own = customVjp(
      (y: Tensor) => y.mul(2),
      () => fail(),
    );
    await survives(() => scope(() => grad((y: Tensor) => sum(own(y)))(x)));
  });

  it("where a cell's first contents are made", async () => {
    const cell = new Cell({ shape: [2], initial: fail });
    await survives(() => cell.value);
    cell.dispose();
  });

  it("in a module, its observer, the loss, or the schedule of the learning rate, with the weights as they were", async () => {
    const net = new Net().init(rng(1));
    const optimizer = new AdamW(net);
    const batch = { x: ones([4, 2]), y: ones([4, 2]) };
    const loss = (model: Net, { x, y }: typeof batch): Tensor => mse(model.forward(x), y);
    const step = compileStep(net, optimizer, loss);
    await step(batch).loss.item();
    net.broken = true;
    const other = compileStep(net, optimizer, loss);
    await survives(() => other(batch));
    await survives(() => scope(() => net.forward(batch.x)));
    net.broken = false;
    await survives(() => observeForward(fail, () => scope(() => net.forward(batch.x))));
    const lossless = compileStep(net, optimizer, (model: Net, b: typeof batch) => fail(loss(model, b)) as Tensor);
    await survives(() => lossless(batch));
    const scheduled = new AdamW(net, { lr: fail });
    const late = compileStep(net, scheduled, loss);
    await survives(() => late(batch));
    expect(Number.isFinite(await step(batch).loss.item())).toBe(true);
    for (const thing of [step, other, lossless, late, optimizer, scheduled, net, batch.x, batch.y]) thing.dispose();
  });

  it("in what a sampler calls: its rows, the network, the progress", async () => {
    using diffusion = new Diffusion({ betas: cosineBetas(10) });
    const random = rng(1);
    const net = { structure: "net", cells: () => [], forward: (x: Tensor): Tensor => x.mul(0.5) };
    const options = { shape: [2, 4], rng: random, sampler: ddim({ steps: 3 }) };
    (await diffusion.sample(net, options)).dispose();
    const broken: Sampler = { name: "broken", rows: fail };
    await survives(() => diffusion.sample(net, { ...options, sampler: broken }));
    await survives(() => diffusion.sample({ ...net, structure: "broken", forward: fail }, options));
    await survives(() => diffusion.sample(net, { ...options, onProgress: ({ step }) => step === 2 && fail() }));
    await survives(async () => {
      for await (const { step } of diffusion.sampleSteps(net, options)) if (step === 1) fail();
    });
    random.dispose();
  });

  it("in an initialiser", async () => {
    const net = new Linear(2, 2, { weightInit: fail });
    const random = rng(1);
    await survives(() => net.init(random));
    net.dispose();
    random.dispose();
  });
});
