// Dynamic loss scaling (Micikevicius et al. 2018, section 3.2): gradients too small for f16 are lifted into its range by a
// factor of the loss, which is found while training: halved where a gradient is not finite, doubled after steps without such.

import { Cell, checkOptions, div, maximum, minimum, select, show, type Tensor, UsageError } from "@figment/tensor";
import { checkCounts } from "../checks.js";

/** How the loss of a program at precision "f16" is scaled. */
export interface LossScaleOptions {
  /** The scale to begin with: a power of two, which changes no digit, from 2⁻²⁴ to 2²⁴. Default 2¹⁶. */
  readonly initial?: number;
  /** Updates in a row with finite gradients after which the scale is doubled. Default 2000. */
  readonly growthInterval?: number;
}

const defaults: Required<LossScaleOptions> = { initial: 2 ** 16, growthInterval: 2000 };

/** The scale stays from 2⁻²⁴ to 2²⁴, so that f32 holds scaled losses. */
const mostPower = 24;
const leastScale = 2 ** -mostPower;

/** Checks options that may be missing. */
export function lossScaleOptions(owner: string, options: LossScaleOptions = {}): Required<LossScaleOptions> {
  checkOptions(`${owner}: lossScale`, options, ["initial", "growthInterval"]);
  const { initial, growthInterval } = { ...defaults, ...options };
  const power = typeof initial === "number" ? Math.log2(initial) : Number.NaN;
  if (!Number.isInteger(power) || Math.abs(power) > mostPower)
    throw new UsageError(
      `${owner}: lossScale.initial must be a power of two from 2^-${mostPower} to 2^${mostPower}, got ${show(initial)}`,
    );
  checkCounts(owner, { "lossScale.growthInterval": growthInterval });
  return { initial, growthInterval };
}

/** Whether a saved state has that of a scale. */
export const scaleIn = (tensors: Readonly<Record<string, Tensor>>): boolean => Object.hasOwn(tensors, "lossScale");

/** The scale of a loss, and what moves it. */
export class LossScale {
  /** A 0-d f32 cell. */
  readonly scale: Cell;
  /** Updates with finite gradients since the scale was last changed. */
  private readonly finiteSteps: Cell;
  private readonly initial: number;

  constructor(owner: string, beside: Cell, initial = defaults.initial) {
    this.initial = initial;
    this.scale = new Cell({ shape: [], name: `${owner}.lossScale`, initial: () => [initial], beside });
    this.finiteSteps = new Cell({ shape: [], name: `${owner}.finiteSteps`, initial: () => [0], beside });
  }

  /** As they are named in saved states. */
  cells(): Record<string, Cell> {
    return { lossScale: this.scale, finiteSteps: this.finiteSteps };
  }

  /** The loss, scaled; one in 16 bits in f32, which holds it. */
  lift(loss: (i: Tensor) => Tensor): (i: Tensor) => Tensor {
    return (i) => {
      const given = loss(i);
      const value = given.dtype === "f16" || given.dtype === "bf16" ? given.cast("f32") : given;
      return value.mul(this.scale.value.cast(value.dtype));
    };
  }

  /** 1 / scale. */
  inverse(): Tensor {
    return div(1, this.scale.value);
  }
  /** What was computed from the scaled loss, without the scale. */
  lower(x: Tensor): Tensor {
    return x.mul(this.inverse().cast(x.dtype));
  }

  /** Whether the scale is the least one, so that gradients that are not finite stay so. */
  isLeast(): Tensor {
    return this.scale.value.le(leastScale);
  }

  /** Moves the scale after an update whose gradients were `finite`, or were not. */
  adjust(finite: Tensor, growthInterval: number): void {
    const scale = this.scale.value;
    const steps = this.finiteSteps.value.add(1);
    const due = steps.ge(growthInterval);
    const kept = select(due, minimum(scale.mul(2), 2 ** mostPower), scale);
    this.scale.set(select(finite, kept, maximum(scale.mul(0.5), leastScale)));
    this.finiteSteps.set(select(finite.logicalAnd(due.logicalNot()), steps, 0));
  }

  reset(): void {
    this.scale.setData([this.initial]);
    this.finiteSteps.setData([0]);
  }
}
