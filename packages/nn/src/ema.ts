// An exponential moving average of a module's weights (Polyak & Juditsky 1992; used for sampling by Ho et al.
// 2020), kept as a module of its own.

import {
  Cell,
  checkOptions,
  DTypeError,
  emaUpdate,
  guardCells,
  isFloat,
  minimum,
  restoreCells,
  type SavedState,
  type Stateful,
  type StateToRestore,
  scope,
  show,
  UsageError,
} from "@figment/tensor";
import { checkFlags, checkFractions } from "./checks.js";
import { Module } from "./module.js";

/** How the average moves. */
export interface EmaOptions {
  /** Weight of the past in each update. Default 0.999. */
  readonly decay?: number;
  /** Whether young averages forget faster: decay min(decay, (1 + n)/(10 + n)) at update n = 0, 1, …. Default true. */
  readonly warmup?: boolean;
}

/**
 * average ← d·average + (1 − d)·weights at each `update()`. `model` is a clone with cells of its own, always
 * in evaluation mode; compiled functions made for the module serve it too. It lies on the module's device; a module that has
 * been moved wants `model.to` for its average as well.
 *
 * @example
 * const ema = new EMA(model, { decay: 0.995 });
 * ema.update(); // after each optimiser step
 * ema.model.forward(x);
 */
export class EMA<M extends Module> implements Stateful {
  /** The averaged module. */
  readonly model: M;
  readonly decay: number;
  readonly warmup: boolean;
  /** Updates made so far, a 0-d f32 cell. */
  readonly updates: Cell;
  private readonly averages: readonly Cell[];
  private readonly sources: readonly Cell[];
  private readonly copies: readonly (readonly [target: Cell, source: Cell])[];

  /**
   * @throws UsageError unless 0 ≤ decay < 1, for an unknown option, or when the module has not been initialised; DTypeError when a cell is bf16 or
   * f16.
   */
  constructor(module: M, options: EmaOptions = {}) {
    checkOptions("EMA", options, ["decay", "warmup"]);
    if (!(module instanceof Module)) throw new UsageError(`EMA: expected a module, got ${show(module)}`);
    const { decay = 0.999, warmup = true } = options;
    checkFractions("EMA", { "the decay": decay });
    checkFlags("EMA", { warmup });
    const source = Object.values(module.stateDict());
    if (source.some((cell) => !cell.allocated)) {
      throw new UsageError("EMA: the module has no weights yet: call init(rng) or load them before averaging");
    }
    const narrow = source.find(({ dtype }) => dtype === "bf16" || dtype === "f16");
    if (narrow)
      throw new DTypeError(
        `EMA: ${narrow.name} is ${narrow.dtype}, in which small moves are lost; average the f32 module and clone({ dtype: "${narrow.dtype}" }) the average`,
      );
    this.decay = decay;
    this.warmup = warmup;
    this.model = module.clone().eval();
    const pairs = Object.values(this.model.stateDict()).map((target, i) => [target, source[i] as Cell] as const);
    const beside = source[0] ? { beside: source[0] } : {};
    this.updates = new Cell({ shape: [], name: "EMA.updates", initial: () => [0], ...beside });
    const averaged = pairs.filter(([target]) => isFloat(target.dtype));
    this.averages = averaged.map(([target]) => target);
    this.sources = averaged.map(([, cell]) => cell);
    this.copies = pairs.filter(([target]) => !isFloat(target.dtype));
  }

  /** Moves the average toward the module's present weights. Cells that are not of float type are copied. */
  update(): void {
    guardCells(this.sources);
    guardCells(Object.values(this.state()));
    scope(() => {
      const n = this.updates.value;
      const decay = this.warmup ? minimum(n.add(1).div(n.add(10)), this.decay) : this.decay;
      emaUpdate(decay, this.averages, this.sources);
      for (const [target, source] of this.copies) target.set(source.value);
      this.updates.set(n.add(1));
    });
  }

  captureState(): SavedState {
    return { cells: this.state(), json: null };
  }

  /** @throws CheckpointError when the saved state does not fit; then nothing has changed. */
  restoreState({ tensors }: StateToRestore): void {
    restoreCells("EMA", this.state(), tensors);
  }

  /** Frees the average. */
  dispose(): void {
    this.model.dispose();
    this.updates.dispose();
  }

  private state(): Record<string, Cell> {
    const averages = Object.entries(this.model.stateDict()).map(([path, cell]) => [`model.${path}`, cell]);
    return { updates: this.updates, ...Object.fromEntries(averages) };
  }
}
