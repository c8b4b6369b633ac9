// Finiteness checked inside the step: what is named, and what stays as it was.

import { AdamW, compileStep, Linear, Module, mse, type StepOptions } from "@figment/nn";
import {
  assertNoLeaks,
  checkFinite,
  compile,
  log,
  NonFiniteError,
  rng,
  scope,
  settled,
  silu,
  type Tensor,
  tensor,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

afterAll(() => assertNoLeaks());

class Scale extends Module {
  forward(x: Tensor): Tensor {
    return x.mul(1e30);
  }
}

class Net extends Module {
  readonly first = new Linear(2, 4);
  readonly scale = new Scale();
  readonly last = new Linear(4, 1);
  overflow = false;
  forward(x: Tensor): Tensor {
    const hidden = silu(this.first.forward(x));
    return this.last.forward(this.overflow ? this.scale.forward(this.scale.forward(hidden)) : hidden);
  }
}

type Batch = { x: Tensor; y: Tensor };

/** Runs `use` with a step, a healthy batch, and a way to read everything that the step may change. */
async function withStep(
  options: StepOptions,
  use: (parts: {
    net: Net;
    step: (batch: Batch) => { loss: Tensor };
    batch: Batch;
    contents: () => Promise<unknown>;
  }) => Promise<void>,
  loss: (net: Net, batch: Batch) => Tensor = (net, { x, y }) => mse(net.forward(x), y),
): Promise<void> {
  const net = new Net().init(rng(1));
  const optimizer = new AdamW(net, { lr: 1e-2 });
  const step = compileStep(net, optimizer, loss, { ema: 0.9, ...options });
  const batch = {
    x: tensor([
      [1, 2],
      [3, 4],
    ]),
    y: tensor([[1], [2]]),
  };
  const contents = async (): Promise<unknown> => {
    const cells = Object.entries(step.captureState().cells);
    return Promise.all(
      cells.map(async ([path, cell]) => {
        const value = cell.value;
        const data = await value.data();
        value.dispose();
        return [path, data];
      }),
    );
  };
  try {
    await step(batch).loss.item();
    await use({ net, step, batch, contents });
  } finally {
    for (const thing of [step, optimizer, net, batch.x, batch.y]) thing.dispose();
  }
}

const failure = async (step: (batch: Batch) => { loss: Tensor }, batch: Batch): Promise<unknown> =>
  step(batch)
    .loss.item()
    .then(
      () => undefined,
      (error: unknown) => error,
    );

describe("a step that checks for finite numbers", () => {
  it("gives the losses and weights, bit for bit, of one that does not", async () => {
    const seen: unknown[] = [];
    for (const checkFinite of [false, "gradients", true] as const) {
      await withStep({ checkFinite }, async ({ step, batch, contents }) => {
        const losses: number[] = [];
        for (let i = 0; i < 5; i++) losses.push(await step(batch).loss.item());
        seen.push([losses, await contents()]);
      });
    }
    expect(seen[1]).toEqual(seen[0]);
    expect(seen[2]).toEqual(seen[0]);
  });

  it("names the first parameter that is not finite, and its element; nothing has changed", () =>
    withStep({ checkFinite: true }, async ({ net, step, batch, contents }) => {
      net.last.weight.setData([0, 1, Number.NaN, Infinity]);
      const before = await contents();
      const error = await failure(step, batch);
      expect(error).toBeInstanceOf(NonFiniteError);
      expect((error as Error).message).toBe("the parameter last.weight is not finite: element 2 of 4 is NaN");
      expect(await contents()).toEqual(before);
    }));

  it("counts the updates that were made, not those that failed, in its profile and its saved state too", async () => {
    const net = new Net().init(rng(1));
    const optimizer = new AdamW(net);
    const loss = (model: Net, { x, y }: Batch): Tensor => mse(model.forward(x), y);
    const step = compileStep(net, optimizer, loss, { checkFinite: "gradients" });
    const [x, y, bad] = [tensor([[1, 2]]), tensor([[1]]), tensor([[Number.NaN, 2]])];
    for (const input of [x, bad, x, bad]) await failure(step, { x: input, y });
    expect(step.count).toBe(2);
    await step.profile(2, { x, y });
    expect(step.count).toBe(5);
    expect(step.captureState().json).toMatchObject({ count: 5 });
    step.dispose();
    expect(step.count).toBe(5);
    for (const thing of [optimizer, net, x, y, bad]) thing.dispose();
  });

  it("names the batch", () =>
    withStep({ checkFinite: true }, async ({ step, batch }) => {
      using x = tensor([
        [1, 2],
        [-Infinity, 4],
      ]);
      expect(String(await failure(step, { ...batch, x }))).toContain(
        "the batch's x is not finite: element 2 of 4 is -Infinity",
      );
    }));

  it("names the module whose result is the first", async () => {
    const net = new Net().init(rng(1));
    net.overflow = true;
    const optimizer = new AdamW(net);
    const step = compileStep(net, optimizer, (model, { x, y }: Batch) => mse(model.forward(x), y), {
      checkFinite: true,
    });
    using x = tensor([[1, 2]]);
    using y = tensor([[1]]);
    expect(String(await failure(step, { x, y }))).toMatch(
      /the result of scale is not finite: element \d of 4 is -?Inf/,
    );
    for (const thing of [step, optimizer, net]) thing.dispose();
  });

  it("names the gradient where only the derivative is not finite, and trains on afterwards", () =>
    withStep(
      { checkFinite: "gradients" },
      async ({ net, step, batch, contents }) => {
        // √0 is 0, its derivative infinite.
        net.last.weight.setData([0, 0, 0, 0]);
        net.last.bias?.setData([0]);
        const before = await contents();
        const error = await failure(step, batch);
        expect(error).toBeInstanceOf(NonFiniteError);
        expect((error as Error).message).toContain("the gradient of ");
        expect(await contents()).toEqual(before);
        net.last.bias?.setData([4]);
        expect(await failure(step, batch)).toBeUndefined();
        expect(await contents()).not.toEqual(before);
      },
      (net, { x }) => net.forward(x).abs().sqrt().mean(),
    ));

  it("is told by settled() when nobody reads the loss", () =>
    withStep({ checkFinite: true }, async ({ net, step, batch }) => {
      net.first.weight.setData(new Array(8).fill(Number.NaN));
      step(batch);
      await expect(settled()).rejects.toThrow(/the parameter first\.weight is not finite/);
      await settled();
    }));
});

describe("checkFinite", () => {
  it("fails the results of the compiled function that it is called in", async () => {
    const safeLog = compile((x: Tensor) => {
      const y = log(x);
      checkFinite({ "log x": y });
      return y;
    });
    using good = tensor([1, 2]);
    using bad = tensor([1, 0]);
    using fine = safeLog(good);
    expect((await fine.data())[0]).toBe(0);
    using failed = safeLog(bad);
    await expect(failed.data()).rejects.toThrow("log x is not finite: element 1 of 2 is -Infinity");
    safeLog.dispose();
  });

  it("outside compiled functions is told by the next read", () => {
    scope(() => {
      const x = tensor([1, Number.NaN]);
      checkFinite({ x });
      expect(() => x.dataSync()).toThrow(NonFiniteError);
      expect([...x.dataSync()]).toEqual([1, Number.NaN]);
    });
  });
});
