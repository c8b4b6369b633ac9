// Trees of tensors: plain objects and arrays, as batches, parameter sets and results are written.

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

/**
 * The tensors of a tree, in order.
 *
 * @example
 * leavesOf({ a: ones([2]), b: [zeros([3])] }).length; // 2
 */
export function leavesOf(tree: unknown, into: Tensor[] = []): Tensor[] {
  if (tree instanceof Tensor) into.push(tree);
  else if (Array.isArray(tree)) for (const item of tree) leavesOf(item, into);
  else if (isPlainObject(tree)) for (const key of Object.keys(tree)) leavesOf(tree[key], into);
  return into;
}

/**
 * A tree of the same structure with each tensor replaced.
 *
 * @example
 * mapTree({ a: ones([2]) }, (x) => x.mul(3)).a.sum(); // 6
 */
export function mapTree<T>(tree: T, replace: (tensor: Tensor) => Tensor): T {
  if (tree instanceof Tensor) return replace(tree) as T;
  if (Array.isArray(tree)) return tree.map((item) => mapTree(item, replace)) as T;
  if (isPlainObject(tree)) {
    return Object.fromEntries(Object.entries(tree).map(([key, item]) => [key, mapTree(item, replace)])) as T;
  }
  return tree;
}
