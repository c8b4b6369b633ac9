// The path of the module that is running: ops emitted meanwhile carry it, for errors, explain() and profiles.

const segments: string[] = [];

/**
 * The dotted path of the module that is running; empty outside modules.
 *
 * @example
 * withPath("encoder", () => currentPath().length); // 7
 */
export const currentPath = (): string => segments.join(".");

/**
 * Runs `fn`, tagging the ops that it emits with `segment` (nested inside enclosing segments).
 *
 * @example
 * const y = withPath("encoder", () => ones([2]).mul(2));
 * y; // [2]
 */
export function withPath<T>(segment: string, fn: () => T): T {
  if (segment === "") return fn();
  segments.push(segment);
  try {
    return fn();
  } finally {
    segments.pop();
  }
}
