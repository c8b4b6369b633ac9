// Learning-rate schedules: functions of the step as a tensor, so that they run inside the compiled step.

import { scope, type Tensor, UsageError } from "@figment/tensor";

/** Factor of the learning rate at a step: a 0-d f32 tensor counted from 1, to a 0-d tensor. */
export type Schedule = (step: Tensor) => Tensor;

/** Linear rise from 0 to 1 over the first `steps` updates, then 1. */
export function warmup(steps: number): Schedule {
  if (!(steps >= 1)) throw new UsageError(`warmup: expected at least one step, got ${steps}`);
  return (step) => scope(() => step.div(steps).minimum(1));
}

/** Lengths of {@link warmupCosine}, in updates. */
export interface WarmupCosineOptions {
  /** Updates of the linear rise. Default 0. */
  readonly warmup?: number;
  /** Updates until the factor has fallen to `floor`; it stays there. */
  readonly total: number;
  /** Default 0. */
  readonly floor?: number;
}

/**
 * Linear rise over `warmup` updates, then floor + (1 − floor)·(1 + cos(π·p))/2, where p is the fraction of the
 * remaining updates that has passed (Loshchilov & Hutter 2017, eq. 5, without restarts).
 *
 * @throws UsageError unless total exceeds warmup.
 * @example
 * new AdamW(model, { lr: 1e-3, schedule: warmupCosine({ warmup: 100, total: 3000 }) });
 */
export function warmupCosine({ warmup: rise = 0, total, floor = 0 }: WarmupCosineOptions): Schedule {
  if (!(total > rise)) throw new UsageError(`warmupCosine: total must exceed warmup, got ${total} and ${rise}`);
  return (step) =>
    scope(() => {
      const passed = step
        .sub(rise)
        .div(total - rise)
        .maximum(0)
        .minimum(1);
      const cosine = passed
        .mul(Math.PI)
        .cos()
        .add(1)
        .mul((1 - floor) / 2)
        .add(floor);
      return rise > 0 ? cosine.mul(step.div(rise).minimum(1)) : cosine;
    });
}
