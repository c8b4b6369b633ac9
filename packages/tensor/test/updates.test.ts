// Updates of parameter sets and the arithmetic of diffusion: what they promise beyond parity.

import {
  adamUpdate,
  addNoise,
  assertNoLeaks,
  Cell,
  emaUpdate,
  type OpenScope,
  openScope,
  rng,
  samplerStep,
  sqrt,
  sumSquares,
  type Tensor,
  tensor,
  zeros,
} from "@figment/tensor";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";

let open: OpenScope;

/** Everything that a test makes is freed at its end. */
const run = <T>(fn: () => T): T => open.run(fn);
const list = (x: Tensor): number[] => [...x.dataSync()];
const i32 = (...xs: number[]): Tensor => tensor(Int32Array.from(xs));

beforeEach(() => {
  open = openScope();
});
afterEach(() => open[Symbol.dispose]());
afterAll(() => assertNoLeaks());

describe("updates", () => {
  const cell = (data: readonly number[]): Cell => {
    const made = new Cell({ shape: [data.length] });
    made.setData(data);
    return made;
  };

  it("adamUpdate moves each weight by the learning rate at its first step", () => {
    const [p, m, v] = [cell([1, -2]), cell([0, 0]), cell([0, 0])];
    run(() => {
      adamUpdate({ cells: [p], grads: [tensor([0.5, -3])], m: [m], v: [v], lr: 0.1, step: 1 });
      const moved = list(p.value);
      expect(moved[0]).toBeCloseTo(0.9, 6);
      expect(moved[1]).toBeCloseTo(-1.9, 6);
      expect(list(m.value)[0]).toBeCloseTo(0.05, 6);
    });
    for (const made of [p, m, v]) made.dispose();
  });

  it("emaUpdate moves targets toward cells and tensors", () => {
    const [target, source] = [cell([1, 2]), cell([3, 4])];
    run(() => {
      emaUpdate(0.75, [target], [source]);
      expect(list(target.value)).toEqual([1.5, 2.5]);
      emaUpdate(tensor(0), [target], [tensor([7, 8])]);
      expect(list(target.value)).toEqual([7, 8]);
    });
    for (const made of [target, source]) made.dispose();
  });

  it("a tensor read before an update keeps its value", () => {
    const target = cell([1, 2]);
    run(() => {
      const before = target.value;
      emaUpdate(0, [target], [tensor([5, 6])]);
      expect(list(before)).toEqual([1, 2]);
      expect(list(target.value)).toEqual([5, 6]);
    });
    target.dispose();
  });

  it("sumSquares gives the square of the global norm", () =>
    run(() => {
      expect(sqrt(sumSquares([tensor([3]), tensor([[4, 0]])])).itemSync()).toBe(5);
      expect(sumSquares([]).itemSync()).toBe(0);
    }));

  it("lists of different lengths are refused", () => {
    const p = cell([1]);
    run(() => {
      expect(() => adamUpdate({ cells: [p], grads: [], m: [p], v: [p], lr: 1, step: 1 })).toThrow(
        /grads has 0 entries for 1 cells/,
      );
      expect(() => emaUpdate(0.5, [p], [])).toThrow(/sources has 0 entries for 1 cells/);
    });
    p.dispose();
  });
});

describe("diffusion arithmetic", () => {
  it("addNoise picks its coefficients by timestep", () =>
    run(() => {
      const out = addNoise(tensor([[1], [1]]), tensor([[1], [2]]), i32(1, 0), tensor([1, 0.5]), tensor([0, 0.25]));
      expect(list(out)).toEqual([0.75, 1]);
    }));

  it("addNoise refuses a timestep out of range when its result is read", () =>
    run(() => {
      const out = addNoise(tensor([[1]]), tensor([[1]]), i32(2), tensor([1, 0.5]), tensor([0, 0.25]));
      expect(() => out.dataSync()).toThrow(expect.objectContaining({ code: "ERR_FIGMENT_INDEX" }));
    }));

  it("samplerStep clamps its prediction of x₀ and combines tensors", () =>
    run(() => {
      const coef = tensor([2, -1, 1, 0, 0.5, 0, 0, 0, 0, 0, 0, 0]);
      const step = samplerStep({ coef, tensors: [tensor([1, 0.25]), tensor([0.5, 0.25])], clamp: [-1, 1] });
      expect(list(step)).toEqual([1.5, 0.375]);
    }));

  it("samplerStep draws the noise that the stream would give, and advances it", () => {
    const [a, b] = [rng(7), rng(7)];
    run(() => {
      const coef = tensor([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
      const noise = samplerStep({ coef, random: a, tensors: [zeros([11])], noise: true });
      expect(list(noise)).toEqual(list(b.normal([11])));
      expect(list(a.normal([3]))).toEqual(list(b.normal([3])));
    });
    a.dispose();
    b.dispose();
  });
});
