// Numbers that change while a model trains, as functions of the step that run inside the compiled step: β of a KL warm-up
// (Bowman et al. 2016, section 3.1; Sønderby et al. 2016, section 2.3), the temperature of a relaxation (Jang et al. 2017).

import { checkPositive, checkUpdates } from "@figment/nn";
import { checkObject, exp, minimum, scope, show, type Tensor, UsageError } from "@figment/tensor";

/** A number at a step: from the number of updates made before, a 0-d f32 tensor, to a 0-d tensor. */
export type Annealing = (step: Tensor) => Tensor;

/**
 * A straight line from `from` to `to` in `steps` updates, then `to`: β of a warm-up.
 *
 * @throws UsageError unless there is at least one step.
 * @example
 * linearAnnealing({ steps: 100 })(scalar(25)); // 0.25
 */
export function linearAnnealing(options: {
  readonly from?: number;
  readonly to?: number;
  readonly steps: number;
}): Annealing {
  const { from = 0, to = 1, steps } = checkObject("linearAnnealing", "options", options, "steps");
  if (![from, to].every(Number.isFinite))
    throw new UsageError(`linearAnnealing: from and to must be finite numbers, got ${show(from)} and ${show(to)}`);
  if (!(steps >= 1 && Number.isFinite(steps)))
    throw new UsageError(`linearAnnealing: steps must be at least 1, got ${steps}`);
  checkUpdates("linearAnnealing", { steps });
  return (step) =>
    scope(() =>
      minimum(step.div(steps), 1)
        .mul(to - from)
        .add(from),
    );
}

/**
 * `from` · e^(−rate · step), but not below `to`: the temperature of Jang et al. 2017, section 4.
 *
 * @throws UsageError unless from ≥ to > 0 and rate > 0.
 * @example
 * exponentialAnnealing({ to: 0.5, rate: 1e-3 })(scalar(100)); // 0.904837
 */
export function exponentialAnnealing(options: {
  readonly from?: number;
  readonly to: number;
  readonly rate: number;
}): Annealing {
  const { from = 1, to, rate } = checkObject("exponentialAnnealing", "options", options, "to", "rate");
  checkPositive("exponentialAnnealing", { from, to, rate });
  if (from < to) throw new UsageError(`exponentialAnnealing: expected from ≥ to, got ${from} and ${to}`);
  return (step) => scope(() => exp(step.mul(-rate)).mul(from).maximum(to));
}
