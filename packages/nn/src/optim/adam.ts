// Adam (Kingma & Ba 2015) and AdamW (Loshchilov & Hutter 2019): moments as cells named by the parameters'
// paths, and an update of all parameters by one fused kernel.

import {
  adamUpdate,
  Cell,
  div,
  type Grads,
  type Json,
  restoreCells,
  type SavedState,
  type Stateful,
  type StateToRestore,
  scope,
  sumSquares,
  type Tensor,
  UsageError,
  valueAndGrad,
} from "@figment/tensor";
import { joinPath } from "../members.js";
import { Module } from "../module.js";
import type { Parameter } from "../parameter.js";
import type { Schedule } from "./schedule.js";

/** What an optimiser trains: a module, several, or several by name (which then prefixes their paths). */
export type Trainable = Module | readonly Module[] | Readonly<Record<string, Module>>;

/** Constants of Adam. */
export interface AdamOptions {
  /** Learning rate. Default 1e-3. */
  readonly lr?: number;
  /** Factor of the learning rate as a function of the step, evaluated inside the program. Default: always 1. */
  readonly schedule?: Schedule;
  /** Decay of the moving averages of the gradient and of its square. Default [0.9, 0.999]. */
  readonly betas?: readonly [number, number];
  /** Added to the denominator. Default 1e-8. */
  readonly eps?: number;
  /** Default 0 for Adam, 0.01 for AdamW. */
  readonly weightDecay?: number;
}

/** How one update is made. */
export interface MinimizeOptions {
  /** Gradients are scaled down so that their global norm is at most this. Default: no clipping. */
  readonly clipNorm?: number;
}

/** A parameter with its moments. */
interface Slot {
  readonly path: string;
  readonly parameter: Parameter;
  /** Moving average of the gradient. */
  readonly m: Cell;
  /** Moving average of its square. */
  readonly v: Cell;
}

/** Added to the gradients' norm before dividing by it, as PyTorch's clip_grad_norm_ does. */
const normFloor = 1e-6;

/**
 * Adam with L2 regularisation through the gradient (Kingma & Ba 2015, algorithm 1), in PyTorch's formula:
 * p ← p − lr/(1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + eps).
 *
 * @example
 * const model = new Linear(2, 1).init(rng(0));
 * const optimizer = new Adam(model, { lr: 1e-2 });
 * const loss = optimizer.minimize(() => mse(model.forward(tensor([[1, 2]])), tensor([[3]])));
 */
export class Adam implements Stateful {
  /** The learning rate, a 0-d cell: read inside compiled steps, so changing it needs no new program. */
  readonly lr: Cell;
  /** Updates made so far, a 0-d f32 cell. */
  readonly step: Cell;
  protected readonly decoupled: boolean = false;
  private readonly slots: readonly Slot[];
  private readonly schedule: Schedule | undefined;
  private readonly betas: readonly [number, number];
  private readonly eps: number;
  private readonly weightDecay: number;

  /** @throws UsageError when there is nothing to train, two parameters share a path, or a constant is out of range. */
  constructor(target: Trainable, options: AdamOptions = {}) {
    const { lr = 1e-3, schedule, betas = [0.9, 0.999], eps = 1e-8, weightDecay = 0 } = options;
    const name = this.constructor.name;
    if (!(lr >= 0 && Number.isFinite(lr))) throw new UsageError(`${name}: the learning rate must be ≥ 0, got ${lr}`);
    if (!betas.every((beta) => beta >= 0 && beta < 1))
      throw new UsageError(`${name}: betas must be in [0, 1), got ${betas.join(", ")}`);
    this.lr = new Cell({ shape: [], name: `${name}.lr`, initial: () => [lr] });
    this.step = new Cell({ shape: [], name: `${name}.step`, initial: () => [0] });
    this.schedule = schedule;
    this.betas = betas;
    this.eps = eps;
    this.weightDecay = weightDecay;
    this.slots = slotsOf(name, target);
  }

  /** The parameters trained, each once. */
  get parameters(): readonly Parameter[] {
    return this.slots.map(({ parameter }) => parameter);
  }

  /** Sets the learning rate from now on. */
  setLearningRate(lr: number): void {
    this.lr.setData([lr]);
  }

  /**
   * Differentiates `loss` with respect to the parameters and updates them.
   *
   * @param loss gives one number: a tensor of one element.
   * @returns the loss before the update.
   */
  minimize(loss: () => Tensor, options: MinimizeOptions = {}): Tensor {
    const { value, grads } = valueAndGrad(loss, { wrt: this.parameters })();
    this.update(grads, options);
    grads.dispose();
    return value;
  }

  /** Updates the parameters by gradients computed elsewhere; takes no ownership of them. */
  update(grads: Grads, { clipNorm }: MinimizeOptions = {}): void {
    scope(() => {
      const { slots, betas, eps, weightDecay, decoupled } = this;
      const gradients = slots.map(({ parameter }) => grads.get(parameter));
      const step = this.step.value.add(1);
      this.step.set(step);
      const base = this.lr.value;
      adamUpdate({
        cells: this.parameters,
        grads: gradients,
        m: slots.map(({ m }) => m),
        v: slots.map(({ v }) => v),
        lr: this.schedule ? base.mul(this.schedule(step)) : base,
        step,
        gradScale: clipNorm === undefined ? 1 : div(clipNorm, sumSquares(gradients).sqrt().add(normFloor)).minimum(1),
        beta1: betas[0],
        beta2: betas[1],
        eps,
        weightDecay,
        decoupled,
      });
    });
  }

  captureState(): SavedState {
    return { cells: this.state(), json: this.constructor.name };
  }

  /**
   * @throws UsageError for the state of another kind of optimiser.
   * @throws CheckpointError when moments are missing, unexpected or mis-shaped; then nothing has changed.
   */
  restoreState({ tensors, json }: { readonly tensors: StateToRestore["tensors"]; readonly json: Json }): void {
    const name = this.constructor.name;
    if (json !== name) throw new UsageError(`${name}: the saved state is that of ${JSON.stringify(json)}`);
    restoreCells(name, this.state(), tensors);
  }

  /** Frees the moments; the parameters belong to their modules. */
  dispose(): void {
    for (const cell of Object.values(this.state())) cell.dispose();
  }

  private state(): Record<string, Cell> {
    const moments = this.slots.flatMap(({ path, m, v }): [string, Cell][] => [
      [`${path}.m`, m],
      [`${path}.v`, v],
    ]);
    return { lr: this.lr, step: this.step, ...Object.fromEntries(moments) };
  }
}

/**
 * Adam whose weight decay acts on the weights directly, p ← p − lr·λ·p, and not through the gradient
 * (Loshchilov & Hutter 2019, algorithm 2). Weight decay defaults to 0.01.
 *
 * @example
 * const optimizer = new AdamW(model, { lr: 1e-3 });
 */
export class AdamW extends Adam {
  protected override readonly decoupled = true;

  constructor(target: Trainable, options: AdamOptions = {}) {
    super(target, { ...options, weightDecay: options.weightDecay ?? 0.01 });
  }
}

function slotsOf(name: string, target: Trainable): Slot[] {
  const named: [string, Module][] =
    target instanceof Module
      ? [["", target]]
      : Array.isArray(target)
        ? target.map((module: Module, i: number): [string, Module] => [target.length > 1 ? String(i) : "", module])
        : Object.entries(target as Record<string, Module>);
  const seen = new Set<Parameter>();
  const slots: Slot[] = [];
  for (const [prefix, module] of named) {
    for (const [path, parameter] of module.namedParameters()) {
      if (seen.has(parameter)) continue;
      seen.add(parameter);
      slots.push(slot(joinPath(prefix, path), parameter));
    }
  }
  if (slots.length === 0) throw new UsageError(`${name}: there are no parameters to train`);
  return slots;
}

function slot(path: string, parameter: Parameter): Slot {
  const { shape, dtype } = parameter;
  const size = shape.reduce((n, d) => n * d, 1);
  const moment = (name: string): Cell =>
    new Cell({ shape, dtype, name: `${path}.${name}`, initial: () => new Float32Array(size) });
  return { path, parameter, m: moment("m"), v: moment("v") };
}
