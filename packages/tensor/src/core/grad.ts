// Derivatives of functions, as functions: grad, valueAndGrad, and ways to stop, recompute or replace
// what flows back.

import { isFloat } from "../dtype.js";
import { DTypeError, ShapeError, UsageError } from "../errors.js";
import { barrier } from "../ops/movement.js";
import { show, showShape } from "../shape.js";
import type { Cell, CellTree } from "./cell.js";
import { CellRecorder, CellReplay, withCells } from "./cellOverlay.js";
import { fullLike } from "./create.js";
import { ScopeFrame, within } from "./scope.js";
import { follow, isObserved, isTracked, recordEntry, Tape, untaped, vjpOf } from "./tape.js";
import { Tensor } from "./tensor.js";
import { currentTrace } from "./trace.js";
import { mapTree } from "./tree.js";

/** What to differentiate with respect to: the cells of a module, or a list of cells. */
export type Wrt = CellTree | readonly Cell[];

/**
 * Derivatives by cell.
 *
 * @example
 * const cell = new Cell({ shape: [2], initial: () => [1, 2] });
 * const { grads } = valueAndGrad(() => cell.value.square().sum(), { wrt: [cell] })();
 * grads.get(cell).sum(); // 6
 */
export class Grads implements Iterable<readonly [Cell, Tensor]> {
  private readonly byCell: ReadonlyMap<Cell, Tensor>;

  constructor(byCell: ReadonlyMap<Cell, Tensor>) {
    this.byCell = byCell;
  }

  /**
   * The derivative with respect to a cell; zeros where the function does not depend on it.
   *
   * @throws UsageError for a cell that was not asked for.
   */
  get(cell: Cell): Tensor {
    const gradient = this.byCell.get(cell);
    if (!gradient) throw new UsageError(`Grads.get: ${cell.name} is not among the cells that were differentiated`);
    return gradient;
  }

  [Symbol.iterator](): Iterator<readonly [Cell, Tensor]> {
    return this.byCell[Symbol.iterator]();
  }

  dispose(): void {
    for (const gradient of this.byCell.values()) gradient.dispose();
  }
}

function checkFunction(op: string, f: unknown): void {
  if (typeof f !== "function") throw new UsageError(`${op}: expected a function, got ${show(f)}`);
}

type Scalar = (...args: never[]) => Tensor;
type Rest<F extends Scalar> = Parameters<F>;

/**
 * The gradient of a scalar function with respect to its first argument (a tensor), or, with `wrt`, with
 * respect to the cells that it reads. The result can be differentiated again.
 *
 * @param f gives one number: a tensor of one element.
 * @throws ShapeError when `f` gives something else.
 * @example
 * const slope = grad((x: Tensor) => x.square().sum());
 * slope(tensor([1, 2, 3])).at(2); // 6
 */
export function grad<F extends Scalar>(f: F): (...args: Rest<F>) => Tensor;
export function grad<F extends Scalar>(f: F, options: { wrt: Wrt }): (...args: Rest<F>) => Grads;
export function grad<F extends Scalar>(f: F, options?: { wrt: Wrt }): (...args: Rest<F>) => Tensor | Grads {
  checkFunction("grad", f);
  if (options) {
    const both = valueAndGrad(f, options);
    return (...args) => {
      const { value, grads } = both(...args);
      value.dispose();
      return grads;
    };
  }
  const both = valueAndGrad(f);
  return (...args) => {
    const { value, grad: gradient } = both(...args);
    value.dispose();
    return gradient;
  };
}

/**
 * Like {@link grad}, giving the function's value too.
 *
 * @example
 * const { value, grad: slope } = valueAndGrad((x: Tensor) => x.square().sum())(tensor([3]));
 * value; // 9
 * slope.at(0); // 6
 */
export function valueAndGrad<F extends Scalar>(f: F): (...args: Rest<F>) => { value: Tensor; grad: Tensor };
export function valueAndGrad<F extends Scalar>(
  f: F,
  options: { wrt: Wrt },
): (...args: Rest<F>) => { value: Tensor; grads: Grads };
export function valueAndGrad<F extends Scalar>(
  f: F,
  options?: { wrt: Wrt },
): (...args: Rest<F>) => { value: Tensor; grad?: Tensor; grads?: Grads } {
  checkFunction("valueAndGrad", f);
  return (...args) => {
    if (!options) {
      const x = (args as unknown[])[0];
      if (!(x instanceof Tensor) || !isFloat(x.dtype)) {
        throw new DTypeError(
          `grad: the first argument must be a float tensor, got ${x instanceof Tensor ? x.dtype : show(x)}; pass { wrt } to differentiate cells`,
        );
      }
      const { value, gradients } = differentiate((x1) => f(...([x1, ...(args as unknown[]).slice(1)] as never[])), x);
      return { value, grad: gradients };
    }
    const { wrt } = options;
    if (typeof wrt !== "object" || wrt === null)
      throw new UsageError(`grad: wrt must be a module or a list of cells, got ${show(wrt)}`);
    const cells = "cells" in wrt ? wrt.cells() : wrt;
    return differentiateCells(
      () => f(...args),
      cells.filter((cell) => isFloat(cell.dtype)),
    );
  };
}

function differentiate(f: (x: Tensor) => Tensor, x: Tensor): { value: Tensor; gradients: Tensor } {
  return framed(() => {
    const tape = new Tape();
    // A handle of its own: `f` may capture the very tensor that it is given, which then is a constant.
    const variable = follow(x);
    tape.watch(variable);
    const value = scalarOf(tape.run(() => f(variable)));
    const [gradient] = tape.gradients([value], [fullLike(value, 1)], [variable]);
    return { value, gradients: gradient ?? fullLike(x, 0) };
  });
}

function differentiateCells(f: () => Tensor, cells: readonly Cell[]): { value: Tensor; grads: Grads } {
  const { value, list } = framed(() => {
    const tape = new Tape();
    const reads = tape.run(() => cells.map((cell) => cell.value));
    for (const read of reads) tape.watch(read);
    const value = scalarOf(tape.run(f));
    const list = tape.gradients([value], [fullLike(value, 1)], reads);
    return {
      value,
      list: list.map((gradient, i) => gradient ?? fullLike(reads[i] as Tensor, 0)),
    };
  });
  return { value, grads: new Grads(new Map(cells.map((cell, i) => [cell, list[i] as Tensor]))) };
}

function scalarOf(value: unknown): Tensor {
  if (!(value instanceof Tensor))
    throw new ShapeError(`grad: the function must return a tensor of one element, got ${show(value)}`);
  if (value.size !== 1)
    throw new ShapeError(
      `grad: the function must return one number, got shape ${showShape(value.shape)}; take its sum or mean`,
    );
  return value;
}

/** Depth of differentiations in progress: an inner one leaves its tensors to the outer tape. */
let depth = 0;

/** Runs a differentiation in a scope of its own: what it kept for the way back is freed at the end. */
function framed<T extends { value: Tensor }>(fn: () => T): T {
  if (currentTrace()) return fn();
  const frame = new ScopeFrame();
  depth++;
  try {
    const result = within(frame, fn);
    const kept = new Set<Tensor>();
    // Each tensor handed out is the caller's own: not an argument, not a capture, none of them twice.
    const hand = (tensor: Tensor): Tensor => {
      const mine = frame.owned.has(tensor) && !kept.has(tensor) ? tensor : within(frame, () => tensor.alias());
      kept.add(mine);
      return mine;
    };
    const handed = mapTree(result, hand);
    if (depth > 1) frame.surrender();
    else frame.close(kept);
    return handed;
  } catch (error) {
    if (depth > 1) frame.surrender();
    else frame.close(new Set());
    throw error;
  } finally {
    depth--;
  }
}

/**
 * The same value, through which no derivative flows.
 *
 * @example
 * const slope = grad((x: Tensor) => x.mul(stopGradient(x)).sum());
 * slope(tensor([3])).at(0); // 3
 */
export function stopGradient(x: Tensor): Tensor {
  return x.alias();
}

/**
 * Trades time for memory: `f`'s intermediate values are not kept for the way back but computed again.
 * The outputs and derivatives are the same.
 *
 * @example
 * const slope = grad((x: Tensor) => remat((y: Tensor) => y.square())(x).sum());
 * slope(tensor([3])).at(0); // 6
 */
export function remat<A extends readonly Tensor[]>(f: (...args: A) => Tensor): (...args: A) => Tensor {
  checkFunction("remat", f);
  return (...args) => {
    const reads = new Set<Tensor>();
    // Values that `f` captures, parameters above all, carry derivatives as well as its arguments.
    const listener = new Tape();
    const own = args.map((x) => x.alias());
    const overlay = new CellRecorder();
    const raw = untaped(() =>
      listener.observe(
        (x) => reads.add(x),
        () => withCells(overlay, () => f(...(own as unknown as A))),
      ),
    );
    // An enclosing rematerialisation hears of everything that was read here, and picks what it needs.
    const captured = [...reads].filter((x) => isObserved() || isTracked(x));
    const output = distinctFrom(raw, [...own, ...captured]);
    recordEntry({
      inputs: [...args, ...captured],
      outputs: [output],
      backward: (cotangents) => {
        // Merging passes must not find the first computation in the second; and cells, random streams above all,
        // are read as they were the first time, and not written again.
        const again = args.map(barrier);
        const replay = new CellReplay(overlay.initial);
        return vjpOf(
          () => withCells(replay, () => [f(...(again as unknown as A))]),
          [...again, ...captured],
          cotangents,
        );
      },
    });
    return output;
  };
}

/** A result that is none of these tensors: a derivative rule's output needs an identity of its own. */
function distinctFrom(output: Tensor, inputs: readonly Tensor[]): Tensor {
  return inputs.includes(output) || isTracked(output) ? output.alias() : output;
}

/**
 * Gives a function a derivative rule of its own.
 *
 * @param vjp maps the arguments, the output and its cotangent to cotangents of the arguments (undefined for none).
 *
 * @example
 * const twice = customVjp((x: Tensor) => x.mul(2), ([x], y, cotangent) => [cotangent.mul(20)]);
 * grad((x: Tensor) => twice(x).sum())(tensor([1])).at(0); // 20
 */
export function customVjp<A extends readonly Tensor[]>(
  f: (...args: A) => Tensor,
  vjp: (args: A, output: Tensor, cotangent: Tensor) => readonly (Tensor | undefined)[],
): (...args: A) => Tensor {
  checkFunction("customVjp", f);
  checkFunction("customVjp", vjp);
  return (...args) => {
    const output = distinctFrom(
      untaped(() => f(...args)),
      args,
    );
    recordEntry({
      inputs: args,
      outputs: [output],
      backward: ([cotangent]) => vjp(args, output, cotangent as Tensor),
    });
    return output;
  };
}
