// What only products read, products, norms and softmax store in bf16 themselves, and what lies in bf16 they read so: no
// casts stand between them.

import {
  assertNoLeaks,
  attention,
  batchNorm,
  Cell,
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

  it("of a norm's derivative is stored as bf16 where nothing but products before the norm read it", () =>
    scope(() => {
      const [x, g, w] = [random.normal([2, 6, 6, 8]), random.normal(gamma), random.normal([8, 3, 3, 8])];
      const cells = [w, g].map((value) => {
        const cell = new Cell({ shape: value.shape, name: "parameter" });
        cell.set(value);
        return cell;
      });
      const [weight, bias] = cells as [Cell, Cell];
      const step = (wrt: readonly Cell[]) =>
        compile(
          (a: Tensor) => {
            const loss = () => sum(batchNorm(conv2d(a, weight.value, { padding: 1 }).add(bias.value), g, g).y.sin());
            const slopes = grad(loss, { wrt })();
            return wrt.map((cell) => slopes.get(cell) as Tensor);
          },
          { precision },
        );
      const [alone, summed] = [step([weight]), step([weight, bias])];
      const [[got], [want]] = [alone(x), summed(x)];
      expect(line(alone.explain(), "batchNormGrad")).toMatch(/ f32×6 → bf16 f32×2 /);
      // What sums over biases read stays f32.
      expect(line(summed.explain(), "batchNormGrad")).not.toMatch(/bf16/);
      expect([...(got as Tensor).dataSync()]).toEqual([...(want as Tensor).dataSync()]);
      for (const owner of [alone, summed, ...cells]) owner.dispose();
    }));

  it("keeps its type where nothing rounds it", () =>
    scope(() => {
      const [x, g] = [random.normal([5, 8]), random.normal(gamma)];
      const f = compile((a: Tensor) => matmul(layerNorm(a, g, g), a, { transposeB: true }));
      f(x);
      expect(f.explain()).not.toMatch(/bf16/);
      f.dispose();
    }));

  it("of products and attention is stored as bf16 by its kernel, heads in between", () =>
    scope(() => {
      const [x, w] = [random.normal([2, 6, 8]), random.normal([8, 8]).cast("bf16")];
      const heads = (a: Tensor) => matmul(a, w.cast("f32")).reshape([2, 6, 2, 4]);
      const attend = (a: Tensor) =>
        matmul(attention(heads(a), heads(a.mul(2)), heads(a.mul(3))).reshape([2, 6, 8]), w.cast("f32"));
      const f = compile(attend, { precision });
      const shared = compile(
        (a: Tensor) => {
          const [q, k, v] = [heads(a), heads(a.mul(2)), heads(a.mul(3))] as const;
          const y = attention(q, k, v);
          return [matmul(y.reshape([2, 6, 8]), w.cast("f32")), q, k, v, y];
        },
        { precision },
      );
      const got = f(x);
      const [want] = shared(x) as Tensor[];
      const text = f.explain();
      expect(text.match(/^matmul .* bf16 /gm)).toHaveLength(3);
      expect(text.match(/^matmul .* bf16×2 → f32 /gm)).toHaveLength(1);
      expect(line(text, "attention")).toMatch(/ bf16×3 → bf16 f32 /);
      expect(shared.explain().match(/^matmul .* bf16×2 → f32 /gm)).toHaveLength(4);
      expect([...got.dataSync()]).toEqual([...(want as Tensor).dataSync()]);
      f.dispose();
      shared.dispose();
    }));
});

describe("biases and the vectors of norms that are stored in bf16", () => {
  it.each([undefined, precision] as const)(
    "are read so at precision %s, with the bits of a cast of their own",
    (asked) =>
      scope(() => {
        const cells = ["w", "bias", "gamma"].map((name, i) => {
          const cell = new Cell({ shape: i === 0 ? [8, 8] : [8], dtype: "bf16", name });
          cell.set(random.normal(cell.shape).cast("bf16"));
          return cell;
        }) as [Cell, Cell, Cell];
        const network = (x: Tensor, [w, bias, gamma]: readonly [Tensor, Tensor, Tensor]): Tensor => {
          const product = matmul(x, w).add(bias);
          return rmsNorm(layerNorm(groupNorm(product, gamma, bias, { groups: 2 }), gamma, bias), gamma);
        };
        const f = compile(
          (x: Tensor) => network(x, cells.map((cell) => cell.value.cast("f32")) as [Tensor, Tensor, Tensor]),
          {
            precision: asked,
          },
        );
        const g = compile((x: Tensor, w: Tensor, b: Tensor, c: Tensor) => network(x, [w, b, c]), { precision: asked });
        const x = random.normal([3, 5, 8]);
        const [got, want] = [f(x), g(x, ...(cells.map((cell) => cell.value.cast("f32")) as [Tensor, Tensor, Tensor]))];
        const text = f.explain();
        expect(line(text, "groupNorm")).toMatch(/ f32 bf16×2 → f32×3 /);
        expect(line(text, "layerNorm")).toMatch(/ f32 bf16×2 → f32×3 /);
        expect(line(text, "rmsNorm")).toMatch(/ f32 bf16 → f32×2 /);
        expect(line(text, "matmul")).toMatch(asked ? / bf16×3 → f32 / : / f32×2 bf16 → f32 /);
        expect(text.match(/^cast /gm)).toHaveLength(1);
        expect([...got.dataSync()]).toEqual([...want.dataSync()]);
        f.dispose();
        g.dispose();
        for (const cell of cells) cell.dispose();
      }),
  );
});
