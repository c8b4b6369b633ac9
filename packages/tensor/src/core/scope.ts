// Who disposes: scopes collect the tensors made inside them and free those that are not handed out.
// A synchronous stack of scopes; nothing ambient survives an await.

import { UsageError } from "../errors.js";
import { tapeDepth } from "./tape.js";
import type { Tensor } from "./tensor.js";
import { isTracing } from "./trace.js";
import { leavesOf } from "./tree.js";

/** The tensors made while it is innermost. */
export class ScopeFrame {
  readonly owned = new Set<Tensor>();

  /** Frees everything except `kept`, which moves to the enclosing scope if there is one. */
  close(kept: ReadonlySet<Tensor>): void {
    const outer = stack.at(-1);
    for (const tensor of this.owned) {
      if (!kept.has(tensor)) tensor.dispose();
      else outer?.owned.add(tensor);
    }
    this.owned.clear();
  }

  /** Hands everything to the enclosing scope, if there is one. */
  surrender(): void {
    const outer = stack.at(-1);
    if (outer) for (const tensor of this.owned) outer.owned.add(tensor);
    this.owned.clear();
  }
}

const stack: ScopeFrame[] = [];

/** Registers a new tensor with the innermost scope. */
export function own(tensor: Tensor): void {
  stack.at(-1)?.owned.add(tensor);
}

/** Takes a tensor out of the innermost scope: somebody else keeps it. */
export function disown(tensor: Tensor): void {
  stack.at(-1)?.owned.delete(tensor);
}

/** The innermost scope, if there is one. */
export const innermost = (): ScopeFrame | undefined => stack.at(-1);

/** Runs `fn` with `frame` innermost. The caller closes the frame. */
export function within<T>(frame: ScopeFrame, fn: () => T): T {
  stack.push(frame);
  try {
    return fn();
  } finally {
    stack.pop();
  }
}

/**
 * Runs `fn` and frees every tensor that it made, except those in the tree that it returns.
 *
 * @param fn synchronous; a Promise cannot be scoped, use {@link openScope}.
 * @returns what `fn` returned; its tensors belong to the caller (or to the enclosing scope).
 * @throws UsageError when `fn` returns a Promise.
 * @example
 * const total = scope(() => tensor([1, 2, 3]).mul(2).sum()); // the product is freed, the sum is ours
 */
export function scope<T>(fn: () => T): T {
  if (typeof fn !== "function") throw new UsageError("scope: expected a function");
  const frame = new ScopeFrame();
  let result: T;
  try {
    result = within(frame, fn);
  } catch (error) {
    frame.close(new Set());
    throw error;
  }
  if (result instanceof Promise) {
    frame.close(new Set());
    result.catch(() => {});
    throw new UsageError(
      "scope: the function returned a Promise; use `await using s = openScope()` and s.run(() => …) in asynchronous code",
    );
  }
  // What a tape may need on the way back is freed by the differentiation that owns the tape.
  if (tapeDepth() > 0) frame.surrender();
  else frame.close(new Set(leavesOf(result)));
  return result;
}

/** A scope for asynchronous code: an explicit object instead of an ambient stack. */
export interface OpenScope extends AsyncDisposable, Disposable {
  /** Runs `fn` synchronously; every tensor that it makes belongs to this scope. */
  run<T>(fn: () => T): T;
  /** Adopts the tensors of a tree. */
  own<T>(tree: T): T;
}

/**
 * Opens a scope that is closed explicitly, by `await using` or `using`.
 *
 * @example
 * await using s = openScope();
 * const mean = s.run(() => tensor([1, 2, 3]).mean());
 * console.log(await mean.item());
 */
export function openScope(): OpenScope {
  const frame = new ScopeFrame();
  return {
    run: (fn) => within(frame, fn),
    own: (tree) => {
      for (const tensor of leavesOf(tree)) frame.owned.add(tensor);
      return tree;
    },
    [Symbol.dispose]: () => frame.close(new Set()),
    [Symbol.asyncDispose]: async () => frame.close(new Set()),
  };
}

/**
 * Runs the body of an operation that is made of others: outside traces its intermediate tensors are freed
 * at once (or, while a tape notes, by the differentiation).
 */
export function composed<T>(body: () => T): T {
  return isTracing() ? body() : scope(body);
}
