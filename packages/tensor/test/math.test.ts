// Powers, remainders, logic and activations as users call them.

import {
  biasAct,
  clamp,
  compile,
  elu,
  gelu,
  grad,
  leakyRelu,
  pow,
  relu,
  scope,
  softplus,
  sum,
  type Tensor,
  tensor,
  zeros,
} from "@figment/tensor";
import { describe, expect, it } from "vitest";

const values = (make: () => Tensor): number[] => scope(() => [...make().dataSync()]);

describe("pow", () => {
  it("takes tensors and numbers on either side", () => {
    expect(values(() => pow(tensor([-2, 4]), 3))).toEqual([-8, 64]);
    expect(values(() => pow(2, tensor([3, -1])))).toEqual([8, 0.5]);
    expect(values(() => tensor([4, 9]).pow(0.5))).toEqual([2, 3]);
    expect(() => pow(tensor([2], { dtype: "i32" }), 3)).toThrow(/expected a float tensor/);
  });

  it("has derivatives of 0 at the power 0 of 0", () => {
    const at = (x: number, y: number): number[] => {
      const [a, b] = [tensor([x]), tensor([y])];
      const byBase = values(() => grad((u: Tensor) => sum(pow(u, b)))(a));
      const byExponent = values(() => grad((u: Tensor) => sum(pow(a, u)))(b));
      a.dispose();
      b.dispose();
      return [...byBase, ...byExponent];
    };
    expect(at(0, 0)).toEqual([0, 0]);
    expect(at(0, 2)).toEqual([0, 0]);
    expect(at(-2, 3)).toEqual([12, Number.NaN]);
  });
});

describe("rem, abs and sign of integers", () => {
  it("has the sign of the dividend, and is 0 for a divisor of 0", () => {
    const ints = (...xs: number[]): Tensor => tensor(Int32Array.from(xs));
    expect(values(() => ints(7, -7, 7, -7, 5).rem(ints(3, 3, -3, -1, 0)))).toEqual([1, -1, 1, 0, 0]);
    expect(values(() => ints(-3, 0, 4).abs())).toEqual([3, 0, 4]);
    expect(values(() => ints(-3, 0, 4).sign())).toEqual([-1, 0, 1]);
  });
});

describe("logic", () => {
  it("combines bool tensors", () => {
    const a = (): Tensor => tensor([true, true, false, false]);
    const b = (): Tensor => tensor([true, false, true, false]);
    expect(values(() => a().logicalAnd(b()))).toEqual([1, 0, 0, 0]);
    expect(values(() => a().logicalOr(b()))).toEqual([1, 1, 1, 0]);
    expect(values(() => a().logicalXor(b()))).toEqual([0, 1, 1, 0]);
    expect(values(() => a().logicalNot())).toEqual([0, 0, 1, 1]);
    expect(() => tensor([1]).logicalNot()).toThrow(/expected a bool tensor, got f32/);
  });

  it("finds what is NaN or infinite", () => {
    const x = (): Tensor => tensor([1, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]);
    expect(values(() => x().isNaN())).toEqual([0, 1, 0, 0]);
    expect(values(() => x().isFinite())).toEqual([1, 0, 0, 0]);
  });
});

describe("relu and leakyRelu", () => {
  it.each([
    ["leakyRelu", 0.5],
    ["relu", 0],
  ] as const)(
    "have the derivative of negative numbers at 0, fused or not, eager or compiled: %s",
    (activation, slope) => {
      const plain = (x: Tensor): Tensor => (activation === "relu" ? relu(x) : leakyRelu(x, slope));
      const fused = (x: Tensor): Tensor => biasAct(x, zeros([4]), { activation, slope });
      const twice = 2 * slope ** 2;
      for (const f of [plain, fused]) {
        const first = (x: Tensor): Tensor => grad((y: Tensor) => sum(f(y)))(x);
        const second = (x: Tensor): Tensor => grad((y: Tensor) => sum(grad((z: Tensor) => sum(f(z).square()))(y)))(x);
        for (const [derivative, expected] of [
          [first, [slope, slope, 1, slope]],
          [second, [twice, twice, 2, twice]],
        ] as const) {
          const compiled = compile(derivative);
          for (const g of [derivative, compiled]) expect(values(() => g(tensor([[0, -0, 3, -1]])))).toEqual(expected);
          compiled.dispose();
        }
      }
    },
  );

  it.each(["f32", "f64"] as const)("lets nothing through behind a 0, not even NaN, fused or not, in %s", (dtype) => {
    const fused = (x: Tensor): Tensor => biasAct(x, zeros([4], dtype), { activation: "relu" });
    for (const f of [relu, fused]) {
      const slopes = (x: Tensor): Tensor =>
        grad((y: Tensor) => sum(f(y).mul(tensor([Number.NaN, Number.POSITIVE_INFINITY, 2, 1], { dtype }))))(x);
      const compiled = compile(slopes);
      for (const g of [slopes, compiled])
        expect(values(() => g(tensor([[-1, 0, 3, Number.NaN]], { dtype })))).toEqual([0, 0, 2, 1]);
      compiled.dispose();
    }
  });
});

describe("clamp and the activations", () => {
  const close = (actual: number[], expected: number[]): void => {
    expect(actual.length).toBe(expected.length);
    for (const [i, x] of expected.entries()) expect(actual[i]).toBeCloseTo(x, 5);
  };

  it("are PyTorch's", () => {
    expect(values(() => clamp(tensor([-3, 0.5, 7]), -1, 1))).toEqual([-1, 0.5, 1]);
    expect(() => clamp(tensor([1]), 2, 1)).toThrow(/lower bound 2/);
    close(
      values(() => gelu(tensor([-1, 0, 1]))),
      [-0.158655, 0, 0.841345],
    );
    close(
      values(() => gelu(tensor([-1, 0, 1]), { approximate: "tanh" })),
      [-0.158808, 0, 0.841192],
    );
    close(
      values(() => leakyRelu(tensor([-2, 3]))),
      [-0.02, 3],
    );
    close(
      values(() => elu(tensor([-1, 200]))),
      [-0.632121, 200],
    );
    close(
      values(() => softplus(tensor([-200, 0, 200]))),
      [0, Math.LN2, 200],
    );
  });

  it("have finite derivatives far from 0", () => {
    expect(values(() => grad((x: Tensor) => sum(elu(x)))(tensor([200, 0])))).toEqual([1, 1]);
    expect(values(() => grad((x: Tensor) => sum(softplus(x)))(tensor([200, 0])))).toEqual([1, 0.5]);
  });
});
