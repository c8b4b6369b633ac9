// Interpolations, traversals and manifolds: which latents they decode.

import { assertNoLeaks, rng, scope, type Tensor, tensor } from "@figment/tensor";
import { interpolateLatents, latentManifold, normalQuantile, slerp, traverseLatents } from "@figment/vae";
import { afterAll, describe, expect, it } from "vitest";
import { expectClose, tinyVae } from "./support.js";

const random = rng(15);
afterAll(() => {
  random.dispose();
  assertNoLeaks();
});

/** A model whose pictures are its latents. */
const transparent = {
  latents: 2,
  decode: (z: Tensor): Tensor => z.alias(),
  infer: (x: Tensor) => ({ mean: x.alias() }),
};

describe("spherical interpolation", () => {
  it("goes at an even pace along the arc", () =>
    scope(() => {
      const [a, b] = [tensor([[1, 0]]), tensor([[-0.5, Math.sqrt(0.75)]])];
      for (const t of [0, 0.25, 0.5, 1]) {
        const angle = (t * 2 * Math.PI) / 3;
        const [x, y] = slerp(a, b, t).dataSync();
        expect(x).toBeCloseTo(Math.cos(angle), 5);
        expect(y).toBeCloseTo(Math.sin(angle), 5);
      }
    }));

  it("stays on the sphere in many dimensions, where a line would not", () =>
    scope(() => {
      const [a, b] = [random.normal([20, 100]), random.normal([20, 100])];
      const lengths = (x: Tensor): Float32Array => x.square().sum(1).sqrt().dataSync() as Float32Array;
      const [of, from, to] = [lengths(slerp(a, b, 0.5)), lengths(a), lengths(b)];
      for (const [i, length] of of.entries())
        expect(Math.abs(length / ((from[i]! + to[i]!) / 2) - 1)).toBeLessThan(0.05);
    }));

  it("keeps the length of vectors of any size", () =>
    scope(() => {
      for (const size of [1e10, 1e-12]) {
        const [x, y] = slerp(tensor([[size, 0]]), tensor([[size, size]]), 1).dataSync();
        expect([(x as number) / size, (y as number) / size].map((part) => part.toFixed(4))).toEqual([
          "1.0000",
          "1.0000",
        ]);
        const [u, v] = slerp(tensor([[size, 0]]), tensor([[-size * 0.6, size * 0.8]]), 0.5).dataSync();
        expect(Math.hypot(u as number, v as number) / size).toBeCloseTo(1, 4);
      }
    }));

  it("is linear between vectors of one direction or of opposite ones, and finite between zeros", () =>
    scope(() => {
      expect([...slerp(tensor([[1, 2]]), tensor([[-1, -2]]), 0.25).dataSync()]).toEqual([0.5, 1]);
      expect([...slerp(tensor([[1, 2]]), tensor([[3, 6]]), 0.5).dataSync()]).toEqual([2, 4]);
      expect([...slerp(tensor([[0, 0]]), tensor([[0, 0]]), 0.3).dataSync()].every(Number.isFinite)).toBe(true);
    }));

  it("refuses shapes that differ and places beyond the ends", () =>
    scope(() => {
      expect(() => slerp(tensor([[1, 2]]), tensor([[1]]), 0.5)).toThrow(/two tensors \[N, D\]/);
      expect(() => slerp(tensor([[1]]), tensor([[1]]), 1.5)).toThrow(/\[0, 1\]/);
    }));

  it("of images begins and ends at their reconstructions", () => {
    const model = tinyVae();
    scope(() => {
      const [a, b] = [random.uniform([2, 4, 4, 1]), random.uniform([2, 4, 4, 1])];
      const ways = interpolateLatents(model, a, b, { steps: 5 }).reshape([2, 5, 16]);
      const compare = (step: number, image: Tensor): void => {
        const expected = model.reconstruct(image).reshape([2, 16]).dataSync();
        const got = [0, 1].flatMap((i) => [...ways.at(i, step).dataSync()]);
        expectClose(got, expected, 4);
      };
      compare(0, a);
      compare(4, b);
      expect(() => interpolateLatents(model, a, b, { steps: 1 })).toThrow(/≥ 2/);
    });
    model.dispose();
  });
});

describe("traversals", () => {
  it("move one latent at a time and leave the others", () =>
    scope(() => {
      const rows = traverseLatents(transparent, tensor([[7, 8]]), { steps: 3, range: [-1, 1] });
      expect(rows.shape).toEqual([6, 2]);
      expect([...rows.dataSync()]).toEqual([-1, 8, 0, 8, 1, 8, 7, -1, 7, 0, 7, 1]);
      expect(() => traverseLatents(transparent, tensor([[7, 8]]), { dims: [2] })).toThrow(/no latent 2/);
      expect(() => traverseLatents(transparent, tensor([7, 8]))).toThrow(/\[1, D\]/);
    }));
});

describe("the manifold", () => {
  it("lies at the prior's quantiles, the first latent to the right, the second upwards", () =>
    scope(() => {
      const places = [...latentManifold(transparent, { side: 2 }).dataSync()];
      const q = 0.6744898;
      expectClose(places, [-q, q, q, q, -q, -q, q, -q], 5);
      expect(() => latentManifold({ ...transparent, latents: 3 })).toThrow(/2 latents, got 3/);
      expect(() => latentManifold(transparent, { side: 1e6 })).toThrow(/side must be at most 1000, got 1000000/);
    }));

  it("uses quantiles that invert the normal distribution function", () => {
    // Φ⁻¹ at p, from tables.
    const known: readonly [number, number][] = [
      [0.5, 0],
      [0.9, 1.2815515655],
      [0.001, -3.0902323062],
      [1e-9, -5.997807015],
      [1e-14, -7.6506280929],
    ];
    for (const [p, x] of known) expect(Math.abs(normalQuantile(p) - x)).toBeLessThan(2e-7 * Math.max(1, Math.abs(x)));
    expect(() => normalQuantile(1)).toThrow(/\(0, 1\)/);
  });
});
