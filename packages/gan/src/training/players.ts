// Who plays, and by which rules.

import type { EMA, Optimizer } from "@figment/nn";
import type { Rng, Stateful, Tensor } from "@figment/tensor";
import type { Critic, Generator } from "../networks/network.js";
import type { Objective } from "../objectives/objective.js";

/**
 * Both networks with their optimisers. Two time scales (Heusel et al. 2017) are two optimisers of different rates: a critic that
 * learns faster than the generator.
 */
export interface Players<G extends Generator = Generator, C extends Critic = Critic> {
  readonly generator: G;
  readonly critic: C;
  readonly generatorOptimizer: Optimizer;
  readonly criticOptimizer: Optimizer;
  /** The average of the generator that samples are drawn from (Karras et al. 2018, appendix A.1); moved after each of its updates. */
  readonly ema?: EMA<G>;
  /** Where latents and the points of penalties come from. */
  readonly random: Rng;
}

/** The rules of the game. */
export interface GameRules {
  readonly objective: Objective;
  /** Updates of the critic for each of the generator. Default 1. */
  readonly criticSteps?: number;
  /** λ, the weight of WGAN-GP's penalty in each of the critic's updates. Default: none. */
  readonly gradientPenalty?: number;
  /**
   * R1: γ, and in how many rounds it is asked for once, then with `every` times the weight (lazy regularisation, Karras et al.
   * 2020, "Analyzing and improving the image quality of StyleGAN", §3.1). Default: none; `every` 1.
   */
  readonly r1?: { readonly gamma: number; readonly every?: number };
  /** The critic's weights are clipped to ± this after each of its updates. Default: no clipping. */
  readonly clipWeights?: number;
  /** Weight of the classification loss of an auxiliary classifier, for both players. Default 1. */
  readonly auxiliary?: number;
}

/**
 * Real samples: [N, ...], or, where a call makes several of the critic's updates, [updates, N, ...] as a loader with
 * `stack: updates` yields them. Labels, i32 of the same leading axes, where the networks have classes.
 */
export type GameBatch = Readonly<{ image: Tensor; label?: Tensor }> & Readonly<Record<string, Tensor>>;

/** Everything that a step changes, by name, for saving and resuming. */
export const partsOf = ({ ema, ...players }: Players): Readonly<Record<string, Stateful>> => ({
  ...players,
  ...(ema ? { ema } : {}),
});
