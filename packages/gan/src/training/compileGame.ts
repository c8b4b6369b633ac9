// A game as one program: alternating updates, loops, penalties, clipping and the average in one native call.

import { compileTraining, type TrainingOptions, type TrainingStep } from "@figment/nn";
import { Game, type GameResults } from "./game.js";
import { type GameBatch, type GameRules, type Players, partsOf } from "./players.js";

/** A compiled game. Its state as `Stateful` is that of the players, the average, the stream and the count. */
export interface GameStep extends TrainingStep<GameBatch, GameResults> {
  /** Updates of the critic in one call: what loaders are given as `stack`, where it is more than 1. */
  readonly criticUpdates: number;
}

/**
 * Compiles the step of a {@link Game}: the critic's updates through a loop over a stacked batch, the generator's, and the moving
 * average, in one native call.
 *
 * @throws UsageError when a rule is out of range, or one player has classes and the other does not.
 * @example
 * const generator = new DcganGenerator({ latents: 8, channels: [8, 4] }).init(random.fork("generator"));
 * const critic = new DcganCritic({ channels: [4, 8] }).init(random.fork("critic"));
 * const ema = new EMA(generator, { decay: 0.999 });
 * const options = { lr: 2e-4, betas: [0.5, 0.999] } as const;
 * const [generatorOptimizer, criticOptimizer] = [new Adam(generator, options), new Adam(critic, options)];
 * const players = { generator, critic, generatorOptimizer, criticOptimizer, ema, random };
 * const step = compileGame(players, { objective: nonSaturating() });
 * const { criticLoss } = step({ image: random.normal([4, 28, 28, 1]).tanh() });
 * step.count; // 1
 */
export function compileGame(players: Players, rules: GameRules, options: TrainingOptions = {}): GameStep {
  const game = new Game(players, rules);
  const step = compileTraining(partsOf(players), (batch: GameBatch) => game.update(batch), {
    name: "adversarial step",
    ...options,
  });
  const disposeStep = step.dispose;
  const dispose = (): void => {
    disposeStep();
    game.dispose();
  };
  return Object.defineProperties(step, {
    criticUpdates: { value: game.criticUpdates, enumerable: true },
    dispose: { value: dispose, enumerable: true },
  }) as GameStep;
}
