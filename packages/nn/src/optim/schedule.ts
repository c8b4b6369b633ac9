// Learning rates as functions of the step, a tensor, so that they run inside the compiled step. Formulas are those of
// the schedulers of the same names in PyTorch, in closed form. The count of updates is f32, which programs turn into rates
// without further work, so that schedules end within 2²⁴ updates; training goes on beyond at the last rate.

import { checkArray, checkObject, exp, full, minimum, scope, select, type Tensor, UsageError } from "@figment/tensor";
import { checkNotNegative, checkPositive, checkUpdates } from "../checks.js";

/** The learning rate at a step: from the number of updates made before, a 0-d f32 tensor 0, 1, 2, …, to a 0-d tensor. */
export type Schedule = (step: Tensor) => Tensor;

/** From where to where a learning rate moves, and in how many updates; it stays there. */
export interface LrSpan {
  readonly from: number;
  /** Default 0. */
  readonly to?: number;
  readonly steps: number;
}

/** The part of `steps` that has passed, at most 1. */
const passed = (step: Tensor, steps: number): Tensor => minimum(step.div(steps), 1);

/**
 * The same learning rate always; for use as a stage of {@link sequentialLr}.
 *
 * @throws UsageError when it is negative.
 * @example
 * constantLr(0.1)(scalar(7)); // 0.1
 */
export function constantLr(lr: number): Schedule {
  checkNotNegative("constantLr", { lr });
  return () => full([], lr);
}

/**
 * A linear rise over the first `steps` updates, then constant: `to` · min(1, (t + 1) / steps) (Goyal et al. 2017,
 * section 2.2). The first update moves already.
 *
 * @throws UsageError unless `to` ≥ 0 and there is at least one step.
 * @example
 * warmupLr({ to: 1, steps: 10 })(scalar(4)); // 0.5
 */
export function warmupLr(options: { readonly to: number; readonly steps: number }): Schedule {
  const { to, steps } = checkObject("warmupLr", "options", options, "to", "steps");
  checkNotNegative("warmupLr", { to });
  checkUpdates("warmupLr", { steps });
  return (step) => scope(() => passed(step.add(1), steps).mul(to));
}

/**
 * A straight line: from + (to − from) · t / steps.
 *
 * @throws UsageError unless rates are ≥ 0 and steps > 0.
 * @example
 * linearLr({ from: 1, to: 0, steps: 10 })(scalar(4)); // 0.6
 */
export const linearLr = (options: LrSpan): Schedule => {
  const { from, to = 0, steps } = checkObject("linearLr", "options", options, "from", "steps");
  checkNotNegative("linearLr", { from, to });
  checkUpdates("linearLr", { steps });
  return (step) =>
    scope(() =>
      passed(step, steps)
        .mul(to - from)
        .add(from),
    );
};

/**
 * A power of the remaining part: to + (from − to) · (1 − t / steps)^power.
 *
 * @throws UsageError unless rates are ≥ 0, steps > 0 and power > 0.
 * @example
 * polynomialLr({ from: 1, steps: 10, power: 2 })(scalar(5)); // 0.25
 */
export function polynomialLr(options: LrSpan & { readonly power: number }): Schedule {
  const { from, to = 0, steps, power } = checkObject("polynomialLr", "options", options, "from", "steps", "power");
  checkNotNegative("polynomialLr", { from, to });
  checkUpdates("polynomialLr", { steps });
  checkPositive("polynomialLr", { power });
  return (step) =>
    scope(() =>
      passed(step, steps)
        .neg()
        .add(1)
        .pow(power)
        .mul(from - to)
        .add(to),
    );
}

/**
 * Half a cosine: to + (from − to) · (1 + cos(π · t / steps)) / 2 (Loshchilov & Hutter 2017, eq. 5, without restarts).
 *
 * @throws UsageError unless rates are ≥ 0 and steps > 0.
 * @example
 * cosineLr({ from: 1, to: 0.2, steps: 100 })(scalar(50)); // 0.6
 */
export function cosineLr(options: LrSpan): Schedule {
  const { from, to = 0, steps } = checkObject("cosineLr", "options", options, "from", "steps");
  checkNotNegative("cosineLr", { from, to });
  checkUpdates("cosineLr", { steps });
  return (step) =>
    scope(() =>
      passed(step, steps)
        .mul(Math.PI)
        .cos()
        .add(1)
        .mul((from - to) / 2)
        .add(to),
    );
}

/**
 * The same factor at each update: from · decayᵗ.
 *
 * @throws UsageError unless from ≥ 0 and decay > 0.
 * @example
 * exponentialLr({ from: 1, decay: 0.5 })(scalar(3)); // 0.125
 */
export function exponentialLr(options: { readonly from: number; readonly decay: number }): Schedule {
  const { from, decay } = checkObject("exponentialLr", "options", options, "from", "decay");
  checkNotNegative("exponentialLr", { from });
  checkPositive("exponentialLr", { decay });
  return (step) => scope(() => exp(step.mul(Math.log(decay))).mul(from));
}

/**
 * A factor at every so many updates: from · factor^⌊t / every⌋.
 *
 * @throws UsageError unless from ≥ 0, factor > 0 and every > 0.
 * @example
 * stepLr({ from: 1, factor: 0.5, every: 10 })(scalar(25)); // 0.25
 */
export function stepLr(options: { readonly from: number; readonly factor: number; readonly every: number }): Schedule {
  const { from, factor, every } = checkObject("stepLr", "options", options, "from", "factor", "every");
  checkNotNegative("stepLr", { from });
  checkPositive("stepLr", { factor });
  checkUpdates("stepLr", { every });
  return (step) => scope(() => exp(step.div(every).floor().mul(Math.log(factor))).mul(from));
}

/** A schedule that rules for some updates. */
export interface LrStage {
  readonly lr: Schedule;
  readonly steps: number;
}

/**
 * One schedule after another, each counting its updates from 0; the last rules for ever.
 *
 * @throws UsageError when a stage has no steps.
 * @example
 * const decay = cosineLr({ from: 0.1, steps: 100 });
 * sequentialLr([{ lr: warmupLr({ to: 0.1, steps: 10 }), steps: 10 }], decay)(scalar(10)); // 0.1
 */
export function sequentialLr(stages: readonly LrStage[], last: Schedule): Schedule {
  checkArray("sequentialLr", "stages", stages);
  for (const stage of stages)
    checkUpdates("sequentialLr", { steps: checkObject("sequentialLr", "a stage", stage, "lr").steps });
  if (stages.length > 0)
    checkUpdates("sequentialLr", { "all steps": stages.reduce((sum, { steps }) => sum + steps, 0) });
  const [first, ...rest] = stages;
  if (!first) return last;
  const next = sequentialLr(rest, last);
  return (step) => scope(() => select(step.lt(first.steps), first.lr(step), next(step.sub(first.steps))));
}

/** Lengths and heights of {@link warmupCosineLr}. */
export interface WarmupCosineOptions {
  /** The highest rate. */
  readonly peak: number;
  /** Updates of the linear rise. Default 0. */
  readonly warmup?: number;
  /** Updates until the rate has fallen to `floor`. */
  readonly total: number;
  /** Default 0. */
  readonly floor?: number;
}

/**
 * {@link warmupLr} to `peak`, then {@link cosineLr} to `floor` in the remaining updates.
 *
 * @throws UsageError unless total exceeds warmup.
 * @example
 * new AdamW(model, { lr: warmupCosineLr({ peak: 1e-3, warmup: 100, total: 3000 }) });
 */
export function warmupCosineLr(options: WarmupCosineOptions): Schedule {
  const { peak, warmup = 0, total, floor = 0 } = checkObject("warmupCosineLr", "options", options, "peak", "total");
  checkNotNegative("warmupCosineLr", { peak, warmup, floor });
  checkUpdates("warmupCosineLr", { total });
  if (!(total > warmup)) throw new UsageError(`warmupCosineLr: total must exceed warmup, got ${total} and ${warmup}`);
  const fall = cosineLr({ from: peak, to: floor, steps: total - warmup });
  return warmup > 0 ? sequentialLr([{ lr: warmupLr({ to: peak, steps: warmup }), steps: warmup }], fall) : fall;
}
