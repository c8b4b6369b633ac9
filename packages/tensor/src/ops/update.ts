// What the updates of whole parameter sets share. Operands are scalars, then groups of one tensor for each parameter:
// parameters, gradients, states; results are the new parameters and states.

import { apply } from "../core/apply.js";
import { Cell } from "../core/cell.js";
import { numberOperand } from "../core/create.js";
import { scope } from "../core/scope.js";
import { untaped } from "../core/tape.js";
import { Tensor } from "../core/tensor.js";
import { DTypeError, ShapeError } from "../errors.js";
import type { Attrs, Aval, Node } from "../ir/graph.js";
import { type Shape, show } from "../shape.js";
import { checkTensors, expectShape, expectWide } from "./checks.js";
import type { KernelOperand, OpDef, SampleInput } from "./definition.js";
import type { TensorLike } from "./elementwise.js";

/** Operands of a kernel as they are. */
export const whole = (avals: readonly Aval[]): KernelOperand[] =>
  avals.map(({ shape }, index) => ({ index, dims: shape }));

/** Splits operands after the first `scalars` into equal groups. */
export function groupsOf<T>(op: string, items: readonly T[], scalars: number, groups: number): readonly T[][] {
  const count = (items.length - scalars) / groups;
  if (!Number.isInteger(count) || count < 0)
    throw new ShapeError(`${op}: ${items.length} operands do not form ${groups} groups`);
  return Array.from({ length: groups }, (_, g) => items.slice(scalars + g * count, scalars + (g + 1) * count));
}

/** The shape rule of an update with these scalars and states. */
export function inferUpdate(
  op: string,
  inputs: readonly Aval[],
  scalarNames: readonly string[],
  stateNames: readonly string[],
): Aval[] {
  const scalars = Object.fromEntries(scalarNames.map((name, i) => [name, inputs[i] as Aval]));
  const roles = ["parameter", "gradient", ...stateNames];
  const groups = groupsOf(op, inputs, scalarNames.length, roles.length);
  for (const [name, aval] of Object.entries(scalars)) expectShape(op, name, aval, []);
  (groups[0] as readonly Aval[]).forEach(({ shape }, i) => {
    const operands = Object.fromEntries(roles.map((role, g) => [role, groups[g]?.[i] as Aval]));
    expectWide(op, { ...scalars, ...operands });
    for (const [role, aval] of Object.entries(operands)) expectShape(op, `${role} ${i}`, aval, shape);
  });
  return groups.flatMap((group, g) => (g === 1 ? [] : group.map(({ shape, dtype }) => ({ shape, dtype }))));
}

/** Results take the place of what they replace; gradients are replaced by nothing. */
export const updateInPlace =
  (scalars: number, groups: number) =>
  ({ outputs }: Node): (readonly [number, number])[] => {
    const count = outputs.length / (groups - 1);
    return outputs.map((_, o) => [o, scalars + (o < count ? o : o + count)] as const);
  };

/** An update of single numbers: scalars, parameter, gradient and states to new parameter and new states. */
type NumberUpdate = (scalars: readonly number[], parameter: number, gradient: number, states: number[]) => number[];

/** The specification of an update from that of its numbers. */
export function updateReference(
  op: string,
  inputs: readonly Float64Array[],
  scalars: number,
  groups: number,
  update: NumberUpdate,
): Float64Array[] {
  const values = inputs.slice(0, scalars).map((x) => x[0] as number);
  const [parameters = [], gradients = [], ...states] = groupsOf(op, inputs, scalars, groups);
  const results = Array.from({ length: groups - 1 }, () => parameters.map((x) => new Float64Array(x.length)));
  parameters.forEach((parameter, i) => {
    parameter.forEach((p, k) => {
      const at = (x: Float64Array | undefined): number => x?.[k] as number;
      const next = update(
        values,
        p,
        at(gradients[i]),
        states.map((state) => at(state[i])),
      );
      next.forEach((value, g) => {
        (results[g]?.[i] as Float64Array)[k] = value;
      });
    });
  });
  return results.flat();
}

/** Shapes of the parameter sets of samples. */
export const shapeSets: readonly (readonly Shape[])[] = [
  [[1]],
  [[7], [3, 5], []],
  [[33, 65], [1000], [2, 3, 3, 4]],
  [[4099]],
];

/** One sample input for each shape. */
export const drawn = (shapes: readonly Shape[], range?: readonly [number, number]): SampleInput[] =>
  shapes.map((shape) => (range ? { shape, range } : { shape }));

/** A drawn scalar. */
export const scalarSample = (lo: number, hi: number): SampleInput => ({ shape: [], range: [lo, hi] });

/** Computes new values of cells from old ones and stores them. */
export function rewrite(cells: readonly Cell[], compute: (read: (cell: Cell) => Tensor) => readonly Tensor[]): void {
  untaped(() =>
    scope(() => {
      const reads: Tensor[] = [];
      const values = compute((cell) => {
        const value = cell.value;
        reads.push(value);
        return value;
      });
      // Handles to the old values would make each cell keep them when it is overwritten.
      for (const read of reads) read.dispose();
      cells.forEach((cell, i) => {
        cell.set(values[i] as Tensor);
      });
    }),
  );
}

/** A number or 0-d tensor given for an update of cells of this type. */
export function scalarOperand(op: string, name: string, x: unknown, { dtype }: Cell): Tensor {
  if (typeof x === "number") return numberOperand(op, x, dtype);
  if (!(x instanceof Tensor))
    throw new DTypeError(`${op}: expected a number or a 0-d tensor for ${name}, got ${show(x)}`);
  expectShape(op, name, x, []);
  return x;
}

/** Checks that an argument is a list of cells. */
export function checkCells(op: string, name: string, list: unknown): asserts list is readonly Cell[] {
  if (!Array.isArray(list) || !list.every((item) => item instanceof Cell)) {
    throw new DTypeError(`${op}: expected an array of cells for ${name}, got ${show(list)}`);
  }
}

/** Checks that a list has an entry for each cell. */
export function checkLength(op: string, name: string, list: readonly unknown[], cells: readonly Cell[]): void {
  if (list.length !== cells.length) {
    throw new ShapeError(`${op}: ${name} has ${list.length} entries for ${cells.length} cells`);
  }
}

/** What the updates of parameters by gradients have in common. Lists correspond entry by entry. */
export interface ParameterUpdate {
  /** Parameters, changed in place. */
  readonly cells: readonly Cell[];
  /** Their gradients. */
  readonly grads: readonly Tensor[];
  /** Learning rate: a number (frozen into compiled programs) or a 0-d tensor. */
  readonly lr: TensorLike;
  /** Factor of the gradients, for clipping and loss scaling. Default 1. */
  readonly gradScale?: TensorLike;
  /** Default 0. */
  readonly weightDecay?: number;
}

/** Checks the arguments of an update, applies its op and stores the results. */
export function updateCells<A extends Attrs>(
  def: OpDef<A>,
  attrs: A,
  scalars: Readonly<Record<string, TensorLike>>,
  { cells, grads }: ParameterUpdate,
  states: Readonly<Record<string, readonly Cell[]>>,
): void {
  const op = `${def.name}Update`;
  for (const [name, list] of Object.entries({ cells, ...states })) checkCells(op, name, list);
  checkTensors(op, "grads", grads);
  for (const [name, list] of Object.entries({ grads, ...states })) checkLength(op, name, list, cells);
  const first = cells[0];
  if (!first) return;
  const kept = Object.values(states).flat();
  const operands = Object.entries(scalars).map(([name, x]) => scalarOperand(op, name, x, first));
  rewrite([...cells, ...kept], (read) =>
    apply(def, [...operands, ...cells.map(read), ...grads, ...kept.map(read)], attrs),
  );
}
