// The compiled training step: loss, derivatives, clipping, update and moving average in one program.

import {
  CheckpointError,
  type CompileStats,
  compile,
  type Precision,
  type Profile,
  type SavedState,
  type Stateful,
  type StateToRestore,
  type Tensor,
} from "@figment/tensor";
import { EMA, type EmaOptions } from "./ema.js";
import type { Module } from "./module.js";
import type { MinimizeOptions, Optimizer } from "./optim/optimizer.js";

/** A batch: a plain object of tensors. */
export type StepBatch = Readonly<Record<string, Tensor>>;

/** Options of {@link compileStep}. */
export interface StepOptions extends MinimizeOptions {
  /** Keeps a moving average of the weights with this decay, or with these options. Default: none. */
  readonly ema?: number | EmaOptions;
  /**
   * "bf16" rounds the factors of convolutions, matrix products and attention to bf16, forwards and backwards. Weights, sums,
   * norms, losses and the optimiser's state stay f32. Default "highest".
   */
  readonly precision?: Precision;
}

/** A compiled training step. */
export interface TrainStep<M extends Module, B extends StepBatch, E extends EMA<M> | undefined> extends Stateful {
  /** One update from a batch; its loss is a 0-d tensor that needs no disposal. Queues one native call. */
  (batch: B): { readonly loss: Tensor };
  /** Updates made so far, those before a restored checkpoint included. */
  readonly count: number;
  /** The moving average, if one was asked for. */
  readonly ema: E;
  readonly stats: CompileStats;
  /** The program: op, shapes, formats, kernel variant, FLOPs, bytes and module path of each record. */
  explain(): string;
  /** Makes `runs` updates (and one to warm up) from a batch, and says where their time goes: see {@link Compiled}. */
  profile(runs: number, batch: B): Promise<Profile>;
  /** Frees the program and the moving average; model and optimiser stay. */
  dispose(): void;
}

type WithEma<O extends StepOptions, M extends Module> = O extends { readonly ema: number | EmaOptions }
  ? EMA<M>
  : undefined;

/**
 * Compiles a training step for a model, an optimiser and a loss. Its state as {@link Stateful} is all that
 * resuming needs: the model (with its random streams), the optimiser, the moving average and the count.
 *
 * @param loss gives one number from the model and a batch.
 * @example
 * const step = compileStep(model, new AdamW(model, { lr: 1e-2 }), (net, { x, y }) => mse(net.forward(x), y), { ema: 0.99 });
 * const { loss } = step({ x, y });
 * console.log(step.count, await loss.item());
 */
// biome-ignore lint/suspicious/noExplicitAny: the batch's type is inferred from the loss where it states one
export function compileStep<M extends Module, B extends StepBatch = any, const O extends StepOptions = StepOptions>(
  model: M,
  optimizer: Optimizer,
  loss: (model: M, batch: B) => Tensor,
  options: O = {} as O,
): TrainStep<M, B, WithEma<O, M>> {
  const { ema: average, precision, ...clipping } = options;
  const ema =
    average === undefined ? undefined : new EMA(model, typeof average === "number" ? { decay: average } : average);
  const program = compile(
    (batch: B) => {
      const value = optimizer.minimize(() => loss(model, batch), clipping);
      ema?.update();
      return { loss: value };
    },
    { name: "training step", precision },
  );
  const parts: Readonly<Record<string, Stateful>> = { model, optimizer, ...(ema ? { ema } : {}) };
  let count = 0;

  const step = (batch: B): { loss: Tensor } => {
    const result = program(batch);
    count++;
    return result;
  };
  const rest = {
    get count() {
      return count;
    },
    get stats() {
      return program.stats;
    },
    ema,
    explain: () => program.explain(),
    profile: async (runs: number, batch: B) => {
      const before = program.stats.calls;
      try {
        return await program.profile(runs, batch);
      } finally {
        count += program.stats.calls - before;
      }
    },
    dispose: () => {
      program.dispose();
      ema?.dispose();
    },
    captureState: () => captureParts(parts, count),
    restoreState: (state: StateToRestore) => {
      count = restoreParts(parts, state);
    },
  };
  return Object.defineProperties(step, Object.getOwnPropertyDescriptors(rest)) as TrainStep<M, B, WithEma<O, M>>;
}

/** Joins the states of named parts, each under its name. */
function captureParts(parts: Readonly<Record<string, Stateful>>, count: number): SavedState {
  const states = Object.entries(parts).map(([name, part]) => [name, part.captureState()] as const);
  const cells = states.flatMap(([name, state]) =>
    Object.entries(state.cells).map(([path, cell]) => [`${name}.${path}`, cell]),
  );
  return {
    cells: Object.fromEntries(cells),
    json: { count, parts: Object.fromEntries(states.map(([name, { json }]) => [name, json])) },
  };
}

function restoreParts(parts: Readonly<Record<string, Stateful>>, { tensors, json }: StateToRestore): number {
  const saved = json as {
    readonly count?: unknown;
    readonly parts?: Readonly<Record<string, SavedState["json"]>>;
  } | null;
  const count = saved?.count;
  if (!saved?.parts || typeof count !== "number" || !Number.isSafeInteger(count) || count < 0)
    throw new CheckpointError("training step: the saved state is not that of a training step");
  for (const [name, part] of Object.entries(parts)) {
    const own = Object.entries(tensors)
      .filter(([path]) => path.startsWith(`${name}.`))
      .map(([path, tensor]) => [path.slice(name.length + 1), tensor]);
    part.restoreState({ tensors: Object.fromEntries(own), json: saved.parts[name] ?? null });
  }
  return count;
}
