// Program 2 of the public surface: a WGAN-GP step (Gulrajani et al. 2017) as one native call that does what the same
// step does operation by operation.

import { loadBinding } from "@figment/native";
import {
  AdamW,
  assertNoLeaks,
  Conv2d,
  compile,
  EMA,
  grad,
  isTracing,
  Linear,
  leakyRelu,
  lerp,
  Module,
  mean,
  neg,
  norm,
  rng,
  scope,
  square,
  sub,
  sum,
  type Tensor,
  Upsample,
} from "figment";
import { afterAll, describe, expect, it, vi } from "vitest";
import { wganGpStep } from "./api/program2.ts";

afterAll(() => assertNoLeaks());

/** [N,128] → [N,28,28,1]. */
class Generator extends Module {
  readonly input = new Linear(128, 7 * 7 * 8);
  readonly up = [new Upsample(8), new Upsample(8)];
  readonly output = new Conv2d(8, 1, 3, { padding: 1 });

  forward(z: Tensor): Tensor {
    const start = leakyRelu(this.input.forward(z)).reshape([z.dim(0), 7, 7, 8]);
    return this.output.forward(this.up.reduce((h, up) => leakyRelu(up.forward(h)), start)).tanh();
  }
}

/** [N,28,28,1] → [N,1]. */
class Critic extends Module {
  readonly down = [new Conv2d(1, 8, 3, { stride: 2, padding: 1 }), new Conv2d(8, 16, 3, { stride: 2, padding: 1 })];
  readonly output = new Linear(7 * 7 * 16, 1);

  forward(x: Tensor): Tensor {
    const features = this.down.reduce((h, conv) => leakyRelu(conv.forward(h)), x);
    return this.output.forward(features.reshape([x.dim(0), 7 * 7 * 16]));
  }
}

/** Everything that a step works on, the same at each call. */
function worldOf() {
  const random = rng(3);
  const G = new Generator().init(random.fork("G"));
  const D = new Critic().init(random.fork("D"));
  const options = { lr: 2e-3, betas: [0, 0.9] } as const;
  const [optG, optD] = [new AdamW(G, options), new AdamW(D, options)];
  return { G, D, optG, optD, ema: new EMA(G, { decay: 0.9 }), random };
}
type World = ReturnType<typeof worldOf>;

/** The cells of a world by name, as numbers. */
function contentsOf({ G, D, optG, optD, ema, random }: World): Record<string, number[]> {
  const parts = { G, D, optG, optD, ema, random };
  return scope(() =>
    Object.fromEntries(
      Object.entries(parts).flatMap(([part, owner]) =>
        Object.entries(owner.captureState().cells).map(([path, cell]) => [
          `${part}.${path}`,
          [...(cell.value.dataSync() as Float32Array)],
        ]),
      ),
    ),
  );
}

/** Program 2 with a JavaScript loop in place of `repeat`. */
function unrolledStep({ G, D, optG, optD, ema, random }: World, reals: Tensor): { loss: Tensor } {
  for (let i = 0; i < 5; i++) {
    const update = () =>
      optD.minimize(() => {
        const fake = G.forward(random.normal([64, 128]));
        const mix = lerp(fake, reals.at(i), random.uniform([64, 1, 1, 1]));
        const slope = norm(grad((x: Tensor) => sum(D.forward(x)))(mix), [1, 2, 3]);
        const penalty = mean(square(sub(slope, 1)));
        return mean(D.forward(fake))
          .sub(mean(D.forward(reals.at(i))))
          .add(penalty.mul(10));
      });
    if (isTracing()) update();
    else scope(update).dispose();
  }
  const loss = optG.minimize(() => neg(mean(D.forward(G.forward(random.normal([64, 128]))))));
  ema.update();
  return { loss };
}

describe("program 2 of the public surface", () => {
  const worlds = [worldOf(), worldOf(), worldOf()] as const;
  const [looped, unrolled, eager] = worlds;
  const { G, D, optG, optD, ema, random } = looped;
  const steps = [
    wganGpStep(G, D, optG, optD, ema, random),
    compile((reals: Tensor) => unrolledStep(unrolled, reals)),
    (reals: Tensor) => unrolledStep(eager, reals),
  ] as const;
  const data = rng(8);
  const losses: number[][] = [];
  let calls = 0;
  for (let k = 0; k < 2; k++) {
    const reals = data.uniform([5, 64, 28, 28, 1]);
    const run = vi.spyOn(loadBinding(), "run");
    const first = steps[0](reals).loss;
    calls = run.mock.calls.length;
    run.mockRestore();
    const rest = steps.slice(1).map((step) => step(reals).loss);
    losses.push(
      [first, ...rest].map((loss) => {
        const value = loss.itemSync();
        loss.dispose();
        return value;
      }),
    );
    reals.dispose();
  }
  const contents = worlds.map(contentsOf);
  const explanation = steps[0].explain();
  const { traces } = steps[0].stats;
  for (const step of steps.slice(0, 2)) (step as (typeof steps)[0]).dispose();
  for (const owner of [...worlds.flatMap((world) => Object.values(world)), data]) owner.dispose();

  it("makes five critic updates and one generator update in one native call", () => {
    expect(calls).toBe(1);
    expect(traces).toBe(1);
    expect(explanation).toMatch(/^repeat ×5/m);
    expect(contents[0]?.["optD.step"]).toEqual([10]);
    expect(contents[0]?.["optG.step"]).toEqual([2]);
  });

  it("equals the compiled step without the loop, bit for bit", () => {
    for (const [loop, plain] of losses) expect(loop).toBe(plain);
    expect(contents[0]).toEqual(contents[1]);
  });

  it("equals eager execution within rounding", () => {
    for (const [loop, , plain] of losses) expect(Math.abs((loop as number) - (plain as number))).toBeLessThan(1e-5);
    for (const [name, values] of Object.entries(contents[2] ?? {})) {
      const errors = values.map((value, i) => Math.abs(value - (contents[0]?.[name]?.[i] ?? Number.NaN)));
      expect(
        errors.reduce((worst, error) => Math.max(worst, error), 0),
        name,
      ).toBeLessThan(1e-4);
    }
  });
});
