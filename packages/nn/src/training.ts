// A compiled training step of any family: what it updates, what it gives, and all that resuming needs.

import {
  Cell,
  CheckpointError,
  type CompileStats,
  checkFunction,
  checkObject,
  checkTensor,
  compile,
  isPlainObject,
  type Precision,
  type Profile,
  type SavedState,
  ShapeError,
  type Stateful,
  type StateToRestore,
  scope,
  show,
  showShape,
  type Tensor,
  UsageError,
} from "@figment/tensor";
import { type Checks, checked } from "./checking.js";
import { Module } from "./module.js";

/** A batch: a plain object of tensors. */
export type StepBatch = Readonly<Record<string, Tensor>>;

/** What a step tells of an update: 0-d tensors by name. */
export type StepResults = Readonly<Record<string, Tensor>>;

/** Options of {@link compileTraining}. */
export interface TrainingOptions {
  /** What errors, profiles and `explain()` call the program. Default "training step". */
  readonly name?: string;
  /**
   * "bf16" rounds the factors of convolutions, matrix products and attention to bf16, forwards and backwards. Weights, sums,
   * norms, losses and the optimiser's state stay f32. "f16" does so with f16, and optimisers then scale the loss dynamically:
   * an update whose gradients are not finite is skipped (see {@link Optimizer.minimize}), yet counts as one of the step and of
   * moving averages. "tf32" is for GPUs; see {@link Precision}. Default "highest".
   */
  readonly precision?: Precision;
  /**
   * Looks for NaN and infinite numbers inside the step, before anything is written: the parameters, the batch, what each
   * module gives, the losses and the gradients. The first one found makes the step fail with a NonFiniteError that names it,
   * thrown where a result is read; weights, moments and streams are as they were, apart from what complete iterations of a
   * `repeat` within the step have written. "gradients" looks at losses and gradients only, at the cost of reading them once;
   * true also keeps what modules give from being fused away. At precision "f16" gradients may be infinite now and then, and
   * are looked at where the scale of the loss is the least. Default false.
   */
  readonly checkFinite?: Checks;
}

/** A compiled step that trains: what a trainer drives, whatever the family. */
export interface TrainingStep<B extends StepBatch = StepBatch, R extends StepResults = StepResults> extends Stateful {
  /** One update from a batch; its results are 0-d tensors that need no disposal. Queues one native call. */
  (batch: B): R;
  /**
   * Updates made so far, those before a restored checkpoint included. With `checkFinite` those that failed do not count, so
   * that asking waits for the steps queued before.
   */
  readonly count: number;
  readonly stats: CompileStats;
  /** The program: op, shapes, formats, kernel variant, FLOPs, bytes and module path of each record. */
  explain(): string;
  /** Makes `runs` updates (and one to warm up) from a batch, and says where their time goes: see {@link Compiled}. */
  profile(runs: number, batch: B): Promise<Profile>;
  /** Frees the program; the parts stay. */
  dispose(): void;
}

/** Checks that an update gives 0-d tensors by name. */
function checkResults(owner: string, results: StepResults): void {
  for (const [name, x] of Object.entries(checkObject(owner, "the update's results by name", results))) {
    checkTensor(owner, `the result "${name}"`, x);
    if (x.rank !== 0) throw new ShapeError(`${owner}: the result "${name}" must be 0-d, got ${showShape(x.shape)}`);
  }
}

/**
 * Compiles a training step for any number of models and optimisers: alternating updates, loops and moving averages are one
 * program. Its state as {@link Stateful} is that of its parts and the count.
 *
 * @param parts everything that the update changes, by name: modules, optimisers, averages, random streams. Modules give the
 * names under which `checkFinite` reports.
 * @param update makes one update and gives 0-d tensors by name, "loss" among them where there is one.
 * @example
 * const optimizer = new AdamW(model, { lr: 1e-2 });
 * const average = new EMA(model);
 * const step = compileTraining({ model, optimizer, average }, ({ x, y }: { x: Tensor; y: Tensor }) => {
 *   repeat(2, () => optimizer.minimize(() => mse(model.forward(x), y)));
 *   average.update();
 *   return { loss: mse(model.forward(x), y) };
 * });
 * const { loss } = step({ x, y });
 * console.log(step.count, await loss.item());
 */
export function compileTraining<B extends StepBatch, R extends StepResults>(
  parts: Readonly<Record<string, Stateful>>,
  update: (batch: B) => R,
  options: TrainingOptions = {},
): TrainingStep<B, R> {
  const {
    name = "training step",
    precision,
    checkFinite: checks = false,
  } = checkObject("compileTraining", "options", options);
  checkFunction("compileTraining", "update", update);
  const modules = Object.fromEntries(
    Object.entries(checkObject("compileTraining", "parts", parts)).flatMap(([part, item]) =>
      item instanceof Module ? [[part, item]] : [],
    ),
  );
  // Where steps can fail, only the device knows how many did not.
  const made =
    checks === false ? undefined : new Cell({ shape: [], dtype: "i32", name: "step.count", initial: () => [0] });
  const program = compile(
    (batch: B) => {
      const results = checked(modules, batch, checks, () => update(batch));
      checkResults(name, results);
      made?.set(made.value.add(1));
      return results;
    },
    { name, precision },
  );
  let count = 0;
  let disposed = false;
  const countNow = (): number => {
    if (made && !disposed) count = scope(() => made.value.itemSync());
    return count;
  };
  const setCount = (value: number): void => {
    count = value;
    made?.setData([value]);
  };
  const step = (batch: B): R => {
    if (!isPlainObject(batch))
      throw new UsageError(`${name}: expected a batch, an object of tensors such as { x }, got ${show(batch)}`);
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
      made?.dispose();
    },
    captureState: () => captureParts(parts, countNow()),
    restoreState: (state: StateToRestore) => setCount(restoreParts(parts, state)),
  };
  return Object.defineProperties(step, Object.getOwnPropertyDescriptors(rest)) as TrainingStep<B, R>;
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
