// Losses: functions from predictions and targets to one number, the mean over all elements.

import {
  abs,
  crossEntropy,
  DTypeError,
  neg,
  ShapeError,
  scope,
  select,
  softplus,
  square,
  sub,
  Tensor,
} from "@figment/tensor";

/** Predictions and targets are compared element by element: broadcasting here is nearly always a mistake. */
function expectSameShape(loss: string, prediction: Tensor, target: Tensor): void {
  for (const [name, x] of Object.entries({ prediction, target })) {
    if (!(x instanceof Tensor)) throw new DTypeError(`${loss}: expected a tensor for the ${name}, got ${String(x)}`);
  }
  const same = prediction.rank === target.rank && prediction.shape.every((d, i) => d === target.shape[i]);
  if (!same) {
    throw new ShapeError(
      `${loss}: prediction is [${prediction.shape.join(", ")}], target is [${target.shape.join(", ")}]; expected the same shape`,
    );
  }
}

/**
 * Mean squared error, mean((prediction − target)²), 0-d.
 *
 * @throws ShapeError when the shapes differ.
 * @example
 * mse(tensor([1, 2]), tensor([1, 4])); // 2
 */
export function mse(prediction: Tensor, target: Tensor): Tensor {
  expectSameShape("mse", prediction, target);
  return scope(() => square(prediction.sub(target)).mean());
}

/**
 * Mean absolute error, mean(|prediction − target|), 0-d.
 *
 * @throws ShapeError when the shapes differ.
 * @example
 * l1(tensor([1, 2]), tensor([1, 4])); // 1
 */
export function l1(prediction: Tensor, target: Tensor): Tensor {
  expectSameShape("l1", prediction, target);
  return scope(() => abs(prediction.sub(target)).mean());
}

/**
 * Huber's loss, 0-d: the mean of d²/2 where |d| ≤ delta and of delta·(|d| − delta/2) elsewhere (Huber 1964).
 *
 * @throws ShapeError when the shapes differ.
 * @example
 * huber(tensor([0, 0]), tensor([0.5, 3])); // (0.125 + 2.5) / 2
 */
export function huber(prediction: Tensor, target: Tensor, delta = 1): Tensor {
  expectSameShape("huber", prediction, target);
  return scope(() => {
    const distance = abs(prediction.sub(target));
    return select(distance.le(delta), square(distance).mul(0.5), distance.sub(delta / 2).mul(delta)).mean();
  });
}

/**
 * Cross entropy of Bernoulli variables given by logits, 0-d: the mean of
 * y·softplus(−x) + (1 − y)·softplus(x), which overflows nowhere, keeps its digits where x is sure, and is smooth.
 *
 * @param target probabilities in [0, 1], of the logits' shape.
 * @throws ShapeError when the shapes differ.
 * @example
 * binaryCrossEntropyWithLogits(tensor([0]), tensor([1])); // ln 2
 */
export function binaryCrossEntropyWithLogits(logits: Tensor, target: Tensor): Tensor {
  expectSameShape("binaryCrossEntropyWithLogits", logits, target);
  return scope(() => {
    const [one, zero] = [target.mul(softplus(neg(logits))), sub(1, target).mul(softplus(logits))];
    return one.add(zero).mean();
  });
}

/**
 * Cross entropy of classes given by logits, 0-d: the mean of −ln softmax(logits)[label].
 *
 * @param logits [rows, classes].
 * @param labels i32 [rows]; a label outside 0 … classes − 1 fails when the work runs, with ERR_FIGMENT_INDEX.
 * @example
 * crossEntropyLoss(tensor([[0, 0]]), tensor([1], { dtype: "i32" })); // ln 2
 */
export function crossEntropyLoss(logits: Tensor, labels: Tensor): Tensor {
  return scope(() => crossEntropy(logits, labels).mean());
}
