import {
  assertNoLeaks,
  Cell,
  compile,
  customVjp,
  DTypeError,
  exp,
  grad,
  matmul,
  memory,
  mul,
  type Rng,
  remat,
  rng,
  ShapeError,
  scope,
  sin,
  stopGradient,
  sum,
  type Tensor,
  tensor,
  valueAndGrad,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

afterAll(() => assertNoLeaks());

const take = (x: Tensor): number[] => {
  const data = [...x.dataSync()];
  x.dispose();
  return data;
};

/** Equal up to the order of additions. */
const closeTo = (given: readonly number[], expected: readonly number[]): void => {
  given.forEach((x, i) => {
    expect(x).toBeCloseTo(expected[i] as number, 5);
  });
};

describe("grad", () => {
  it("differentiates the first argument", () => {
    using x = tensor([1, 2, 3]);
    using y = tensor([4, 5, 6]);
    expect(take(grad((a: Tensor, b: Tensor) => sum(a.mul(b)))(x, y))).toEqual([4, 5, 6]);
  });

  it("gives zeros where there is no path", () => {
    using x = tensor([1, 2]);
    using c = tensor(3);
    expect(take(grad((_: Tensor) => c.mul(2))(x))).toEqual([0, 0]);
  });

  it("does not confuse nested derivatives of the same variable", () => {
    // d/dx [x · d/dy (x·y²) at y = x] = d/dx [2x³] = 6x²; an engine that mixes the two levels up gives something else.
    using x = tensor(3);
    const f = (a: Tensor): Tensor => mul(a, grad((y: Tensor) => mul(a, y.square()))(a));
    expect(take(grad(f)(x))).toEqual([54]);
  });

  it("reaches third order", () => {
    using x = tensor(0.7);
    const third = grad((a: Tensor) => grad((b: Tensor) => grad((c: Tensor) => sin(c))(b))(a));
    const [value] = take(third(x));
    expect(value).toBeCloseTo(-Math.cos(0.7), 5);
  });

  it("has zero derivative through stopGradient", () => {
    using x = tensor([2, 3]);
    expect(take(grad((a: Tensor) => sum(a.mul(stopGradient(a))))(x))).toEqual([2, 3]);
  });

  it("differentiates the cells that a function reads", () => {
    const [w, b] = ["w", "b"].map((name) => new Cell({ shape: [2], name })) as [Cell, Cell];
    w.setData([2, 3]);
    b.setData([1, 1]);
    using x = tensor([5, 7]);
    const { value, grads } = valueAndGrad(() => sum(w.value.mul(x).add(w.value)), { wrt: [w, b] })();
    expect(take(value)).toEqual([36]);
    expect([...grads.get(w).dataSync()]).toEqual([6, 8]);
    expect([...grads.get(b).dataSync()]).toEqual([0, 0]);
    grads.dispose();
    w.dispose();
    b.dispose();
  });

  it("frees what it kept for the way back", () => {
    using x = tensor([1, 2, 3]);
    const before = memory().liveBuffers;
    grad((a: Tensor) => sum(exp(a).mul(a).tanh()))(x).dispose();
    expect(memory().liveBuffers).toBe(before);
  });

  it("leaves the caller's tensors alone when the function returns one of them", () => {
    using x = tensor(4);
    expect(take(grad((a: Tensor) => a)(x))).toEqual([1]);
    expect(x.itemSync()).toBe(4);
  });

  it("says what it needs: a float argument and one number back", () => {
    using x = tensor([1, 2]);
    using i = tensor([1, 2], { dtype: "i32" });
    expect(() => grad((a: Tensor) => a)(x)).toThrow(ShapeError);
    expect(() => grad((a: Tensor) => sum(a))(i)).toThrow(DTypeError);
    expect(() => grad((a: Tensor) => sum(a), {} as { wrt: [] })(x)).toThrow(
      "grad: wrt must be a module or a list of cells, got undefined",
    );
  });
});

describe("remat", () => {
  it("changes neither the value nor the derivatives, of parameters and to second order", () => {
    const w = new Cell({ shape: [3], name: "w" });
    w.setData([0.5, -1, 2]);
    using x = tensor([0.3, 0.8, -0.4]);
    const block = (a: Tensor): Tensor => a.mul(w.value).tanh().mul(a);
    const kept = (a: Tensor): Tensor => sum(block(a).square());
    const recomputed = (a: Tensor): Tensor => sum(remat(block)(a).square());
    const second = (f: (a: Tensor) => Tensor): number[] => take(grad((a: Tensor) => sum(grad(f)(a).square()))(x));
    closeTo(second(recomputed), second(kept));
    const of = (f: (a: Tensor) => Tensor): number[] => {
      const grads = grad(() => f(x), { wrt: [w] })();
      const data = [...grads.get(w).dataSync()];
      grads.dispose();
      return data;
    };
    closeTo(of(recomputed), of(kept));
    w.dispose();
  });

  it("computes again inside a compiled program, which merging must not undo", () => {
    const f = compile((x: Tensor) => grad((a: Tensor) => sum(remat((b: Tensor) => exp(b.mul(2)))(a)))(x));
    using x = tensor([0.1, 0.2]);
    const result = take(f(x));
    expect(result[0]).toBeCloseTo(2 * Math.exp(0.2), 5);
    expect(f.print().match(/exp/g)?.length ?? 0).toBeGreaterThanOrEqual(1);
    f.dispose();
  });

  it("makes the arena of a deep network's step a third or less, and changes no bit", () => {
    const random = rng(1);
    const weights = Array.from({ length: 24 }, (_, i) => {
      const cell = new Cell({ shape: [32, 32], name: `w${i}` });
      scope(() => cell.set(random.normal([32, 32]).mul(0.17)));
      return cell;
    });
    const layer =
      (weight: Cell) =>
      (x: Tensor): Tensor =>
        [0, 1, 2].reduce((h) => matmul(h, weight.value).tanh().add(x), x);
    const network = (wrap: typeof remat<readonly [Tensor]>) =>
      compile((x: Tensor) => {
        const forward = (a: Tensor): Tensor => weights.reduce((h, weight) => wrap(layer(weight))(h), a);
        const grads = grad((a: Tensor) => forward(a).square().mean(), { wrt: weights })(x);
        return weights.map((weight) => grads.get(weight));
      });
    const [plain, frugal] = [network((f) => f as never), network(remat)];
    scope(() => {
      const x = random.normal([64, 32]);
      const [expected, actual] = [plain(x), frugal(x)];
      expected.forEach((gradient, i) => {
        expect([...(actual[i] as Tensor).dataSync()]).toEqual([...gradient.dataSync()]);
      });
    });
    const arena = (step: { explain(): string }): number => {
      const [, size, prefix] = step.explain().match(/arena ([\d.]+) ([kM]?)B/) ?? [];
      return Number(size) * (prefix === "M" ? 1e6 : prefix === "k" ? 1e3 : 1);
    };
    expect(arena(frugal)).toBeLessThan(arena(plain) / 3);
    expect(arena(frugal)).toBeGreaterThan(0);
    for (const item of [plain, frugal, random, ...weights]) item.dispose();
  });
});

describe("customVjp", () => {
  it("uses the given rule", () => {
    const doubled = customVjp(
      (x: Tensor) => x.mul(x),
      ([x], _y, c) => [c.mul(x).mul(10)],
    );
    using x = tensor([1, 2]);
    expect(take(grad((a: Tensor) => sum(doubled(a)))(x))).toEqual([10, 20]);
  });
});

describe("scopes and derivatives", () => {
  it("a scope inside a differentiated function frees nothing that the way back needs", () => {
    using x = tensor([1, 2]);
    expect(take(grad((a: Tensor) => sum(scope(() => a.mul(a).mul(a))))(x))).toEqual([3, 12]);
  });
});

describe("what stands between a function and its derivative", () => {
  it("a clone passes derivatives on", () => {
    using x = tensor([1, 2]);
    expect(take(grad((a: Tensor) => sum(a.clone().mul(3)))(x))).toEqual([3, 3]);
  });

  it("a compiled function is differentiated through", () => {
    const square = compile((a: Tensor) => a.mul(a));
    using x = tensor([1, 2]);
    expect(take(grad((a: Tensor) => sum(square(a)))(x))).toEqual([2, 4]);
    square.dispose();
  });

  it("customVjp may return its argument", () => {
    const scaled = customVjp(
      (x: Tensor) => x,
      (_args, _y, c) => [c.mul(7)],
    );
    using x = tensor([1, 2]);
    expect(take(grad((a: Tensor) => sum(scaled(a)))(x))).toEqual([7, 7]);
  });

  it("a cell read where nothing is noted is still the same parameter elsewhere", () => {
    const w = new Cell({ shape: [2], name: "w" });
    w.setData([2, 3]);
    using x = tensor([5, 7]);
    const silent = customVjp(
      (a: Tensor) => a.mul(w.value),
      (_args, _y, c) => [c],
    );
    const grads = grad(() => sum(silent(x).add(w.value.mul(x))), { wrt: [w] })();
    expect([...grads.get(w).dataSync()]).toEqual([5, 7]);
    grads.dispose();
    w.dispose();
  });

  it("nested rematerialisation keeps what the inner function captures", () => {
    using x = tensor([1, 2]);
    const f = (a: Tensor): Tensor => sum(remat((b: Tensor) => remat((c: Tensor) => c.mul(a))(b).mul(b))(a));
    expect(take(grad(f)(x))).toEqual([3, 12]);
  });

  it("rematerialisation meets the same random numbers again, and draws none anew", () => {
    const draws = rng(4);
    const noise = (r: Rng): number[] => take(r.uniform([3]));
    const expected = noise(draws);
    const next = noise(draws);
    draws.dispose();
    const random = rng(4);
    using x = tensor([1, 1, 1]);
    expect(take(grad((a: Tensor) => sum(remat((b: Tensor) => b.mul(random.uniform([3])))(a)))(x))).toEqual(expected);
    expect(noise(random)).toEqual(next);
    random.dispose();
  });
});
