// WGAN-GP on the grid of 25 Gaussians finds all of them, with nine samples in ten within 3σ of one.

import {
  compileGame,
  GaussianGrid,
  generate,
  MlpCritic,
  MlpGenerator,
  modeCoverage,
  PointStream,
  wasserstein,
} from "@figment/gan";
import { Adam, cosineLr, EMA } from "@figment/nn";
import { assertNoLeaks, rng } from "@figment/tensor";
import { afterAll, expect, it } from "vitest";

const seed = 0;
const steps = 10_000;
console.log(`25 Gaussians: seed ${seed}`);
afterAll(() => assertNoLeaks());

it("WGAN-GP covers 25 of 25 Gaussians, 90 % of its samples within 3σ", { timeout: 3_600_000 }, async () => {
  const random = rng(seed);
  const grid = new GaussianGrid().normalised();
  const generator = new MlpGenerator().init(random.fork("generator"));
  const critic = new MlpCritic().init(random.fork("critic"));
  const adam = (updates: number) => ({ lr: cosineLr({ from: 1e-3, steps: updates }), betas: [0.5, 0.9] }) as const;
  const players = {
    generator,
    critic,
    generatorOptimizer: new Adam(generator, adam(steps)),
    criticOptimizer: new Adam(critic, adam(5 * steps)),
    ema: new EMA(generator, { decay: 0.999 }),
    random: random.fork("game"),
  };
  const step = compileGame(players, { objective: wasserstein(), criticSteps: 5, gradientPenalty: 0.1 });
  const draws = random.fork("points");
  for await (const batch of new PointStream(grid, { batchSize: 256, stack: 5, rng: draws })) {
    const results = step(batch);
    // Two steps in flight, and no queue that outgrows them.
    if (step.count % 100 === 0) await results.criticLoss.item();
    if (step.count === steps) break;
  }
  const stream = random.fork("samples");
  const samples = await generate(players.ema.model, { count: 10_000, rng: stream, batchSize: 2_000 });
  const { covered, quality, imbalance } = await modeCoverage(samples, grid);
  console.log(
    `${covered} of 25 Gaussians, ${(100 * quality).toFixed(1)} % of samples within 3σ, imbalance ${imbalance.toFixed(4)} nats`,
  );
  expect(covered).toBe(25);
  expect(quality).toBeGreaterThanOrEqual(0.9);
  for (const owner of [step, ...Object.values(players), draws, stream, samples, random]) owner.dispose();
});
