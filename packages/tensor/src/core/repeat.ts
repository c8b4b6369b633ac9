// repeat(n, body): a loop inside a program. What one iteration leaves to the next lies in cells.

import { UsageError } from "../errors.js";
import type { LoopAttrs } from "../ir/graph.js";
import type { OpDef } from "../ops/definition.js";
import { show, showShape } from "../shape.js";
import { isRematerialised } from "./cellOverlay.js";
import { scalar } from "./create.js";
import { scope } from "./scope.js";
import { apart, recordEntry } from "./tape.js";
import type { Tensor } from "./tensor.js";
import { currentTrace } from "./trace.js";

/** The counter of a loop is an i32. */
const mostIterations = 2 ** 31 - 1;

/** A loop as a node; made by {@link repeat} only. */
const repeatDef: OpDef<LoopAttrs> = {
  name: "repeat",
  effect: "state",
  nondifferentiable: true,
  infer: (_inputs, { body }) => body.states.map(({ shape, dtype }) => ({ shape, dtype })),
  lower: { kind: "loop" },
};

/**
 * Runs `body(0)` … `body(n − 1)`. Inside a compiled function this is one loop of the program, however large n is: the
 * body is traced once, for all iterations. What an iteration computes is left to the next, and to the code after the
 * loop, in cells: parameters, moments, random streams and others; tensors of the body are not to be used outside of
 * it. Tensors from outside may be used inside.
 *
 * Each iteration writes its cells when all of it has been computed. A program that is aborted or fails within the loop
 * leaves the cells as the last complete iteration did; what was written before the loop is written before it begins.
 *
 * No derivative flows through the loop; the body may differentiate, as in `optimizer.minimize`.
 *
 * @param n how often: an integer from 0 to 2³¹ − 1.
 * @param body synchronous; `i` is the number of the iteration, a 0-d i32 tensor. Its result is ignored.
 * @throws UsageError when n is not such a number; when the body returns a Promise or takes a tensor or cell that is being
 *   differentiated around the loop; inside `remat`; and, in a compiled function, when loops nest more than eight deep.
 * @example
 * const total = new Cell({ shape: [], initial: () => [0] });
 * const rows = tensor([[1, 2], [3, 4], [5, 6]]);
 * const addUp = compile((x: Tensor) => repeat(3, (i) => total.set(total.value.add(x.at(i).sum()))));
 * addUp(rows);
 * total.value; // 21
 */
export function repeat(n: number, body: (i: Tensor) => unknown): void {
  if (!Number.isInteger(n) || n < 0 || n > mostIterations)
    throw new UsageError(`repeat: expected an integer from 0 to ${mostIterations} and a function, got ${show(n)}`);
  if (typeof body !== "function") throw new UsageError(`repeat: expected a function, got ${show(body)}`);
  if (isRematerialised())
    throw new UsageError(
      "repeat: a loop cannot stand inside remat, which would run it again; put remat inside its body",
    );
  const crossed = ({ shape, dtype }: Tensor): never => {
    throw new UsageError(
      `repeat: no derivative flows through a loop, but its body takes a tensor (${dtype} ${showShape(shape)}) that is being differentiated; use stopGradient, or a JavaScript loop`,
    );
  };
  const iterate = (i: Tensor): void => {
    const result = body(i);
    if (!(result instanceof Promise)) return;
    result.catch(() => {});
    throw new UsageError("repeat: the body returned a Promise; it must be synchronous");
  };
  const untouched = apart(crossed, () => {
    const trace = currentTrace();
    if (trace) return n > 0 ? trace.repeat(repeatDef, n, iterate) : [];
    for (let i = 0; i < n; i++) scope(() => iterate(scalar(i, "i32")));
    return [];
  });
  for (const [before, after] of untouched) recordEntry({ inputs: [before], outputs: [after], backward: (c) => c });
}
