// The compiled training step of one model: loss, derivatives, clipping, update and moving average in one program.

import {
  checkFunction,
  checkObject,
  mapTree,
  ShapeError,
  type Stateful,
  show,
  showShape,
  type Tensor,
  UsageError,
} from "@figment/tensor";
import { checkCounts } from "./checks.js";
import { EMA, type EmaOptions } from "./ema.js";
import { Module } from "./module.js";
import { type MinimizeOptions, Optimizer } from "./optim/optimizer.js";
import { compileTraining, type StepBatch, type TrainingOptions, type TrainingStep } from "./training.js";

/** Options of {@link compileStep}. */
export interface StepOptions extends Omit<MinimizeOptions, "checkFinite">, Omit<TrainingOptions, "name"> {
  /** Keeps a moving average of the weights with this decay, or with these options. Default: none. */
  readonly ema?: number | EmaOptions;
  /**
   * Takes that many small batches for each update, one after the other, and the mean of their gradients: what one batch of
   * all of them gives, in the memory of one. Batches are then stacked, [accumulate, N, …], as a loader with
   * `stack: accumulate` yields them, and the loss is given one small batch at a time. Default 1: batches are not stacked.
   */
  readonly accumulate?: number;
}

/** A compiled training step of one model. */
export interface TrainStep<M extends Module, B extends StepBatch, E extends EMA<M> | undefined>
  extends TrainingStep<B, { readonly loss: Tensor }> {
  /** The moving average, if one was asked for. */
  readonly ema: E;
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
 * @throws UsageError for a model, an optimiser, a loss or options that are none, an optimiser that trains no parameter of the
 * model, and when `accumulate` is no positive integer; ShapeError (from the step) when a batch is not stacked so.
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
  if (!(model instanceof Module)) throw new UsageError(`compileStep: expected a module to train, got ${show(model)}`);
  if (!(optimizer instanceof Optimizer))
    throw new UsageError(`compileStep: expected an optimiser such as new AdamW(model), got ${show(optimizer)}`);
  const own = new Set(model.parameters());
  if (!optimizer.parameters.some((parameter) => own.has(parameter)))
    throw new UsageError(
      "compileStep: the optimiser trains no parameter of the model; expected one made for this model",
    );
  checkFunction("compileStep", "loss", loss);
  const {
    ema: average,
    precision,
    checkFinite,
    accumulate,
    ...clipping
  } = checkObject("compileStep", "options", options);
  if (accumulate !== undefined) checkCounts("compileStep", { accumulate });
  const ema =
    average === undefined ? undefined : new EMA(model, typeof average === "number" ? { decay: average } : average);
  const parts: Readonly<Record<string, Stateful>> = { model, optimizer, ...(ema ? { ema } : {}) };
  const step = compileTraining(
    parts,
    (batch: B) => {
      if (accumulate !== undefined) checkStacked(batch, accumulate);
      const lossOf = (i: Tensor): Tensor =>
        loss(model, accumulate === undefined ? batch : mapTree(batch, (stacked) => stacked.at(i)));
      const value = optimizer.minimize(lossOf, { ...clipping, accumulate });
      ema?.update();
      return { loss: value };
    },
    { precision, checkFinite },
  );
  const dispose = (): void => {
    disposeStep();
    ema?.dispose();
  };
  const disposeStep = step.dispose;
  return Object.defineProperties(step, {
    ema: { value: ema, enumerable: true },
    dispose: { value: dispose, enumerable: true },
  }) as TrainStep<M, B, WithEma<O, M>>;
}

function checkStacked(batch: StepBatch, accumulate: number): void {
  for (const [name, { shape }] of Object.entries(batch))
    if (shape[0] !== accumulate)
      throw new ShapeError(
        `training step: with accumulate ${accumulate} the batch's ${name} must be [${accumulate}, N, …], got ${showShape(shape)}; a loader with stack: ${accumulate} yields such batches`,
      );
}
