// Every op is a function and a method, and takes numbers where a number says enough.

import { readdirSync, readFileSync } from "node:fs";
import * as figment from "@figment/tensor";
import { assertNoLeaks, scope, Tensor, type TensorLike, tensor } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

afterAll(() => assertNoLeaks());

/** Functions whose first parameter may be a tensor and that are no methods, and why. */
const functionsOnly: Readonly<Record<string, string>> = {
  emaUpdate: "the first parameter is a decay; it updates cells",
  stopGradient: "a rule of differentiation, like grad and remat",
  toImage: "leaves for JavaScript, asynchronously",
};

/** The functions that the package exports whose first parameter may be a tensor, as its declarations say. */
function functionsOfTensors(): string[] {
  const dist = new URL("../dist/", import.meta.url);
  const declarations = (readdirSync(dist, { recursive: true }) as string[])
    .filter((name) => name.endsWith(".d.ts"))
    .map((name) => readFileSync(new URL(name, dist), "utf8"));
  const first = /^export declare (?:function (\w+)|const (\w+): )(?:<[^>]*>)?\(\w+: (?:Tensor|TensorLike)[,)]/gm;
  const found = declarations.flatMap((text) => [...text.matchAll(first)].map(([, a, b]) => (a ?? b) as string));
  // A parameter list that is too long for a line begins on the next.
  const wrapped = /^export declare function (\w+)(?:<[^>]*>)?\(\s+\w+: (?:Tensor|TensorLike),/gm;
  const more = declarations.flatMap((text) => [...text.matchAll(wrapped)].map(([, name]) => name as string));
  return [...new Set([...found, ...more])].filter((name) => name in figment).sort();
}

describe("operations", () => {
  it("are methods where their first parameter is a tensor", () => {
    const functions = functionsOfTensors();
    expect(functions).toEqual(expect.arrayContaining(["add", "conv2d", "cachedAttention", "takeAlong", "toImage"]));
    const missing = functions.filter((name) => !(name in Tensor.prototype));
    expect(missing).toEqual(Object.keys(functionsOnly).sort());
  });

  it("do as methods what they do as functions", () => {
    scope(() => {
      const [x, y] = [tensor([1, 2, 3]), tensor([5, 6, 7])];
      expect([...x.lerp(y, 0.5).dataSync()]).toEqual([3, 4, 5]);
      const t = tensor(Int32Array.of(0));
      const noised = x.reshape([1, 3]).addNoise(y.reshape([1, 3]), t, tensor([2]), tensor([10]));
      expect([...noised.dataSync()]).toEqual([52, 64, 76]);
      const [image, weight] = [figment.ones([1, 2, 2, 1]), figment.ones([1, 3, 3, 1])];
      expect(image.conv2dInputGrad(weight).shape).toEqual([1, 4, 4, 1]);
      expect([...x.scatterAdd(tensor(Int32Array.of(1, 1, 0)), 2).dataSync()]).toEqual([3, 3]);
    });
  });

  const binary = {
    add: (a, b) => a + b,
    sub: (a, b) => a - b,
    mul: (a, b) => a * b,
    div: (a, b) => a / b,
    rem: (a, b) => a % b,
    pow: (a, b) => a ** b,
    maximum: Math.max,
    minimum: Math.min,
    eq: (a, b) => Number(a === b),
    ne: (a, b) => Number(a !== b),
    lt: (a, b) => Number(a < b),
    le: (a, b) => Number(a <= b),
    gt: (a, b) => Number(a > b),
    ge: (a, b) => Number(a >= b),
  } satisfies Record<string, (a: number, b: number) => number>;

  it.each(Object.entries(binary))("%s takes a number on either side", (name, f) => {
    const op = Reflect.get(figment, name) as (a: TensorLike, b: TensorLike) => Tensor;
    scope(() => {
      const x = tensor([2, 4]);
      const numbers = (y: Tensor): number[] => [...y.dataSync()];
      expect(numbers(op(x, 4))).toEqual([f(2, 4), f(4, 4)]);
      expect(numbers(op(4, x))).toEqual([f(4, 2), f(4, 4)]);
    });
  });

  it("take numbers for any of three", () => {
    scope(() => {
      const x = tensor([2, 4]);
      expect([...figment.lerp(0, x, 0.5).dataSync()]).toEqual([1, 2]);
      expect([...figment.lerp(0, 10, x).dataSync()]).toEqual([20, 40]);
      expect([...figment.select(x.gt(3), 1, 0).dataSync()]).toEqual([0, 1]);
    });
  });
});
