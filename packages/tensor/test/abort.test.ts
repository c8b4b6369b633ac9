// Stopping the work of compiled functions: what readers, cells, later calls and settled() see of it.

import {
  AbortError,
  assertNoLeaks,
  Cell,
  compile,
  matmul,
  ones,
  rng,
  scope,
  settled,
  type Tensor,
  tensor,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

afterAll(() => assertNoLeaks());

/** Seconds of work in one kernel, on any machine that the tests meet. */
const huge = 4096;

const reasonOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => "no rejection",
    (reason: unknown) => reason,
  );

const turn = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

describe("a call that is stopped", () => {
  it("in the middle of its only kernel has no result: reading it rejects with the signal's reason", async () => {
    const product = compile((a: Tensor) => matmul(a, a));
    using a = ones([huge, huge]);
    const controller = new AbortController();
    const reason = new Error("changed my mind");
    using result = product.run({ signal: controller.signal }, a);
    const reading = [reasonOf(result.data()), reasonOf(result.ready())];
    await turn(5);
    controller.abort(reason);
    expect(await Promise.all(reading)).toEqual([reason, reason]);
    expect(() => result.dataSync()).toThrow(reason);
    product.dispose();
  });

  it("is no error for settled(), and what was computed from it is stopped too", async () => {
    const product = compile((a: Tensor) => matmul(a, a));
    using a = ones([huge, huge]);
    const controller = new AbortController();
    using result = product.run({ signal: controller.signal }, a);
    using doubled = result.mul(2);
    await turn(5);
    controller.abort();
    await settled();
    expect(await reasonOf(doubled.data())).toBeInstanceOf(AbortError);
    expect(await reasonOf(result.data())).toBe(controller.signal.reason);
    product.dispose();
  });

  it("leaves cells and random streams as they were, and the device working", async () => {
    const random = rng(3);
    const cell = new Cell({ shape: [2], initial: () => [1, 2] });
    const step = compile((a: Tensor) => {
      cell.set(cell.value.add(matmul(a, a).at(0, 0)));
      return random.normal([2]);
    });
    using a = ones([huge, huge]);
    using before = random.cell.value;
    const controller = new AbortController();
    const results = [0, 1].map(() => step.run({ signal: controller.signal }, a));
    controller.abort();
    for (const result of results) {
      expect(await reasonOf(result.data())).toBe(controller.signal.reason);
      result.dispose();
    }
    using after = random.cell.value;
    expect(await after.data()).toEqual(await before.data());
    using contents = cell.value;
    expect([...(await contents.data())]).toEqual([1, 2]);
    using sum = scope(() => tensor([1, 2]).add(3));
    expect([...(await sum.data())]).toEqual([4, 5]);
    for (const thing of [step, cell, random]) thing.dispose();
  });
});

describe("a signal", () => {
  it("that has been aborted before keeps the call from being made", () => {
    const double = compile((x: Tensor) => x.mul(2));
    using x = tensor([1, 2]);
    const reason = new Error("too late");
    expect(() => double.run({ signal: AbortSignal.abort(reason) }, x)).toThrow(reason);
    expect(double.stats.calls).toBe(0);
    double.dispose();
  });

  it("stops only the calls that were given it", async () => {
    const double = compile((x: Tensor) => x.mul(2));
    const product = compile((a: Tensor) => matmul(a, a));
    using a = ones([huge, huge]);
    using x = tensor([1, 2]);
    const controller = new AbortController();
    using stopped = product.run({ signal: controller.signal }, a);
    using other = double(x);
    using third = double.run({ signal: new AbortController().signal }, x);
    controller.abort();
    expect([...(await other.data()), ...(await third.data())]).toEqual([2, 4, 2, 4]);
    expect(await reasonOf(stopped.data())).toBe(controller.signal.reason);
    product.dispose();
    double.dispose();
  });

  it("costs one listener, however many calls it is given to", () => {
    const double = compile((x: Tensor) => x.mul(2));
    using x = tensor([1, 2]);
    const { signal } = new AbortController();
    let listeners = 0;
    const add = signal.addEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>): void => {
      listeners++;
      add(...args);
    };
    for (let i = 0; i < 50; i++) double.run({ signal }, x).dispose();
    expect(listeners).toBe(1);
    double.dispose();
  });
});
