// The compiled training step: loss, derivatives, clipping, update and moving average in one program.

import {
  Cell,
  CheckpointError,
  type CompileStats,
  checkFinite,
  compile,
  currentPath,
  isFloat,
  leavesOf,
  type Precision,
  type Profile,
  type SavedState,
  type Stateful,
  type StateToRestore,
  scope,
  type Tensor,
} from "@figment/tensor";
import { EMA, type EmaOptions } from "./ema.js";
import { joinPath } from "./members.js";
import { type ForwardObserver, internals, type Module, observeForward } from "./module.js";
import type { MinimizeOptions, Optimizer } from "./optim/optimizer.js";

/** A batch: a plain object of tensors. */
export type StepBatch = Readonly<Record<string, Tensor>>;

/** Options of {@link compileStep}. */
export interface StepOptions extends Omit<MinimizeOptions, "checkFinite"> {
  /** Keeps a moving average of the weights with this decay, or with these options. Default: none. */
  readonly ema?: number | EmaOptions;
  /**
   * "bf16" rounds the factors of convolutions, matrix products and attention to bf16, forwards and backwards. Weights, sums,
   * norms, losses and the optimiser's state stay f32. Default "highest".
   */
  readonly precision?: Precision;
  /**
   * Looks for NaN and infinite numbers inside the step, before anything is written: the parameters, the batch, what each
   * module gives, the loss and the gradients. The first one found makes the step fail with a NonFiniteError that names it,
   * thrown where the loss is read; weights, moments and streams are as they were. "gradients" looks at the loss and the
   * gradients only, at the cost of reading them once; true also keeps what modules give from being fused away. Default
   * false.
   */
  readonly checkFinite?: boolean | "gradients";
}

/** A compiled training step. */
export interface TrainStep<M extends Module, B extends StepBatch, E extends EMA<M> | undefined> extends Stateful {
  /** One update from a batch; its loss is a 0-d tensor that needs no disposal. Queues one native call. */
  (batch: B): { readonly loss: Tensor };
  /**
   * Updates made so far, those before a restored checkpoint included. With `checkFinite` those that failed do not count, so
   * that asking waits for the steps queued before.
   */
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
  const { ema: average, precision, checkFinite: checked = false, ...clipping } = options;
  const ema =
    average === undefined ? undefined : new EMA(model, typeof average === "number" ? { decay: average } : average);
  // Where steps can fail, only the device knows how many did not.
  const made =
    checked === false ? undefined : new Cell({ shape: [], dtype: "i32", name: "step.count", initial: () => [0] });
  const program = compile(
    (batch: B) => {
      const evaluate = checked === true ? watched(model, batch, loss) : () => loss(model, batch);
      const value = optimizer.minimize(evaluate, { ...clipping, checkFinite: checked !== false });
      ema?.update();
      made?.set(made.value.add(1));
      return { loss: value };
    },
    { name: "training step", precision },
  );
  const parts: Readonly<Record<string, Stateful>> = { model, optimizer, ...(ema ? { ema } : {}) };
  let count = 0;
  const countNow = (): number => {
    if (made && !disposed) count = scope(() => made.value.itemSync());
    return count;
  };
  const setCount = (value: number): void => {
    count = value;
    made?.setData([value]);
  };
  let disposed = false;

  const step = (batch: B): { loss: Tensor } => {
    const result = program(batch);
    count++;
    return result;
  };
  const rest = {
    get count() {
      return countNow();
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
      disposed = true;
      program.dispose();
      ema?.dispose();
      made?.dispose();
    },
    captureState: () => captureParts(parts, countNow()),
    restoreState: (state: StateToRestore) => setCount(restoreParts(parts, state)),
  };
  return Object.defineProperties(step, Object.getOwnPropertyDescriptors(rest)) as TrainStep<M, B, WithEma<O, M>>;
}

/** The loss, with checks of the parameters, the batch, and the result of every module on the way. */
function watched<M extends Module, B extends StepBatch>(
  model: M,
  batch: B,
  loss: (model: M, batch: B) => Tensor,
): () => Tensor {
  return () => {
    const parameters = [...model.namedParameters()].map(([path, { value }]) => [`the parameter ${path}`, value]);
    const inputs = Object.entries(batch)
      .filter(([, x]) => isFloat(x.dtype))
      .map(([name, x]) => [`the batch's ${name}`, x]);
    checkFinite(Object.fromEntries([...parameters, ...inputs]));
    const check: ForwardObserver = (module, _inputs, output) => {
      const path = joinPath(currentPath(), module[internals].segment) || module.constructor.name;
      const results = leavesOf(output).filter((x) => isFloat(x.dtype));
      checkFinite(
        Object.fromEntries(
          results.map((x, i) => [`${results.length > 1 ? `result ${i}` : "the result"} of ${path}`, x]),
        ),
      );
    };
    return observeForward(check, () => loss(model, batch));
  };
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
