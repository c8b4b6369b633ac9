// Norms and softmax whose results only products read store them in bf16 themselves.

import {
  assertNoLeaks,
  compile,
  conv2d,
  grad,
  groupNorm,
  layerNorm,
  matmul,
  rmsNorm,
  rng,
  scope,
  softmax,
  sum,
  type Tensor,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

const random = rng(52);
afterAll(() => {
  random.dispose();
  assertNoLeaks();
});

const precision = "bf16";
const line = (explained: string, op: string): string =>
  explained.split("\n").find((text) => text.startsWith(`${op} `)) ?? "";

describe("a result that only bf16 products read", () => {
  const gamma = [8];
  const cases: readonly (readonly [string, (x: Tensor, g: Tensor) => Tensor, RegExp])[] = [
    ["groupNorm", (x, g) => groupNorm(x, g, g, { groups: 2, silu: true }), / f32×3 → bf16 f32×2 /],
    ["layerNorm", (x, g) => layerNorm(x, g, g), / f32×3 → bf16 f32×2 /],
    ["rmsNorm", (x, g) => rmsNorm(x, g), / f32×2 → bf16 f32 /],
    ["softmax", (x) => softmax(x), / f32 → bf16 /],
  ];

  it.each(cases)("of %s is stored as bf16 by its kernel, with the bits of a cast of its own", (name, norm, formats) =>
    scope(() => {
      const [x, g, w] = [random.normal([5, 8]), random.normal(gamma), random.normal([8, 3])];
      const alone = compile((a: Tensor, b: Tensor) => matmul(norm(a, b), w), { precision });
      const shared = compile(
        (a: Tensor, b: Tensor) => {
          const y = norm(a, b);
          return [matmul(y, w), y];
        },
        { precision },
      );
      const got = alone(x, g);
      const [want] = shared(x, g) as [Tensor, Tensor];
      expect(line(alone.explain(), name)).toMatch(formats);
      expect(line(shared.explain(), name)).not.toMatch(/bf16/);
      // The weights are rounded by the only cast.
      expect(alone.explain().match(/^cast /gm)).toHaveLength(1);
      expect([...got.dataSync()]).toEqual([...want.dataSync()]);
      alone.dispose();
      shared.dispose();
    }),
  );

  it("is stored as bf16 in a training step too, where statistics stay f32 for the gradient", () =>
    scope(() => {
      const [x, g, w] = [random.normal([2, 6, 6, 8]), random.normal(gamma), random.normal([8, 3, 3, 8])];
      const loss = (a: Tensor) => sum(conv2d(groupNorm(a, g, g, { groups: 2 }), w, { padding: 1 }).sin());
      const f = compile((a: Tensor) => grad(loss)(a), { precision });
      f(x);
      expect(line(f.explain(), "groupNorm")).toMatch(/ f32×3 → bf16 f32×2 /);
      expect(f.explain().match(/^groupNorm /gm)).toHaveLength(1);
      expect(line(f.explain(), "groupNormGrad")).toMatch(/ f32 /);
      f.dispose();
    }));

  it("keeps its type where nothing rounds it", () =>
    scope(() => {
      const [x, g] = [random.normal([5, 8]), random.normal(gamma)];
      const f = compile((a: Tensor) => matmul(layerNorm(a, g, g), a, { transposeB: true }));
      f(x);
      expect(f.explain()).not.toMatch(/bf16/);
      f.dispose();
    }));
});
