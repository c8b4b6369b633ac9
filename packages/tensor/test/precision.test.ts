// Precisions "bf16" and "f16": which nodes they round, that derivatives inherit it, and that it belongs to nodes and not to the process.

import {
  assertNoLeaks,
  attention,
  Cell,
  type Compiled,
  compile,
  conv2d,
  grad,
  matmul,
  type Precision,
  remat,
  rng,
  scope,
  select,
  sum,
  type Tensor,
  tensor,
  UsageError,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { withPrecision } from "#core/precision";
import { fromBf16, toBf16 } from "#dtype";

const random = rng(77);
afterAll(() => {
  random.dispose();
  assertNoLeaks();
});

const precision: Precision = "bf16";
/** Formats of the records of an op, copies that bring its operands into order left out. */
const formatsOf = (explained: string, op: string): string[] =>
  explained
    .split("\n")
    .filter((line) => line.startsWith(`${op} `))
    .map((line) => (line.split(/ {2,}/)[2] as string).trim())
    .filter((formats) => formats !== "bf16");
const numbers = (x: Tensor): number[] => [...x.dataSync()];

describe("a function compiled with precision bf16", () => {
  it("multiplies rounded factors and sums in f32: a product equals that of rounded matrices", () =>
    scope(() => {
      // Small enough to stay with one order of sums: larger ones of bf16 are on matrix tiles where there are some.
      const [a, b] = [random.normal([17, 21]), random.normal([21, 9])];
      const product = compile((x: Tensor, y: Tensor) => matmul(x, y), { precision });
      const rounded = (x: Tensor) =>
        tensor(
          Float32Array.from(x.dataSync(), (v) => fromBf16(toBf16(v))),
          { shape: x.shape },
        );
      expect(numbers(product(a, b))).toEqual(numbers(matmul(rounded(a), rounded(b))));
      expect(numbers(product(a, b))).not.toEqual(numbers(matmul(a, b)));
      product.dispose();
    }));

  it("is off by nearly 2⁻⁷ of the product of factors that lie in the middle between two of bf16", () =>
    scope(() => {
      const factor = 1 + 2 ** -8 - 2 ** -23;
      const square = compile((x: Tensor) => matmul(x, x), { precision });
      const off = 1 - (square(tensor([[factor]])).itemSync() as number) / factor ** 2;
      expect(off).toBeLessThanOrEqual(2 ** -7);
      expect(off).toBeGreaterThan(0.99 * 2 ** -7);
      square.dispose();
    }));

  it("runs bf16 kernels in both directions, with f32 biases and results", () =>
    scope(() => {
      const step = compile(
        (x: Tensor, w: Tensor, bias: Tensor) =>
          grad((v: Tensor) => sum(conv2d(conv2d(x, v, { padding: 1 }).add(bias).sigmoid(), v, { padding: 1 })))(w),
        { precision },
      );
      step(random.normal([2, 6, 6, 5]), random.normal([5, 3, 3, 5]), random.normal([5]));
      const text = step.explain();
      expect(formatsOf(text, "conv2d")).toEqual(["bf16×2 f32 → f32"]);
      expect(formatsOf(text, "conv2dInputGrad")).toEqual(["bf16×2 → f32"]);
      expect(formatsOf(text, "conv2dWeightGrad")).toEqual(["bf16×2 → f32", "bf16×2 → f32"]);
      step.dispose();
    }));

  it("rounds queries, keys, values and the cotangent of attention; log-sum-exps stay f32", () =>
    scope(() => {
      const step = compile((q: Tensor, k: Tensor) => grad((x: Tensor) => sum(attention(x, k, k)))(q), { precision });
      step(random.normal([1, 8, 2, 4]), random.normal([1, 8, 2, 4]));
      expect(formatsOf(step.explain(), "attention")).toEqual(["bf16×3 → f32×2"]);
      expect(step.explain()).toMatch(/attentionGrad .* bf16×3 f32×2 bf16 → f32×3/);
      step.dispose();
    }));

  it("rounds a value that several products read once, and stores it as bf16 from the region that makes it", () =>
    scope(() => {
      const twice = compile(
        (x: Tensor, a: Tensor) => {
          const y = x.exp().mul(0.5);
          return [matmul(y, a), matmul(y, a, { transposeB: true })];
        },
        { precision },
      );
      twice(random.normal([4, 4]), random.normal([4, 4]));
      expect(formatsOf(twice.explain(), "exp·mul·cast")).toEqual(["f32 → bf16"]);
      expect(twice.print().match(/bf16\[4,4\] =/g)).toHaveLength(2);
      twice.dispose();
    }));

  it("rounds what lies under a view, so that heads and pixels are reshaped without another copy", () =>
    scope(() => {
      const f = compile((x: Tensor, a: Tensor) => matmul(x.mul(2).reshape([6, 4]), a), { precision });
      f(random.normal([2, 3, 4]), random.normal([4, 5]));
      expect(formatsOf(f.explain(), "mul·cast")).toEqual(["f32 → bf16"]);
      f.dispose();
    }));

  it("compares what it rounds elsewhere as it was, whatever comes first", () =>
    scope(() => {
      const [x, w] = [tensor([[-1e-41, -1, 2, 3]]), random.normal([4, 4])];
      for (const sign of [(y: Tensor) => y.gt(0), (y: Tensor) => select(y.gt(0), y, y.mul(0.2)).gt(0)])
        for (const values of [(y: Tensor) => y, (y: Tensor) => y.neg()]) {
          const first = compile((y: Tensor, v: Tensor) => [sign(values(y)), matmul(values(y), v)], { precision });
          const last = compile((y: Tensor, v: Tensor) => [matmul(values(y), v), sign(values(y))], { precision });
          const want = numbers(sign(values(x)));
          expect(numbers(first(x, w)[0] as Tensor)).toEqual(want);
          expect(numbers(last(x, w)[1] as Tensor)).toEqual(want);
          for (const owner of [first, last]) owner.dispose();
        }
    }));

  it("leaves f64 as it is", () =>
    scope(() => {
      const a = tensor([1 + 2 ** -40, 1], { shape: [1, 2], dtype: "f64" });
      const f = compile((x: Tensor) => matmul(x, x, { transposeB: true }), { precision });
      expect(numbers(f(a))).toEqual(numbers(matmul(a, a, { transposeB: true })));
      f.dispose();
    }));

  it("updates f32 weights", () =>
    scope(() => {
      const weight = new Cell({ shape: [4, 4], name: "weight" });
      weight.setData(Float32Array.from({ length: 16 }, (_, i) => i / 16));
      const step = compile(
        (x: Tensor) => {
          const slope = grad((w: Tensor) => sum(matmul(x, w).sin()))(weight.value);
          weight.set(weight.value.sub(slope.mul(2 ** -20)));
        },
        { precision },
      );
      const before = numbers(weight.value);
      step(random.normal([3, 4]));
      const moved = numbers(weight.value).filter((w, i) => w !== before[i]);
      expect(moved.length).toBeGreaterThan(0);
      expect(moved.some((w) => fromBf16(toBf16(w)) !== w)).toBe(true);
      step.dispose();
      weight.dispose();
    }));
});

describe("precision belongs to nodes", () => {
  it("so that a function compiled without it is not rounded after one that was", () =>
    scope(() => {
      const [a, b] = [random.normal([8, 8]), random.normal([8, 8])];
      const exact = numbers(matmul(a, b));
      const rough = compile((x: Tensor, y: Tensor) => matmul(x, y), { precision });
      const plain = compile((x: Tensor, y: Tensor) => matmul(x, y));
      expect(numbers(rough(a, b))).not.toEqual(exact);
      expect(numbers(plain(a, b))).toEqual(exact);
      expect(numbers(matmul(a, b))).toEqual(exact);
      rough.dispose();
      plain.dispose();
    }));

  it("and comes along when the function is called in another one", () =>
    scope(() => {
      const inner = compile((x: Tensor) => matmul(x, x), { precision });
      const outer = compile((x: Tensor) => [inner(x), matmul(x, x)]);
      outer(random.normal([4, 4]));
      expect(formatsOf(outer.explain(), "matmul").sort()).toEqual(["bf16×2 → f32", "f32"]);
      inner.dispose();
      outer.dispose();
    }));

  it("and holds for derivatives that are taken later, outside", () =>
    scope(() => {
      const [a, b] = [random.normal([5, 6]), random.normal([6, 7])];
      const rough = compile((x: Tensor) => matmul(x, b), { precision });
      const within = compile((x: Tensor) => grad((y: Tensor) => sum(matmul(y, b).sin()))(x), { precision });
      expect(numbers(grad((x: Tensor) => sum(rough(x).sin()))(a))).toEqual(numbers(within(a)));
      rough.dispose();
      within.dispose();
    }));

  it("and is handed to derivatives: those of exact products inside a rounded function are exact", () =>
    scope(() => {
      const exact = compile((x: Tensor) => matmul(x, x), { precision: "highest" });
      const outer = compile((x: Tensor) => grad((y: Tensor) => sum(exact(y).sin()))(x), { precision });
      outer(random.normal([4, 4]));
      expect(formatsOf(outer.explain(), "matmul")).toEqual(["f32", "f32", "f32"]);
      exact.dispose();
      outer.dispose();
    }));

  it("and reaches derivatives of rematerialised parts taken outside", () =>
    scope(() => {
      const [x, w] = [random.normal([3, 8]), random.normal([8, 4])];
      const inner = compile((y: Tensor) => matmul(y, w).sin(), { precision });
      const again = compile((y: Tensor) => remat((z: Tensor) => matmul(z, w).sin())(y), { precision });
      const [a, b] = [inner, again].map((f) => grad((y: Tensor) => sum(f(y)))(x).dataSync());
      expect(b).toEqual(a);
      inner.dispose();
      again.dispose();
    }));

  it("and gives what the compiled function gives when the same code runs eagerly", () =>
    scope(() => {
      const [x, w] = [random.normal([2, 5, 5, 3]), random.normal([4, 3, 3, 3])];
      const f = compile(() => conv2d(x, w), { precision });
      expect(numbers(withPrecision(precision, () => conv2d(x, w)))).toEqual(numbers(f()));
      f.dispose();
    }));

  it("and is refused when it is unknown", () => {
    expect(() => compile((x: Tensor) => x, { precision: "f8" as Precision })).toThrow(UsageError);
    expect(() => compile((x: Tensor) => x, { precision: "f8" as Precision })).toThrow(
      /precision must be one of "highest", "fast", "bf16", "f16", "tf32", got "f8"$/,
    );
  });
});

describe("precision f16", () => {
  it("multiplies factors rounded to f16 and sums in f32: a product equals that of rounded matrices", () =>
    scope(() => {
      const [a, b] = [random.normal([17, 33]), random.normal([33, 9])];
      const product = compile((x: Tensor, y: Tensor) => matmul(x, y), { precision: "f16" });
      const rounded = (x: Tensor) => x.cast("f16").cast("f32");
      expect(numbers(product(a, b))).toEqual(numbers(matmul(rounded(a), rounded(b))));
      expect(numbers(product(a, b))).not.toEqual(numbers(matmul(a, b)));
      product.dispose();
    }));

  it("runs f16 kernels in both directions, with f32 biases and results", () =>
    scope(() => {
      const step = compile(
        (x: Tensor, w: Tensor, bias: Tensor) =>
          grad((v: Tensor) => {
            const pixels = conv2d(conv2d(x, v, { padding: 1 }).add(bias).sigmoid(), v, { padding: 1 });
            const heads = pixels.reshape([2, 36, 1, 5]);
            return sum(attention(heads, heads, heads));
          })(w),
        { precision: "f16" },
      );
      step(random.normal([2, 6, 6, 5]), random.normal([5, 3, 3, 5]), random.normal([5]));
      const text = step.explain();
      expect(formatsOf(text, "conv2d")).toContain("f16×2 f32 → f32");
      expect(formatsOf(text, "conv2dInputGrad")).toEqual(["f16×2 → f32"]);
      expect(formatsOf(text, "conv2dWeightGrad")).toEqual(["f16×2 → f32", "f16×2 → f32"]);
      expect(formatsOf(text, "attention")).toContain("f16×3 → f32×2");
      expect(text).toMatch(/attentionGrad .* f16×3 f32×2 f16 → f32×3/);
      expect(text).not.toContain("bf16");
      step.dispose();
    }));

  it("and bf16 in one program each round a value for themselves", () =>
    scope(() => {
      const [a, b] = [random.normal([6, 6]), random.normal([6, 6])];
      const [half, brain] = (["f16", "bf16"] as const).map((asked) =>
        compile((x: Tensor, y: Tensor) => matmul(x, y), { precision: asked }),
      ) as [Compiled<[Tensor, Tensor], Tensor>, Compiled<[Tensor, Tensor], Tensor>];
      const both = compile((x: Tensor, y: Tensor) => [half(x, y), brain(x, y)]);
      expect(both(a, b).map(numbers)).toEqual([half(a, b), brain(a, b)].map(numbers));
      for (const f of [half, brain, both]) f.dispose();
    }));

  it("makes factors beyond f16's numbers infinite", () =>
    scope(() => {
      const f = compile((x: Tensor) => matmul(x, tensor([[1]])), { precision: "f16" });
      expect(numbers(f(tensor([[65519], [65520]])))).toEqual([65504, Number.POSITIVE_INFINITY]);
      f.dispose();
    }));
});

describe("precision tf32 on CPUs", () => {
  it("computes in f32: products give the numbers of highest", () =>
    scope(() => {
      const [x, w] = [random.normal([2, 6, 6, 5]), random.normal([5, 3, 3, 5])];
      const loss = (v: Tensor): Tensor =>
        sum(
          conv2d(conv2d(x, v), v)
            .reshape([8, 5])
            .matmul(v.reshape([5, 45]))
            .sin(),
        );
      const [rough, exact] = (["tf32", "highest"] as const).map((asked) => {
        const slope = compile((v: Tensor) => grad(loss)(v), { precision: asked });
        const got = numbers(slope(w));
        expect(slope.explain()).not.toContain("tf32");
        slope.dispose();
        return got;
      });
      expect(rough).toEqual(exact);
    }));

  it("takes factors of other types as they are", () =>
    scope(() => {
      const a = tensor([1 + 2 ** -40, 1], { shape: [1, 2], dtype: "f64" });
      const f = compile((x: Tensor) => matmul(x, x, { transposeB: true }), { precision: "tf32" });
      expect(numbers(f(a))).toEqual(numbers(matmul(a, a, { transposeB: true })));
      f.dispose();
    }));
});
