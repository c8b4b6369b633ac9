// Parameters in f64: optimisers train them as those in f32, also beside such.

import { Adam, AdamW, compileTraining, Linear, mse, RMSProp, SGD } from "@figment/nn";
import { assertNoLeaks, type DType, type Precision, rng, scope, type Tensor } from "@figment/tensor";
import { afterAll, expect, it } from "vitest";

const seed = 17;
afterAll(() => assertNoLeaks());

const options = { lr: 1e-2, weightDecay: 0.1, groups: [{ select: (path: string) => /bias/.test(path), lrScale: 2 }] };

/** All weights after three updates of two layers in these types. */
function trained(Kind: typeof Adam | typeof SGD, types: readonly DType[], precision: Precision, clipNorm?: number) {
  return scope(() => {
    const random = rng(seed);
    const [first, second] = types.map((dtype) => {
      const layer = new Linear(3, 3).init(random);
      const own = layer.clone({ dtype: dtype as "f64" });
      layer.dispose();
      return own;
    }) as [Linear, Linear];
    const optimizer = new Kind({ first, second }, options);
    const step = compileTraining(
      { first, second, optimizer },
      ({ x }: { x: Tensor }) => {
        const loss = (): Tensor => {
          const middle = first.forward(x.cast(types[0] as DType));
          return mse(second.forward(middle.cast(types[1] as DType)), x.cast(types[1] as DType));
        };
        return { loss: optimizer.minimize(loss, { clipNorm }) };
      },
      { precision },
    );
    const x = random.normal([8, 3]);
    for (let i = 0; i < 3; i++) step({ x });
    const weights = optimizer.parameters.flatMap(({ value }) => [...value.dataSync()]);
    for (const owner of [step, optimizer, first, second, random]) owner.dispose();
    return weights;
  });
}

for (const Kind of [SGD, Adam, AdamW, RMSProp] as (typeof Adam)[])
  it(`${Kind.name} trains parameters in f64 as those in f32, and both together`, () => {
    const single = trained(Kind, ["f32", "f32"], "highest");
    const near = (weights: readonly number[], want: readonly number[]): void => {
      expect(weights).toHaveLength(want.length);
      for (const [i, w] of weights.entries()) expect(Math.abs(w - (want[i] as number))).toBeLessThan(2e-5);
    };
    const double = trained(Kind, ["f64", "f64"], "highest");
    near(double, single);
    near(trained(Kind, ["f64", "f64"], "f16"), single);
    near(trained(Kind, ["f32", "f64"], "highest"), single);
    near(trained(Kind, ["f64", "f64"], "highest", 0.1), trained(Kind, ["f32", "f32"], "highest", 0.1));
    expect(double.some((w) => w !== Math.fround(w))).toBe(true);
  });
