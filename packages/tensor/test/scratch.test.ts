// Kernels write no further than the scratch that they asked for when their program was loaded, at which time operands have no
// addresses: where memory is poisoned, the device looks behind it after each record and fails the run.

import { loadBinding } from "@figment/native";
import { assertNoLeaks, compile, conv2d, matmul, rng, scope, type Tensor } from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { distance } from "./support/parity.ts";

const binding = loadBinding();
beforeAll(() => binding.setPoison(true));
afterAll(() => {
  binding.setPoison(false);
  assertNoLeaks();
});

const finishes: Readonly<Record<string, (y: Tensor, scale: Tensor, bias: Tensor) => Tensor>> = {
  nothing: (y) => y,
  "a bias": (y, _scale, bias) => y.add(bias),
  "a scale": (y, scale) => y.mul(scale),
  "both and an activation": (y, scale, bias) => y.mul(scale).add(bias).relu(),
};
const columns = 4000;

describe.each(Object.entries(finishes))("products of many columns with %s", (_name, finish) => {
  it.each([1, 3, 40])("of %i rows stay within their scratch, in f32 and bf16", (rows) => {
    scope(() => {
      const random = rng(17);
      const [x, w] = [random.normal([rows, 16]), random.normal([columns, 16])];
      const [scale, bias] = [random.normal([columns]), random.normal([columns])];
      const work = (...[x, w, scale, bias]: [Tensor, Tensor, Tensor, Tensor]) =>
        finish(matmul(x, w, { transposeB: true }), scale, bias);
      const want = work(x, w, scale, bias).dataSync();
      for (const [precision, bound] of [["highest", 1e-4] as const, ["bf16", 0.2] as const]) {
        const got = compile(work, { precision })(x, w, scale, bias).dataSync();
        expect(distance(got, want, () => bound).worst, precision).toBeLessThan(1);
      }
      random.dispose();
    });
  });

  it("and convolutions stay within their scratch, in f32 and bf16", () => {
    scope(() => {
      const random = rng(18);
      const [x, w] = [random.normal([1, 4, 4, 32]), random.normal([columns, 1, 1, 32])];
      const [scale, bias] = [random.normal([columns]), random.normal([columns])];
      const work = (...[x, w, scale, bias]: [Tensor, Tensor, Tensor, Tensor]) => finish(conv2d(x, w), scale, bias);
      const want = work(x, w, scale, bias).dataSync();
      for (const [precision, bound] of [["highest", 1e-4] as const, ["bf16", 0.4] as const]) {
        const got = compile(work, { precision })(x, w, scale, bias).dataSync();
        expect(distance(got, want, () => bound).worst, precision).toBeLessThan(1);
      }
      random.dispose();
    });
  });
});
