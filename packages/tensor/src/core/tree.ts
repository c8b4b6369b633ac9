// Trees of tensors: plain objects and arrays, as batches, parameter sets and results are written.

import { UsageError } from "../errors.js";
import { Tensor } from "./tensor.js";

/**
 * Whether `x` is a plain object (not a class instance).
 *
 * @example
 * if (!isPlainObject({ a: 1 })) throw new Error("a literal is a plain object");
 */
export const isPlainObject = (x: unknown): x is Record<string, unknown> => {
  if (x === null || typeof x !== "object") return false;
  const prototype: unknown = Object.getPrototypeOf(x);
  return prototype === Object.prototype || prototype === null;
};

/** Trees may be this deep: deeper than any batch or parameter set, far shallower than the stack. */
export const deepestTree = 64;

/** Goes one level down in a tree. */
function below(depth: number): number {
  if (depth >= deepestTree)
    throw new UsageError(`a tree of tensors holds itself or nests more than ${deepestTree} objects and arrays`);
  return depth + 1;
}

/**
 * The tensors of a tree, in order.
 *
 * @throws UsageError for a tree that holds itself or is deeper than 64 objects and arrays.
 * @example
 * leavesOf({ a: ones([2]), b: [zeros([3])] }).length; // 2
 */
export function leavesOf(tree: unknown): Tensor[] {
  const leaves: Tensor[] = [];
  const visit = (x: unknown, depth: number): void => {
    if (x instanceof Tensor) leaves.push(x);
    else if (Array.isArray(x)) for (const item of x) visit(item, below(depth));
    else if (isPlainObject(x)) for (const key of Object.keys(x)) visit(x[key], below(depth));
  };
  visit(tree, 0);
  return leaves;
}

/**
 * A tree of the same structure with each tensor replaced.
 *
 * @throws UsageError for a tree that holds itself or is deeper than 64 objects and arrays.
 * @example
 * mapTree({ a: ones([2]) }, (x) => x.mul(3)).a.sum(); // 6
 */
export function mapTree<T>(tree: T, replace: (tensor: Tensor) => Tensor): T {
  const map = (x: unknown, depth: number): unknown => {
    if (x instanceof Tensor) return replace(x);
    if (Array.isArray(x)) return x.map((item) => map(item, below(depth)));
    if (!isPlainObject(x)) return x;
    return Object.fromEntries(Object.entries(x).map(([key, item]) => [key, map(item, below(depth))]));
  };
  return map(tree, 0) as T;
}
