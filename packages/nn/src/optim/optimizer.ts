// What optimisers have in common: which parameters they train, their states as cells named by the parameters' paths,
// the learning rate and its schedule, clipping, groups of parameters with options of their own, saving and restoring.

import {
  Cell,
  checkArray,
  checkFinite,
  checkObject,
  checkOptions,
  clamp,
  currentPrecision,
  div,
  isFinite as finiteOf,
  type Grads,
  guardCells,
  type Json,
  restoreCells,
  type SavedState,
  type Stateful,
  type StateToRestore,
  scalar,
  scope,
  select,
  sumSquares,
  Tensor,
  UsageError,
  valueAndGrad,
} from "@figment/tensor";
import { namesForChecks } from "../checking.js";
import { checkCounts, checkFlags, checkNotNegative, checkPositive } from "../checks.js";
import type { Parameter } from "../parameter.js";
import { GradientSums } from "./gradientSums.js";
import { LossScale, type LossScaleOptions, lossScaleOptions, scaleIn } from "./lossScale.js";
import type { Schedule } from "./schedule.js";
import { groupsOf, type ParameterGroup, type Slot, type SlotGroup, slotsOf, type Trainable } from "./slots.js";

/** Options that all optimisers take. */
export interface OptimizerOptions {
  /** Learning rate: a number, or a function of the step that is evaluated inside the program. */
  readonly lr?: number | Schedule;
  readonly weightDecay?: number;
  /** Parameters with options of their own; one that several groups select belongs to the first. */
  readonly groups?: readonly ParameterGroup[];
}

/** How one update is made. */
export interface MinimizeOptions {
  /** Each gradient element is kept within ± this, before the norm is taken. Default: no clipping. */
  readonly clipValue?: number;
  /** Gradients are scaled down so that their global norm is at most this. Default: no clipping. */
  readonly clipNorm?: number;
  /**
   * Fails with a NonFiniteError, and changes nothing, when the loss or a gradient is not finite. Default: what the training
   * step asks for that this is part of (see {@link compileTraining}), else false.
   */
  readonly checkFinite?: boolean;
  /**
   * Calls the loss for that many small batches, each time with another number, and takes the mean of their losses and
   * gradients, in one loop of the program: what one batch of all of them gives, in the memory of one. Default: one call.
   */
  readonly accumulate?: number;
  /** How the loss is scaled at precision "f16"; see {@link Optimizer.minimize}. Not used at others. */
  readonly lossScale?: LossScaleOptions;
}

const minimizeOptions: readonly (keyof MinimizeOptions)[] = [
  "clipValue",
  "clipNorm",
  "checkFinite",
  "accumulate",
  "lossScale",
];

/** How an update by given gradients is made. */
export type UpdateOptions = Pick<MinimizeOptions, "clipValue" | "clipNorm">;

const updateOptions: readonly (keyof UpdateOptions)[] = ["clipValue", "clipNorm"];

/** What a schedule gives for a step. */
function scheduled(name: string, schedule: Schedule, step: Tensor): Tensor {
  const lr: unknown = schedule(step);
  if (lr instanceof Tensor) return lr;
  throw new UsageError(
    `${name}: the schedule gave ${String(lr)}; expected a 0-d tensor made from the step, or a number as lr for a rate that stays`,
  );
}

/** What one fused update is given: the parameters of one group. */
export interface GroupUpdate {
  readonly cells: readonly Cell[];
  readonly grads: readonly Tensor[];
  readonly lr: Tensor;
  /** What the gradients are to be multiplied by: clips their norm, and takes out what the loss was scaled by. */
  readonly gradScale: Tensor | number;
  readonly weightDecay: number;
  /** The number of this update, counted from 1. */
  readonly step: Tensor;
  /** The states of that name, one for each parameter. */
  states(name: string): readonly Cell[];
}

/** Added to the gradients' norm before dividing by it, as PyTorch's clip_grad_norm_ does. */
const normFloor = 1e-6;

/**
 * An optimiser. Subclasses name the states of a parameter and apply the fused update of a group.
 *
 * @example
 * class SignDescent extends Optimizer {
 *   constructor(target: Trainable, lr: number) {
 *     super(target, { lr }, []);
 *   }
 *
 *   protected override apply({ cells, grads, lr }: GroupUpdate): void {
 *     cells.forEach((cell, i) => cell.set(cell.value.sub((grads[i] as Tensor).sign().mul(lr))));
 *   }
 * }
 * const optimizer = new SignDescent(model, 0.1);
 * optimizer.minimize(() => mse(model.forward(x), y));
 * optimizer.step.value; // 1
 */
export abstract class Optimizer implements Stateful {
  /**
   * The learning rate, a 0-d cell. A number is read from it inside compiled steps, so that changing it needs no new
   * program; a schedule writes into it what it gave for the last update.
   */
  readonly lr: Cell;
  /** Updates made so far, a 0-d f32 cell; it stays at 2²⁴, by which schedules have ended and bias corrections are 1. */
  readonly step: Cell;
  private readonly schedule: Schedule | undefined;
  private readonly slots: readonly Slot[];
  private readonly groups: readonly SlotGroup[];
  private sums: GradientSums | undefined;
  private scaling: LossScale | undefined;

  /** @throws UsageError when there is nothing to train, two parameters share a path, or a constant is out of range. */
  protected constructor(
    target: Trainable,
    options: OptimizerOptions & { readonly lr: number | Schedule },
    stateNames: readonly string[],
  ) {
    const { lr, weightDecay, groups = [] } = checkObject("Optimizer", "options", options, "lr");
    const name = this.constructor.name;
    checkArray(name, "groups", groups);
    checkNotNegative(name, { weightDecay: weightDecay ?? 0 });
    this.schedule = typeof lr === "function" ? lr : undefined;
    if (!this.schedule) checkNotNegative(name, { "the learning rate": lr });
    const initial =
      typeof lr === "number" ? () => [lr] : () => [scope(() => scheduled(name, lr, scalar(0)).itemSync())];
    this.slots = slotsOf(name, target, stateNames);
    const beside = (this.slots[0] as Slot).parameter;
    this.lr = new Cell({ shape: [], name: `${name}.lr`, initial, beside });
    this.step = new Cell({ shape: [], name: `${name}.step`, initial: () => [0], beside });
    this.groups = groupsOf(name, this.slots, groups, weightDecay ?? 0);
  }

  /** Applies the fused update to the parameters of one group. */
  protected abstract apply(update: GroupUpdate): void;

  /** The parameters trained, each once. */
  get parameters(): readonly Parameter[] {
    return this.slots.map(({ parameter }) => parameter);
  }

  /**
   * What the loss is multiplied by in programs at precision "f16" before it is differentiated, a 0-d f32 cell; undefined
   * until such a program has been traced or its state restored.
   */
  get lossScale(): Cell | undefined {
    return this.scaling?.scale;
  }

  /**
   * Sets the learning rate from now on.
   *
   * @throws UsageError when a schedule rules it.
   */
  setLearningRate(lr: number): void {
    if (this.schedule) throw new UsageError(`${this.constructor.name}: a schedule rules the learning rate`);
    checkNotNegative(this.constructor.name, { "the learning rate": lr });
    this.lr.setData([lr]);
  }

  /**
   * Differentiates `loss` with respect to the parameters and updates them.
   *
   * At precision "f16" the loss is scaled dynamically (Micikevicius et al. 2018, section 3.2), so that small gradients are
   * not lost: what is differentiated is the loss times {@link lossScale}, and gradients are divided by it before they are
   * clipped. Where one of them is not finite the scale is halved, and parameters, states and `step` stay as they were; after
   * 2000 updates in a row with finite ones it is doubled. At a scale of 2⁻²⁴, which is not halved, updates are made whatever
   * the gradients, as at other precisions. Derivatives that the loss itself takes, as of a gradient penalty, are not scaled.
   * `checkFinite` then looks at the loss, and at gradients at that least scale only: numbers beyond 65504 that the loss is
   * computed from make it infinite or NaN, which no scale mends.
   *
   * @param loss gives one number: a tensor of one element. With `accumulate`, `i` is the number of the small batch, a 0-d i32
   * tensor; else it is 0.
   * @returns the loss before the update; at precision "f16" one in 16 bits comes in f32.
   * @throws UsageError for an option that there is not, an `accumulate` that is no positive integer, or a `lossScale` that
   * is no power of two.
   * @example
   * const optimizer = new AdamW(model);
   * optimizer.minimize(() => mse(model.forward(x), y), { clipNorm: 1 });
   * const [xs, ys] = [ones([4, 8, 2]), zeros([4, 8, 1])];
   * optimizer.minimize((i) => mse(model.forward(xs.at(i)), ys.at(i)), { accumulate: 4 });
   * optimizer.step.value; // 2
   */
  minimize(loss: (i: Tensor) => Tensor, options: MinimizeOptions = {}): Tensor {
    checkOptions(this.constructor.name, options, minimizeOptions);
    const names = namesForChecks();
    const { checkFinite: checks = names !== null, accumulate, lossScale, ...clipping } = options;
    checkFlags(this.constructor.name, { checkFinite: checks });
    const scaleOptions = lossScaleOptions(this.constructor.name, lossScale);
    const scaling = currentPrecision() === "f16" ? this.scaledFrom(scaleOptions.initial) : undefined;
    const { value, grads } = this.differentiate(scaling ? scaling.lift(loss) : loss, accumulate);
    const given = scaling ? scaling.lower(value) : value;
    if (checks) {
      // Where a smaller scale may mend them, gradients need not be finite.
      const looked = (x: Tensor): Tensor => (scaling ? select(scaling.isLeast(), sumSquares([x]), 0) : x);
      const gradients = this.slots.map(({ path, parameter }) => [
        `the gradient of ${names?.(path, parameter) ?? path}`,
        looked(grads.get(parameter)),
      ]);
      checkFinite({ "the loss": given, ...Object.fromEntries(gradients) });
    }
    if (scaling) this.updateWhereFinite(grads, clipping, scaling, scaleOptions.growthInterval);
    else this.update(grads, clipping);
    grads.dispose();
    return given;
  }

  /** Updates the parameters by gradients computed elsewhere; takes no ownership of them. */
  update(grads: Grads, options: UpdateOptions = {}): void {
    this.updateBy(grads, options);
  }

  /**
   * An update by gradients of a scaled loss; where one of them is not finite, only the scale changes. At the least scale it is
   * made all the same, as at other precisions: else training would stand still, and nobody see it.
   */
  private updateWhereFinite(grads: Grads, options: UpdateOptions, scaling: LossScale, growthInterval: number): void {
    const states = this.slots.flatMap((slot) => Object.values(slot.states));
    const cells = [...this.parameters, ...states, this.step];
    scope(() => {
      const finite = finiteOf(sumSquares(this.parameters.map((parameter) => grads.get(parameter))));
      const made = finite.logicalOr(scaling.isLeast());
      const before = cells.map(({ value }) => value);
      this.updateBy(grads, options, scaling);
      cells.forEach((cell, i) => {
        cell.set(select(made, cell.value, before[i] as Tensor));
      });
      scaling.adjust(finite, growthInterval);
    });
  }

  private updateBy(grads: Grads, options: UpdateOptions, scaling?: LossScale): void {
    checkOptions(this.constructor.name, options, updateOptions);
    const { clipValue, clipNorm } = options;
    for (const [option, bound] of Object.entries({ clipValue, clipNorm }))
      if (bound !== undefined) checkPositive(this.constructor.name, { [option]: bound });
    // The state belongs to these very parameters.
    guardCells(this.parameters);
    scope(() => {
      const lower = (x: Tensor): Tensor => scaling?.lower(x) ?? x;
      const clipped = new Map(
        this.slots.map((slot) => {
          const gradient = grads.get(slot.parameter);
          return [slot, clipValue === undefined ? gradient : clamp(lower(gradient), -clipValue, clipValue)];
        }),
      );
      // What the loss was scaled by is taken out of gradients by the update, unless clipping their elements did it.
      const scaled = clipValue === undefined ? scaling : undefined;
      const norm = (): Tensor => {
        const size = sumSquares([...clipped.values()]).sqrt();
        return scaled?.lower(size) ?? size;
      };
      const share = clipNorm === undefined ? undefined : div(clipNorm, norm().add(normFloor)).minimum(1);
      const gradScale = scaled ? (share ? scaled.lower(share) : scaled.inverse()) : (share ?? 1);
      const made = this.step.value;
      const step = made.add(1);
      const lr = this.schedule ? scheduled(this.constructor.name, this.schedule, made) : this.lr.value;
      if (this.schedule) this.lr.set(lr);
      for (const { slots, weightDecay, lrScale } of this.groups) {
        const { dtype } = (slots[0] as Slot).parameter;
        this.apply({
          cells: slots.map(({ parameter }) => parameter),
          grads: slots.map((slot) => clipped.get(slot) as Tensor),
          lr: (lrScale === 1 ? lr : lr.mul(lrScale)).cast(dtype),
          gradScale: typeof gradScale === "number" ? gradScale : gradScale.cast(dtype),
          weightDecay,
          step: step.cast(dtype),
          states: (name) => slots.map(({ states }) => states[name] as Cell),
        });
      }
      this.step.set(step);
    });
  }

  captureState(): SavedState {
    return { cells: this.state(), json: this.constructor.name };
  }

  /**
   * @throws UsageError for the state of another kind of optimiser.
   * @throws CheckpointError when states are missing, unexpected or mis-shaped; then nothing has changed.
   */
  restoreState({ tensors, json }: { readonly tensors: StateToRestore["tensors"]; readonly json: Json }): void {
    const name = this.constructor.name;
    if (json !== name) throw new UsageError(`${name}: the saved state is that of ${JSON.stringify(json)}`);
    // Only programs at precision "f16" have made a scale.
    const scaling = scaleIn(tensors) ? (this.scaling ?? this.newScaling()) : undefined;
    restoreCells(name, { ...this.ownState(), ...scaling?.cells() }, tensors);
    if (scaling) this.scaling = scaling;
    else this.scaling?.reset();
  }

  /** Frees the states; the parameters belong to their modules. */
  dispose(): void {
    for (const cell of Object.values(this.state())) cell.dispose();
    this.sums?.dispose();
  }

  private scaledFrom(initial: number): LossScale {
    this.scaling ??= this.newScaling(initial);
    return this.scaling;
  }
  private newScaling(initial?: number): LossScale {
    return new LossScale(this.constructor.name, (this.slots[0] as Slot).parameter, initial);
  }

  private differentiate(loss: (i: Tensor) => Tensor, count: number | undefined): { value: Tensor; grads: Grads } {
    const differentiated = valueAndGrad(loss, { wrt: this.parameters });
    if (count === undefined) return differentiated(scalar(0, "i32"));
    checkCounts(this.constructor.name, { accumulate: count });
    this.sums ??= new GradientSums(this.constructor.name, this.slots);
    return this.sums.meanOf(count, differentiated);
  }

  private state(): Record<string, Cell> {
    return { ...this.ownState(), ...this.scaling?.cells() };
  }
  private ownState(): Record<string, Cell> {
    const named = this.slots.flatMap(({ path, states }) =>
      Object.entries(states).map(([name, cell]): [string, Cell] => [`${path}.${name}`, cell]),
    );
    return { lr: this.lr, step: this.step, ...Object.fromEntries(named) };
  }
}
