// Walking a module: which of its own properties are state, and a structure id that clones share. Knows
// modules only as objects that the caller recognises, so that module.ts can import it.

import { Cell, isPlainObject, Rng } from "@figment/tensor";
import { Parameter } from "./parameter.js";

/** Entries of an array or a plain object; undefined for anything else. */
export const entriesOf = (x: unknown): [string, unknown][] | undefined => {
  if (Array.isArray(x)) return x.map((item, i) => [String(i), item]);
  return isPlainObject(x) ? Object.entries(x) : undefined;
};

/** Joins parts of a dotted path. */
export const joinPath = (prefix: string, name: string): string => (prefix ? `${prefix}.${name}` : name);

/** Visits the values held by an object's own properties, through arrays and plain objects, with their dotted names. */
export function visitMembers(owner: object, visit: (name: string, value: unknown) => void): void {
  const walk = (name: string, value: unknown): void => {
    const entries = entriesOf(value);
    if (!entries) visit(name, value);
    else for (const [key, item] of entries) walk(joinPath(name, key), item);
  };
  for (const key of Object.keys(owner)) walk(key, Reflect.get(owner, key));
}

/** Copies an object's own properties to `copy`, replacing values inside arrays and plain objects too. */
export function copyMembers(owner: object, copy: object, replace: (value: unknown) => unknown): void {
  const walk = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(walk);
    if (isPlainObject(value)) return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, walk(item)]));
    return replace(value);
  };
  for (const key of Object.keys(owner)) Reflect.set(copy, key, walk(Reflect.get(owner, key)));
}

const identities = new WeakMap<object, number>();
let nextIdentity = 1;

/** A number that stands for an object's identity: two classes of one name are two classes. */
function identityOf(x: object): number {
  let id = identities.get(x);
  if (id === undefined) {
    id = nextIdentity++;
    identities.set(x, id);
  }
  return id;
}

/**
 * Text that is equal for two modules exactly when one program serves both: same classes, same
 * configuration, cells of the same shapes in the same places, shared where the other shares.
 */
export function describeStructure(root: object, isModule: (x: unknown) => x is object): string {
  const seen = new Map<object, number>();
  const describe = (value: unknown): string => {
    if (typeof value === "string") return JSON.stringify(value);
    if (value === null || (typeof value !== "object" && typeof value !== "function")) return String(value);
    const list = Array.isArray(value);
    const entries = entriesOf(value);
    if (entries) {
      const inner = entries.map(([key, item]) => (list ? describe(item) : `${key}:${describe(item)}`)).join();
      return list ? `[${inner}]` : `{${inner}}`;
    }
    const known = seen.get(value);
    if (known !== undefined) return `^${known}`;
    if (value instanceof Cell) {
      seen.set(value, seen.size);
      return `${value instanceof Parameter ? "parameter" : "cell"} ${value.dtype}[${value.shape.join()}]`;
    }
    if (value instanceof Rng) {
      seen.set(value, seen.size);
      return "stream";
    }
    if (!isModule(value)) return `#${identityOf(value)}`;
    seen.set(value, seen.size);
    const fields = Object.keys(value).map((key) => `${key}:${describe(Reflect.get(value, key))}`);
    return `${value.constructor.name}#${identityOf(value.constructor)}{${fields.join()}}`;
  };
  return describe(root);
}
