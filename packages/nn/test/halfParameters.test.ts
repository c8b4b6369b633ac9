// Parameters in bf16 and f16: how they are drawn, cloned and loaded, and that layers compute in the type of their input.

import {
  Adam,
  BatchNorm,
  Conv2d,
  ConvTranspose2d,
  EMA,
  Embedding,
  GroupNorm,
  InstanceNorm,
  LayerNorm,
  Linear,
  Module,
  normalInit,
  Parameter,
  ResidualBlock,
  RMSNorm,
  SelfAttention2d,
  Sequential,
  SpectralNorm,
} from "@figment/nn";
import {
  assertNoLeaks,
  type Cell,
  compile,
  DTypeError,
  rng,
  scope,
  type Tensor,
  tensor,
  UsageError,
  zeros,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

const seed = 7;
console.log(`tests of 16-bit parameters: seed ${seed}`);
afterAll(() => assertNoLeaks());

const values = (cell: Cell): number[] => scope(() => [...cell.value.dataSync()]);

describe("parameters of 16 bits", () => {
  /** Every kind of layer that multiplies by weights, one after the other. */
  class Mixed extends Module {
    readonly first = new Conv2d(2, 4, 3, { padding: 1 });
    readonly norms = [new GroupNorm(2, 4), new BatchNorm(4), new InstanceNorm(4, { affine: true })];
    readonly up = new ConvTranspose2d(4, 4, 2, { stride: 2 });
    readonly block = new ResidualBlock(4, { timeDim: 8, groups: 2 });
    readonly attention = new SelfAttention2d(4);
    readonly rows = [new LayerNorm(4), new RMSNorm(4), new SpectralNorm(new Linear(4, 4))];
    readonly labels = new Embedding(3, 8);
    forward(x: Tensor, label: Tensor): Tensor {
      const h = this.norms.reduce<Tensor>((y, norm) => norm.forward(y), this.first.forward(x));
      const y = this.attention.forward(this.block.forward(this.up.forward(h), this.labels.forward(label)));
      return this.rows.reduce<Tensor>((z, layer) => layer.forward(z), y);
    }
  }

  /** A clone in bf16, in place of the original. */
  const halved = <M extends Module>(model: M): M => {
    const small = model.clone({ dtype: "bf16" });
    model.dispose();
    return small;
  };

  it.each(["bf16", "f16"] as const)("are drawn in f32 and rounded to %s, by init and by clone alike", (dtype) => {
    const wide = new Parameter({ shape: [5, 7], init: normalInit(1) });
    const narrow = new Parameter({ shape: [5, 7], init: normalInit(1), dtype });
    const holders = [wide, narrow].map((weight) =>
      new (class Holder extends Module {
        readonly weight = weight;
      })().init(rng(seed)),
    );
    const clone = (holders[0] as Module).clone({ dtype });
    const rounded = scope(() => [...wide.value.cast(dtype).dataSync()]);
    expect(values(narrow)).toEqual(rounded);
    expect(values(clone.parameters()[0] as Cell)).toEqual(rounded);
    expect(values(narrow)).not.toEqual(values(wide));
    for (const holder of [...holders, clone]) holder.dispose();
  });

  it.each(["bf16", "f16"] as const)(
    "make %s the same function of f32 and of their own type, eagerly and compiled",
    (dtype) => {
      const model = new Mixed().init(rng(seed)).eval();
      const small = model.clone({ dtype });
      expect(small.parameters().every((parameter) => parameter.dtype === dtype)).toBe(true);
      // What rounded weights compute, in f32.
      const exact = model.clone();
      scope(() =>
        exact.loadStateDict(
          Object.fromEntries(Object.entries(small.stateDict()).map(([path, { value }]) => [path, value])),
        ),
      );
      const compiled = compile((net: Mixed, x: Tensor, label: Tensor) => net.forward(x, label));
      const random = rng(seed);
      scope(() => {
        const [x, label] = [random.normal([2, 4, 4, 2]), tensor(Int32Array.of(0, 2))];
        const wanted = [...exact.forward(x, label).dataSync()];
        const largest = Math.max(...wanted.map(Math.abs));
        const far = (y: Tensor): number =>
          Math.max(...[...y.dataSync()].map((value, i) => Math.abs(value - (wanted[i] as number)))) / largest;
        for (const y of [small.forward(x, label), compiled(small, x, label)]) {
          expect(y.dtype).toBe("f32");
          expect(far(y)).toBeLessThan(1e-5);
        }
        for (const y of [small.forward(x.cast(dtype), label), compiled(small, x.cast(dtype), label)]) {
          expect(y.dtype).toBe(dtype);
          expect(far(y)).toBeLessThan(dtype === "bf16" ? 0.1 : 0.02);
        }
      });
      for (const owner of [model, small, exact, compiled, random]) owner.dispose();
    },
  );

  it("are loaded from f32 and back, rounded once", () => {
    const [wide, small] = [new Linear(3, 2).init(rng(seed)), halved(new Linear(3, 2).init(rng(1)))];
    const state = ({ weight, bias }: Linear): Record<string, Tensor> => ({
      weight: weight.value,
      bias: (bias as Cell).value,
    });
    scope(() => small.loadStateDict(state(wide)));
    const rounded = scope(() => [...wide.weight.value.cast("bf16").dataSync()]);
    expect(values(small.weight)).toEqual(rounded);
    scope(() => wide.restoreState({ tensors: state(small), json: null }));
    expect(values(wide.weight)).toEqual(rounded);
    for (const owner of [wide, small]) owner.dispose();
  });

  it("reach products of precision bf16 as they are stored, weights and biases", () => {
    const small = halved(new Sequential(new Linear(64, 64), new Linear(64, 64)).init(rng(seed)));
    const run = compile((x: Tensor) => small.forward(x), { precision: "bf16" });
    scope(() => void run(zeros([8, 64])));
    expect(run.explain()).toMatch(/^matmul .* bf16×3 → f32/m);
    expect(run.explain()).not.toMatch(/\[64, 64\] → \[64, 64\]/);
    for (const owner of [small, run]) owner.dispose();
  });

  it("are refused by optimisers and averages, where these are made", () => {
    const small = halved(new Linear(3, 2).init(rng(seed)));
    expect(() => new Adam(small)).toThrow(DTypeError);
    expect(() => new EMA(small)).toThrow(DTypeError);
    expect(() => new Adam(small)).toThrow(/weight is bf16.*f32 and f64/);
    expect(() => small.clone({ dtype: "i32" as "f32" })).toThrow(UsageError);
    small.dispose();
  });
});
