// The objectives: values and derivatives recorded from PyTorch, and what theory says of them.

import { hinge, leastSquares, minimax, nonSaturating, type Objective, wasserstein } from "@figment/gan";
import { assertNoLeaks, gather, grad, ones, scope, type Tensor, tensor, zeros } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { goldenFile } from "./golden.js";

const golden = goldenFile("losses");
afterAll(() => assertNoLeaks());

const objectives: Readonly<Record<string, Objective>> = {
  minimax: minimax(),
  minimaxSmoothed: minimax({ smoothing: 0.1 }),
  nonSaturating: nonSaturating(),
  nonSaturatingSmoothed: nonSaturating({ smoothing: 0.25 }),
  hinge: hinge(),
  leastSquares: leastSquares(),
  leastSquaresPearson: leastSquares({ fake: -1, real: 1, wanted: 0 }),
  wasserstein: wasserstein(),
};

it("golden vectors were recorded by the script beside them, from PyTorch 2", () => {
  expect(golden.metadata.script_sha256).toBe(golden.scriptHash());
  expect(golden.metadata.torch).toMatch(/^2\./);
});

describe("losses of both players agree with PyTorch", () => {
  it.each(Object.entries(objectives))("%s, with their derivatives", (name, objective) => {
    scope(() => {
      const [real, fake] = [golden.tensor("scores/real"), golden.tensor("scores/fake")];
      golden.expect(objective.critic(real, fake), `${name}/critic`);
      golden.expect(grad((r: Tensor) => objective.critic(r, fake))(real), `${name}/dreal`);
      golden.expect(grad((f: Tensor) => objective.critic(real, f))(fake), `${name}/dfake`);
      golden.expect(objective.generator(fake), `${name}/generator`);
      golden.expect(grad((f: Tensor) => objective.generator(f))(fake), `${name}/dgenerator`);
    });
  });
});

describe("the minimax game on a discrete space", () => {
  const [p, q] = [
    [0.5, 0.25, 0.125, 0.125],
    [0.1, 0.4, 0.3, 0.2],
  ] as const;
  /** Scores as they come when each point is drawn exactly as often as it is probable, in 40 draws. */
  const repeated = (scores: readonly number[], shares: readonly number[]): number[] =>
    shares.flatMap((share, i) => new Array<number>(Math.round(40 * share)).fill(scores[i] as number));
  const value = (scores: readonly number[]): number =>
    scope(
      () =>
        -minimax()
          .critic(tensor(repeated(scores, p)), tensor(repeated(scores, q)))
          .itemSync(),
    );
  const best = p.map((x, i) => Math.log(x / (q[i] as number)));
  const kl = (a: readonly number[], b: readonly number[]): number =>
    a.reduce((sum, x, i) => sum + x * Math.log(x / (b[i] as number)), 0);
  const middle = p.map((x, i) => (x + (q[i] as number)) / 2);

  it("is worth 2·JSD − ln 4 to the best discriminator p/(p + q)", () => {
    const jensenShannon = (kl(p, middle) + kl(q, middle)) / 2;
    expect(value(best)).toBeCloseTo(2 * jensenShannon - Math.log(4), 6);
  });

  it("is worth less to any other", () => {
    for (let i = 0; i < best.length; i++)
      for (const change of [-0.5, -0.05, 0.05, 0.5])
        expect(value(best.map((s, k) => (k === i ? s + change : s)))).toBeLessThan(value(best));
  });

  it("has no slope for the best discriminator", () => {
    scope(() => {
      const drawn = (shares: readonly number[]): Tensor => tensor(repeated([0, 1, 2, 3], shares), { dtype: "i32" });
      const [atReal, atFake] = [drawn(p), drawn(q)];
      const loss = (scores: Tensor): Tensor => minimax().critic(gather(scores, atReal), gather(scores, atFake));
      for (const slope of grad(loss)(tensor(best)).dataSync()) expect(Math.abs(slope)).toBeLessThan(1e-6);
      const worse = grad(loss)(tensor(best.map((score) => score + 0.5))).dataSync();
      for (const slope of worse) expect(slope).toBeGreaterThan(0.01);
    });
  });
});

describe("the generator's slope where the critic is sure", () => {
  const slopeOf = (objective: Objective, score: number): number =>
    scope(() => grad((f: Tensor) => objective.generator(f))(tensor([score])).dataSync()[0] as number);

  it("vanishes in the minimax game and not in the non-saturating one", () => {
    expect(Math.abs(slopeOf(minimax(), -20))).toBeLessThan(1e-8);
    expect(slopeOf(nonSaturating(), -20)).toBeCloseTo(-1, 6);
  });
});

describe("objectives refuse", () => {
  it("feature maps in place of scores, integers, nothing at all", () => {
    for (const objective of Object.values(objectives)) {
      scope(() => {
        const scores = zeros([4, 1]);
        expect(() => objective.generator(zeros([4, 2, 2, 1]))).toThrow(/scores \[N\] or \[N, 1\].*\[4, 2, 2, 1\]/);
        expect(() => objective.critic(scores, zeros([0]))).toThrow(/fake scores/);
        expect(() => objective.critic(ones([4], "i32"), scores)).toThrow(/real scores are i32/);
        expect(() => objective.critic(scores, 3 as unknown as Tensor)).toThrow(/fake scores, got 3/);
      });
    }
  });

  it("constants out of range", () => {
    expect(() => minimax({ smoothing: 1 })).toThrow(/smoothing must be in \[0, 1\), got 1/);
    expect(() => nonSaturating({ smoothing: -0.1 })).toThrow(/smoothing/);
    expect(() => leastSquares({ wanted: Number.NaN })).toThrow(/wanted must be finite/);
  });
});
