// The path of the module that is running: ops emitted meanwhile carry it, for errors, explain() and profiles.

import { DTypeError, ShapeError, UsageError } from "../errors.js";

let path = "";

/** Errors whose message says where they happened. */
const placed = new WeakSet<Error>();

/**
 * The dotted path of the module that is running; empty outside modules.
 *
 * @example
 * withPath("encoder", () => currentPath().length); // 7
 */
export const currentPath = (): string => path;

/**
 * Runs `fn`, tagging the ops that it emits with `segment` (nested inside enclosing segments). A ShapeError, DTypeError
 * or UsageError that leaves it says in which module it happened: the innermost, with its whole path.
 *
 * @example
 * const y = withPath("encoder", () => ones([2]).mul(2));
 * y; // [2]
 */
export function withPath<T>(segment: string, fn: () => T): T {
  if (segment === "") return fn();
  return atPath(path === "" ? segment : `${path}.${segment}`, fn);
}

/** Runs `fn` with the whole path replaced: derivatives belong to the module of the op that they derive. */
export function atPath<T>(whole: string, fn: () => T): T {
  const outer = path;
  path = whole;
  try {
    return fn();
  } catch (error) {
    if (whole !== "") place(error, whole);
    throw error;
  } finally {
    path = outer;
  }
}

function place(error: unknown, where: string): void {
  const ours = error instanceof ShapeError || error instanceof DTypeError || error instanceof UsageError;
  if (!ours || placed.has(error)) return;
  placed.add(error);
  const { message, stack } = error;
  error.message = `${where}: ${message}`;
  if (stack) error.stack = stack.replace(message, () => error.message);
}
