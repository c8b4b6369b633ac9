// One round of the game after another (Goodfellow et al. 2014, algorithm 1): the critic's updates on real and generated samples,
// then the generator's. The same code runs operation by operation and, traced once, as one program.

import { checkCounts, checkNotNegative, checkPositive } from "@figment/nn";
import { Cell, checkObject, repeat, ShapeError, scope, showShape, type Tensor, UsageError } from "@figment/tensor";
import { auxiliaryLoss } from "../conditioning/auxiliary.js";
import { type ClassifiedScores, type CriticOutput, scoresOf } from "../conditioning/scores.js";
import { clipWeights } from "../penalties/clipWeights.js";
import { gradientPenalty } from "../penalties/gradientPenalty.js";
import { r1Penalty } from "../penalties/r1.js";
import type { GameBatch, GameRules, Players } from "./players.js";

/** What a call tells of its last round, 0-d: both players' losses, and the weighted penalty where there is one. */
export type GameResults = Readonly<Record<"criticLoss" | "generatorLoss", Tensor>> & Readonly<Record<string, Tensor>>;

/** One of the critic's batches. */
interface Samples {
  readonly image: Tensor;
  readonly label: Tensor | undefined;
}

/** What players must be made of. */
const playing: readonly (keyof Players)[] = ["generator", "critic", "generatorOptimizer", "criticOptimizer", "random"];

const classifies = (output: CriticOutput): output is ClassifiedScores => "score" in output;

/**
 * A game between players. `update` makes one round, or, with lazy R1, as many as it is asked for once; each round is
 * `criticSteps` updates of the critic and one of the generator, a loop where there are several.
 *
 * @example
 * const [generator, critic] = [new MlpGenerator({ hidden: [8] }).init(random), new MlpCritic({ hidden: [8] }).init(random)];
 * const players = {
 *   generator,
 *   critic,
 *   generatorOptimizer: new Adam(generator, { lr: 1e-3 }),
 *   criticOptimizer: new Adam(critic, { lr: 4e-3 }),
 *   random,
 * };
 * const game = new Game(players, { objective: wasserstein(), criticSteps: 5, gradientPenalty: 0.1 });
 * const { criticLoss, generatorLoss } = game.update({ image: random.normal([5, 16, 2]) });
 */
export class Game {
  /** Updates of the critic in one call: the leading axis of stacked batches, or 1 for batches that are not stacked. */
  readonly criticUpdates: number;
  private readonly players: Players;
  private readonly rules: GameRules;
  private readonly criticSteps: number;
  private readonly rounds: number;
  private readonly criticLoss = report("criticLoss");
  private readonly generatorLoss = report("generatorLoss");
  private readonly penalty = report("penalty");

  /** @throws UsageError when a number is out of range, or one player has classes and the other does not. */
  constructor(players: Players, rules: GameRules) {
    checkRules(players, rules);
    this.players = players;
    this.rules = rules;
    this.criticSteps = rules.criticSteps ?? 1;
    this.rounds = rules.r1?.every ?? 1;
    this.criticUpdates = this.criticSteps * this.rounds;
  }

  /**
   * Plays. Eagerly the results are the caller's own; inside a compiled function everything is part of the program.
   *
   * @throws ShapeError when the batch is not stacked as `criticUpdates` says; UsageError when labels are missing.
   */
  update(batch: GameBatch): GameResults {
    this.checkBatch(batch);
    const last = this.rounds - 1;
    if (last > 0) repeat(last, (round) => this.round(batch, round, false));
    scope(() => this.round(batch, last, true));
    const { gradientPenalty: lambda, r1 } = this.rules;
    return {
      criticLoss: this.criticLoss.value,
      generatorLoss: this.generatorLoss.value,
      ...(lambda !== undefined || r1 ? { penalty: this.penalty.value } : {}),
    };
  }

  /** Frees what results are kept in; the players stay. */
  dispose(): void {
    for (const cell of [this.criticLoss, this.generatorLoss, this.penalty]) cell.dispose();
  }

  /** One round; `regularised` says whether R1 is asked for in it. */
  private round(batch: GameBatch, round: Tensor | number, regularised: boolean): void {
    const { criticSteps: steps } = this;
    const first = typeof round === "number" ? round * steps : round.mul(steps);
    if (steps === 1) this.updateCritic(this.samplesAt(batch, first), regularised);
    else repeat(steps, (i) => this.updateCritic(this.samplesAt(batch, i.add(first)), regularised));
    this.updateGenerator(this.samplesAt(batch, typeof first === "number" ? first + steps - 1 : first.add(steps - 1)));
    this.players.ema?.update();
  }

  private updateCritic({ image, label }: Samples, regularised: boolean): void {
    const { generator, critic, criticOptimizer, random } = this.players;
    const { objective, gradientPenalty: lambda, r1, clipWeights: bound } = this.rules;
    // Made outside of what is differentiated: the critic's loss does not reach the generator.
    const fake = generator.forward(random.normal([image.dim(0), generator.latents]), label);
    criticOptimizer.minimize(() => {
      const [onReal, onFake] = [critic.forward(image, label), critic.forward(fake, label)];
      const loss = this.withClasses(objective.critic(scoresOf(onReal), scoresOf(onFake)), label, onReal, onFake);
      this.criticLoss.set(loss);
      const score = (x: Tensor): Tensor => scoresOf(critic.forward(x, label));
      const penalties: Tensor[] = [];
      if (lambda !== undefined) penalties.push(gradientPenalty(score, image, fake, random).mul(lambda));
      if (r1 && regularised) penalties.push(r1Penalty(score, image).mul(r1.gamma * this.rounds));
      if (penalties.length === 0) return loss;
      const penalty = penalties.reduce((sum, x) => sum.add(x));
      this.penalty.set(penalty);
      return loss.add(penalty);
    });
    if (bound !== undefined) clipWeights(critic, bound);
  }

  private updateGenerator({ image, label }: Samples): void {
    const { generator, critic, generatorOptimizer, random } = this.players;
    generatorOptimizer.minimize(() => {
      const fake = generator.forward(random.normal([image.dim(0), generator.latents]), label);
      const output = critic.forward(fake, label);
      const loss = this.withClasses(this.rules.objective.generator(scoresOf(output)), label, output);
      this.generatorLoss.set(loss);
      return loss;
    });
  }

  /** Adds the classification loss where the critic classifies. */
  private withClasses(loss: Tensor, label: Tensor | undefined, ...outputs: readonly CriticOutput[]): Tensor {
    const logits = outputs.filter(classifies).map(({ classes }) => classes);
    if (logits.length === 0) return loss;
    return loss.add(auxiliaryLoss(label as Tensor, ...logits).mul(this.rules.auxiliary ?? 1));
  }

  /** The samples of one of the critic's updates. */
  private samplesAt({ image, label }: GameBatch, index: Tensor | number): Samples {
    const at = (x: Tensor): Tensor => (this.criticUpdates === 1 ? x : x.at(index));
    return { image: at(image), label: this.players.generator.classes > 0 && label ? at(label) : undefined };
  }

  private checkBatch({ image, label }: GameBatch): void {
    const { criticUpdates: updates } = this;
    if (updates > 1 && image.shape[0] !== updates)
      throw new ShapeError(
        `Game: a call makes ${updates} updates of the critic; expected batches [${updates}, N, ...], as a loader with stack: ${updates} yields them, got ${showShape(image.shape)}`,
      );
    if (this.players.generator.classes > 0 && !label)
      throw new UsageError("Game: the networks have classes, but the batch has no labels");
  }
}

/** Where a result of the latest round is kept, so that it leaves the loop that it is computed in. */
function report(name: string): Cell {
  return new Cell({ shape: [], name: `Game.${name}`, initial: () => [0] });
}

function checkRules(players: Players, rules: GameRules): void {
  const { generator, critic } = checkObject("Game", "players", players, ...playing);
  const { criticSteps = 1, r1, gradientPenalty: lambda, auxiliary } = checkObject("Game", "rules", rules, "objective");
  checkObject("Game", "objective", rules.objective, "critic", "generator");
  if (r1 !== undefined) checkObject("Game", "r1", r1, "gamma");
  if (rules.clipWeights !== undefined) checkPositive("Game", { clipWeights: rules.clipWeights });
  checkCounts("Game", { criticSteps, "r1.every": r1?.every ?? 1 });
  checkNotNegative("Game", { gradientPenalty: lambda ?? 0, "r1.gamma": r1?.gamma ?? 0, auxiliary: auxiliary ?? 1 });
  if (generator.classes !== critic.classes)
    throw new UsageError(
      `Game: the generator has ${generator.classes} classes and the critic ${critic.classes}; expected the same`,
    );
}
