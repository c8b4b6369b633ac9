// The game: one alternating step, compiled, is the same step operation by operation; what each rule does to the players.

import {
  compileGame,
  DcganCritic,
  type DcganCriticOptions,
  DcganGenerator,
  Game,
  type GameRules,
  type GameStep,
  hinge,
  MlpCritic,
  MlpGenerator,
  nonSaturating,
  type Players,
  r1Penalty,
  wasserstein,
} from "@figment/gan";
import { loadBinding } from "@figment/native";
import { Adam, EMA, RMSProp, SGD } from "@figment/nn";
import { assertNoLeaks, memory, rng, scope, type Tensor, tensor, valueAndGrad } from "@figment/tensor";
import { afterAll, describe, expect, it, vi } from "vitest";
import { contents, distance } from "./support.js";

const seed = 11;
console.log(`game: seed ${seed}`);
afterAll(() => assertNoLeaks());

interface World extends Players {
  readonly ema: EMA<DcganGenerator>;
}

/** Small players of images, the same at each call. */
function worldOf(critic: DcganCriticOptions, rate = 1e-3): World {
  const random = rng(seed);
  const classes = critic.classes ?? 0;
  const generator = new DcganGenerator({ latents: 6, imageSize: 8, channels: [6, 4], classes }).init(random.fork("G"));
  const network = new DcganCritic({ imageSize: 8, channels: [4, 6], ...critic }).init(random.fork("D"));
  return {
    generator,
    critic: network,
    generatorOptimizer: new Adam(generator, { lr: rate, betas: [0.5, 0.9] }),
    criticOptimizer: new Adam(network, { lr: 2 * rate, betas: [0.5, 0.9] }),
    ema: new EMA(generator, { decay: 0.9 }),
    random,
  };
}

/** Everything that a game changes. */
const stateOf = (world: World): Record<string, number[]> =>
  Object.fromEntries(
    Object.entries(world).flatMap(([part, owner]) =>
      Object.entries(contents(owner)).map(([path, values]) => [`${part}.${path}`, values]),
    ),
  );

const dispose = (...owners: readonly { dispose(): void }[]): void => {
  for (const owner of owners) owner.dispose();
};

const variants: Readonly<Record<string, readonly [critic: DcganCriticOptions, rules: GameRules]>> = {
  "DCGAN with batch norm": [{ norm: "batch" }, { objective: nonSaturating({ smoothing: 0.1 }) }],
  "hinge with spectral norm and projection": [
    { norm: "spectral", classes: 3 },
    { objective: hinge(), criticSteps: 2 },
  ],
  "WGAN with clipped weights": [{ norm: "batch" }, { objective: wasserstein(), criticSteps: 3, clipWeights: 0.05 }],
  "WGAN-GP with layer norm and a label channel": [
    { norm: "layer", classes: 3, condition: "channel" },
    { objective: wasserstein(), criticSteps: 3, gradientPenalty: 10 },
  ],
  "lazy R1 with minibatch standard deviation": [
    { norm: "none", minibatchStd: true },
    { objective: nonSaturating(), r1: { gamma: 2, every: 3 } },
  ],
  "lazy R1 with several of the critic's updates": [
    { norm: "none" },
    { objective: nonSaturating(), criticSteps: 2, r1: { gamma: 2, every: 2 } },
  ],
  "an auxiliary classifier": [
    { norm: "spectral", classes: 3, condition: "auxiliary" },
    { objective: hinge(), auxiliary: 0.5 },
  ],
};

describe.each(Object.entries(variants))("the compiled step: %s", (_name, [critic, rules]) => {
  const [compiled, eager] = [worldOf(critic), worldOf(critic)];
  const [step, game] = [compileGame(compiled, rules), new Game(eager, rules)];
  const data = rng(8);
  const calls: number[] = [];
  const results: Record<string, number>[][] = [];
  for (let k = 0; k < 2; k++) {
    scope(() => {
      const leading = step.criticUpdates === 1 ? [8] : [step.criticUpdates, 8];
      const image = data.normal([...leading, 8, 8, 1]).tanh();
      const batch = { image, label: data.randint(leading, 0, 3) };
      const run = vi.spyOn(loadBinding(), "run");
      const first = step(batch);
      calls.push(run.mock.calls.length);
      run.mockRestore();
      const read = (losses: Readonly<Record<string, Tensor>>): Record<string, number> =>
        Object.fromEntries(Object.entries(losses).map(([name, loss]) => [name, loss.itemSync()]));
      results.push([read(first), read(game.update(batch))]);
    });
  }
  const [a, b] = [stateOf(compiled), stateOf(eager)];
  const { traces } = step.stats;
  const { count } = step;
  dispose(step, game, ...Object.values(compiled), ...Object.values(eager), data);

  it("is one native call, traced once", () => {
    expect(calls).toEqual([1, 1]);
    expect(traces).toBe(1);
    expect(count).toBe(2);
  });

  it("equals the eager step within rounding: networks, statistics, moments, average and stream", () => {
    expect(Object.keys(a)).toEqual(Object.keys(b));
    expect(distance(a, b)).toBeLessThan(2e-4);
    for (const [x, y] of results as [Record<string, number>, Record<string, number>][]) {
      expect(Object.keys(x)).toEqual(Object.keys(y));
      for (const [name, value] of Object.entries(x)) expect(value, name).toBeCloseTo(y[name] as number, 4);
    }
  });

  it("makes as many updates of each player as the rules say", () => {
    const rounds = rules.r1?.every ?? 1;
    expect(a["generatorOptimizer.step"]).toEqual([2 * rounds]);
    expect(a["criticOptimizer.step"]).toEqual([2 * rounds * (rules.criticSteps ?? 1)]);
    expect(a["ema.updates"]).toEqual([2 * rounds]);
  });

  if (rules.clipWeights !== undefined)
    it("leaves the critic's weights in range", () => {
      const bound = Math.fround(rules.clipWeights as number);
      const weights = Object.entries(a).filter(([path]) => path.startsWith("critic.") && !path.includes("running"));
      for (const [path, values] of weights)
        for (const value of values) expect(Math.abs(value), path).toBeLessThanOrEqual(bound);
      expect(weights.flatMap(([, values]) => values).some((value) => Math.abs(value) === bound)).toBe(true);
    });
});

describe("lazy R1", () => {
  it("pulls as hard over its period as R1 in every round does", () => {
    // Where the players stand still but for R1, the sum of its gradients is what a period moves the critic by.
    const gamma = 3;
    const every = 4;
    const random = rng(seed);
    const critic = new MlpCritic({ hidden: [6] }).init(random);
    const images = Array.from({ length: every }, () => random.normal([32, 2]));
    scope(() => {
      const gradientOf = (x: Tensor, weight: number): number[] => {
        const { grads } = valueAndGrad(() => r1Penalty((y) => critic.forward(y), x).mul(weight), { wrt: critic })();
        return critic.parameters().flatMap((parameter) => [...grads.get(parameter).dataSync()].map(Number));
      };
      const eager = images
        .map((x) => gradientOf(x, gamma))
        .reduce((sum, g) => g.map((value, i) => value + (sum[i] as number)));
      // Asked for once, at a batch drawn from those of the period: the mean over the choice.
      const lazy = images
        .map((x) => gradientOf(x, gamma * every))
        .reduce((sum, g) => g.map((value, i) => value + (sum[i] as number)))
        .map((value) => value / every);
      lazy.forEach((value, i) => {
        expect(value).toBeCloseTo(eager[i] as number, 4);
      });
    });
    dispose(critic, random, ...images);
  });

  it("is asked for in the last round of a call, with `every` times the weight", () => {
    const penaltyOf = (every: number): number => {
      const random = rng(seed);
      const [generator, critic] = [
        new MlpGenerator({ hidden: [4] }).init(random.fork("G")),
        new MlpCritic({ hidden: [4] }).init(random.fork("D")),
      ];
      // Players of rate 0 stand still, so that only the weight differs.
      const [generatorOptimizer, criticOptimizer] = [new SGD(generator, { lr: 0 }), new SGD(critic, { lr: 0 })];
      const players = { generator, critic, generatorOptimizer, criticOptimizer, random };
      const step = compileGame(players, { objective: nonSaturating(), r1: { gamma: 2, every } });
      const value = scope(() => {
        const x = tensor([1, 2, -1, 0, 3, 1, 0.5, -2], { shape: [4, 2] });
        const image = every === 1 ? x : x.reshape([1, 4, 2]).broadcastTo([every, 4, 2]);
        return (step({ image }).penalty as Tensor).itemSync();
      });
      dispose(step, generator, critic, generatorOptimizer, criticOptimizer, random);
      return value;
    };
    expect(penaltyOf(1)).toBeGreaterThan(0);
    expect(penaltyOf(4) / penaltyOf(1)).toBeCloseTo(4, 5);
  });
});

describe("players", () => {
  it("leave each other alone: the critic's loss moves no generator, the generator's no critic", () => {
    const still = { generator: worldOf({}), critic: worldOf({}) };
    const movedBy = (world: World, player: "generator" | "critic"): boolean => {
      world[`${player}Optimizer`].setLearningRate(0);
      const weights = (): Record<string, number[]> =>
        Object.fromEntries(Object.entries(contents(world[player])).filter(([path]) => !path.includes("running")));
      const before = weights();
      const step = compileGame(world, { objective: nonSaturating() });
      scope(() => step({ image: world.random.normal([8, 8, 8, 1]).tanh() }));
      step.dispose();
      return distance(before, weights()) > 0;
    };
    for (const player of ["generator", "critic"] as const) {
      expect(movedBy(still[player], player)).toBe(false);
      dispose(...Object.values(still[player]));
    }
  });

  it("each scale their own loss at precision f16, in loops of the critic's updates too", () => {
    const world = worldOf({ norm: "layer" });
    const rules = { objective: wasserstein(), criticSteps: 2, gradientPenalty: 10 };
    const step = compileGame(world, rules, { precision: "f16" });
    const { criticOptimizer, generatorOptimizer } = world;
    for (let k = 0; k < 10; k++) scope(() => step({ image: world.random.normal([2, 8, 8, 8, 1]).tanh() }));
    const counts = scope(() => [criticOptimizer, generatorOptimizer].map(({ step: made }) => made.value.itemSync()));
    const scales = [criticOptimizer, generatorOptimizer].map(({ lossScale }) =>
      scope(() => lossScale?.value.itemSync()),
    );
    // What was not counted was skipped, and halved the scale.
    expect(scales).toEqual([2 ** (16 - (20 - (counts[0] as number))), 2 ** (16 - (10 - (counts[1] as number)))]);
    expect(counts[0]).toBeGreaterThan(0);
    expect(counts[1]).toBeGreaterThan(0);
    expect(step.explain()).toContain("f16×2");
    const state = Object.values(stateOf(world)).flat();
    expect(state.every(Number.isFinite)).toBe(true);
    dispose(step, ...Object.values(world));
  });

  it("with batch norm keep statistics of what they are given, and the average samples by them", () => {
    const world = worldOf({ norm: "batch" }, 0);
    const step = compileGame(world, { objective: nonSaturating() });
    for (let k = 0; k < 60; k++) scope(() => step({ image: world.random.normal([32, 8, 8, 1]).tanh() }));
    // The generator's first map is linear in its latents: with still weights its running statistics are those of many latents.
    const { generator, ema } = world as World & { generator: DcganGenerator };
    scope(() => {
      const maps = generator.stem.forward(world.random.normal([4000, 6]));
      const variance = maps
        .square()
        .mean([0, 1, 2])
        .sub(maps.mean([0, 1, 2]).square())
        .dataSync();
      const kept = contents(generator)["norms.0.runningVar"] as number[];
      kept.forEach((value, i) => {
        expect(value / (variance[i] as number)).toBeGreaterThan(0.7);
        expect(value / (variance[i] as number)).toBeLessThan(1.4);
      });
      const averaged = contents(ema.model)["norms.0.runningVar"] as number[];
      averaged.forEach((value, i) => {
        expect(Math.abs(value / (kept[i] as number) - 1)).toBeLessThan(0.3);
      });
      expect(ema.model.training).toBe(false);
    });
    dispose(step, ...Object.values(world));
  });

  it("train on without allocating: memory after many steps is memory after a few", async () => {
    const world = worldOf({ norm: "spectral" });
    const step = compileGame(world, { objective: hinge(), criticSteps: 2 });
    const image = world.random.normal([2, 8, 8, 8, 1]);
    const play = (times: number): void => {
      for (let k = 0; k < times; k++) for (const result of Object.values(step({ image }))) result.dispose();
    };
    play(3);
    const before = memory().live;
    play(20);
    expect(memory().live).toBe(before);
    dispose(step, image, ...Object.values(world));
  });
});

describe("a game that goes on from a saved state", () => {
  it("plays as one that never stopped, bit for bit", () => {
    const rules = { objective: hinge(), criticSteps: 2 } as const;
    const worlds = [worldOf({ norm: "spectral" }), worldOf({ norm: "spectral" })] as const;
    const [first, second] = worlds.map((world) => compileGame(world, rules)) as [GameStep, GameStep];
    const data = rng(8);
    scope(() => {
      const batches = [0, 1, 2].map(() => data.normal([2, 8, 8, 8, 1]).tanh());
      for (const image of batches.slice(0, 2)) first({ image });
      const { cells, json } = first.captureState();
      const tensors = Object.fromEntries(Object.entries(cells).map(([path, cell]) => [path, cell.value]));
      second.restoreState({ tensors, json });
      for (const step of [first, second]) step({ image: batches[2] as Tensor });
      expect(second.count).toBe(3);
      expect(stateOf(worlds[1])).toEqual(stateOf(worlds[0]));
    });
    dispose(first, second, data, ...worlds.flatMap((world) => Object.values(world)));
  });
});

describe("a game refuses", () => {
  const world = worldOf({});
  afterAll(() => dispose(...Object.values(world)));

  it.each([
    [{ criticSteps: 0 }, /criticSteps must be an integer ≥ 1, got 0/],
    [{ r1: { gamma: 1, every: 1.5 } }, /r1\.every must be an integer ≥ 1, got 1\.5/],
    [{ r1: { gamma: -1 } }, /r1\.gamma must be a finite number ≥ 0, got -1/],
    [{ gradientPenalty: Number.NaN }, /gradientPenalty must be a finite number ≥ 0, got NaN/],
  ])("%j", (rules, message) => {
    expect(() => new Game(world, { objective: hinge(), ...rules })).toThrow(message);
  });

  it("batches that are not stacked, and labels that are missing", () => {
    const conditional = worldOf({ classes: 3 });
    const [stacked, labelled] = [
      new Game(world, { objective: hinge(), criticSteps: 3 }),
      new Game(conditional, { objective: hinge() }),
    ];
    scope(() => {
      const image = world.random.normal([2, 8, 8, 1]);
      expect(() => stacked.update({ image })).toThrow(/expected batches \[3, N, \.\.\.\].*stack: 3.*\[2, 8, 8, 1\]/);
      expect(() => labelled.update({ image })).toThrow(/the batch has no labels/);
      expect(() => new Game({ ...world, critic: conditional.critic }, { objective: hinge() })).toThrow(
        /the generator has 0 classes and the critic 3/,
      );
    });
    dispose(stacked, labelled, ...Object.values(conditional));
  });
});

describe("RMSProp, as the clipped WGAN has it", () => {
  it("drives the critic's difference of scores up between two clouds", async () => {
    const random = rng(seed);
    const [generator, critic] = [
      new MlpGenerator({ hidden: [4] }).init(random.fork("G")),
      new MlpCritic({ hidden: [16] }).init(random.fork("D")),
    ];
    const players = {
      generator,
      critic,
      generatorOptimizer: new RMSProp(generator, { lr: 0 }),
      criticOptimizer: new RMSProp(critic, { lr: 5e-3 }),
      random,
    };
    const step = compileGame(players, { objective: wasserstein(), criticSteps: 5, clipWeights: 0.2 });
    const losses: number[] = [];
    for (let k = 0; k < 20; k++) {
      losses.push(
        scope(() => {
          const { criticLoss } = step({ image: random.normal([5, 32, 2]).add(4) });
          return criticLoss.itemSync();
        }),
      );
    }
    expect(losses.at(-1)).toBeLessThan((losses[0] as number) - 0.5);
    dispose(step, ...Object.values(players));
  });
});
