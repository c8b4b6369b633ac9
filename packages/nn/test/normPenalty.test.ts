// Second derivatives of norms and activations: the squared norm of a slope, and its derivatives, against golden vectors
// recorded from PyTorch.

import {
  assertNoLeaks,
  batchNorm,
  biasAct,
  compile,
  grad,
  groupNorm,
  layerNorm,
  rmsNorm,
  scope,
  type Tensor,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { casesOf, expectGolden, golden, namesOf } from "./golden.js";

afterAll(() => assertNoLeaks());

describe("gradient penalties through norms and activations agree with PyTorch", () => {
  const norms: Readonly<Record<string, (x: Tensor, weight: Tensor, bias: Tensor) => Tensor>> = {
    layerNorm,
    rmsNorm: (x, weight) => rmsNorm(x, weight),
    batchNorm: (x, weight, bias) => batchNorm(x, weight, bias).y,
    instanceNorm: (x, weight, bias) => groupNorm(x, weight, bias, { groups: 4 }),
    groupNorm: (x, weight, bias) => groupNorm(x, weight, bias, { groups: 2 }),
    groupNormSilu: (x, weight, bias) => groupNorm(x, weight, bias, { groups: 2, silu: true }),
  };
  const activations = (["leakyRelu", "silu", "gelu", "tanh", "sigmoid"] as const).map(
    (activation) =>
      [
        `biasAct ${activation}`,
        (x: Tensor, _weight: Tensor, bias: Tensor) => biasAct(x, bias, { activation, gain: 1.25, clamp: 2 }),
      ] as const,
  );
  const cases = [...Object.entries(norms), ...activations];

  it("in every recorded case", () => {
    expect(casesOf("normPenalty").sort()).toEqual(cases.map(([name]) => name).sort());
  });

  it.each(cases)("%s, eagerly and compiled", (name, f) => {
    const recorded = namesOf(`normPenalty/${name}`);
    const weights = ["weight", "bias"].filter((weight) => recorded.includes(weight));
    const penaltyOf = (x: Tensor, dy: Tensor, list: readonly Tensor[]): Tensor => {
      const [weight, bias] = ["weight", "bias"].map((key) => list[weights.indexOf(key)] as Tensor);
      return grad((input: Tensor) =>
        f(input, weight as Tensor, bias as Tensor)
          .mul(dy)
          .sum(),
      )(x)
        .square()
        .sum();
    };
    const all = (x: Tensor, dy: Tensor, list: Tensor[]): Tensor[] => [
      penaltyOf(x, dy, list),
      grad((input: Tensor) => penaltyOf(input, dy, list))(x),
      ...list.map((weight, i) => grad((w: Tensor) => penaltyOf(x, dy, list.with(i, w)))(weight)),
    ];
    const compiled = compile(all);
    scope(() => {
      const [x, dy] = [golden(`normPenalty/${name}/x`), golden(`normPenalty/${name}/dy`)];
      const list = weights.map((weight) => golden(`normPenalty/${name}/${weight}`));
      for (const run of [all, compiled]) {
        const results = run(x, dy, list);
        for (const [i, key] of ["value", "dx", ...weights.map((weight) => `d${weight}`)].entries())
          expectGolden(results[i] as Tensor, `normPenalty/${name}/${key}`);
      }
    });
    compiled.dispose();
  });
});
