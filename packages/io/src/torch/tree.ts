// The tree of what a PyTorch file holds: settling, naming, flattening and finding parts of it. Files may share parts or hold
// themselves, so that nothing here goes through a part twice without counting, and nothing recurses without bound.

import { brief, PickleGlobal, PickleRecord, type PickleValue } from "../pickle/values.js";
import { settle } from "./host.js";
import { nameTensor, TorchTensor } from "./tensor.js";

/**
 * What a PyTorch file holds: dicts are Maps, lists and tuples arrays, tensors lazy. Objects of classes that are not known
 * are records of what the file says of them; classes are their names.
 */
export type TorchValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly TorchValue[]
  | ReadonlySet<TorchValue>
  | ReadonlyMap<TorchValue, TorchValue>
  | PickleGlobal
  | PickleRecord
  | TorchTensor;

/** Most names that a tree may have, and how deep they may nest: parts shared over and over multiply. */
const maxNames = 2 ** 18;
const maxDepth = 256;

/** Puts in place what values that were put together step by step have become. */
export function settleTree(root: PickleValue): TorchValue {
  const seen = new Set<object>();
  const pending: PickleValue[] = [];
  const visit = (value: PickleValue): PickleValue => {
    const settled = settle(value);
    if (typeof settled === "object" && settled !== null && !seen.has(settled)) {
      seen.add(settled);
      pending.push(settled);
    }
    return settled;
  };
  const result = visit(root);
  for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
    if (Array.isArray(value)) {
      for (const [i, element] of value.entries()) value[i] = visit(element);
    } else if (value instanceof Map) {
      for (const [key, item] of value) value.set(key, visit(item));
    } else if (value instanceof PickleRecord) {
      value.state = visit(value.state);
      visit(value.args);
      visit(value.items);
      visit(value.elements);
    }
  }
  return result as TorchValue;
}

/** Keys may be longer than {@link brief} shows. */
const nameOfKey = (key: TorchValue): string => (typeof key === "string" ? key : brief(key as PickleValue));

/** The parts of a value under their names; none for what has no parts. */
export function partsOf(value: TorchValue): readonly (readonly [name: string, part: TorchValue])[] {
  if (value instanceof Map) return [...value].map(([key, item]) => [nameOfKey(key), item]);
  if (Array.isArray(value)) return value.map((element, i) => [String(i), element]);
  if (value instanceof Set) return [...value].map((element, i) => [String(i), element]);
  if (!(value instanceof PickleRecord)) return [];
  const record = value as PickleRecord & { readonly state: TorchValue };
  const module = moduleParts(record.state);
  if (module) return module;
  return [record.state, record.items, record.elements].flatMap((part) => partsOf(part as TorchValue));
}

/** The parameters, buffers, modules and plain attributes of a module, if the state is that of one. */
function moduleParts(state: TorchValue): (readonly [string, TorchValue])[] | undefined {
  if (!(state instanceof Map)) return undefined;
  const groups = ["_parameters", "_buffers", "_modules"].map((name) => state.get(name));
  if (!groups.every((group) => group instanceof Map)) return undefined;
  const members = groups.flatMap((group) => partsOf(group as TorchValue)).filter(([, part]) => part !== null);
  const plain = partsOf(state).filter(([name, part]) => !name.startsWith("_") && typeof part !== "object");
  return [...members, ...plain];
}

/** Something at the end of a path: a tensor, a number, a string. */
export interface Leaf {
  readonly path: string;
  readonly value: TorchValue;
}

/**
 * All leaves below a value in order, under paths joined by dots. Empty dicts and lists are leaves.
 *
 * @throws what `fail` makes, where a part holds itself, nests too deep, or sharing makes too many names.
 */
export function leavesBelow(root: TorchValue, fail: (message: string) => Error): Leaf[] {
  const leaves: Leaf[] = [];
  const above = new Set<TorchValue>();
  const visit = (value: TorchValue, path: string): void => {
    const parts = partsOf(value);
    if (parts.length === 0) {
      if (leaves.length >= maxNames)
        throw fail(`more than ${maxNames} names; parts of the file are shared over and over`);
      leaves.push({ path, value });
      return;
    }
    if (above.has(value)) throw fail(`${JSON.stringify(path.slice(0, 200))} holds itself`);
    if (above.size >= maxDepth) throw fail(`parts nest more than ${maxDepth} deep`);
    above.add(value);
    for (const [name, part] of parts) visit(part, path === "" ? name : `${path}.${name}`);
    above.delete(value);
  };
  visit(root, "");
  return leaves;
}

/** Names every tensor after the first path that leads to it. */
export function nameTensors(root: TorchValue): void {
  const seen = new Set<TorchValue>();
  let level: (readonly [path: string, value: TorchValue])[] = [["", root]];
  while (level.length > 0) {
    const next: (readonly [string, TorchValue])[] = [];
    for (const [path, value] of level) {
      if (typeof value !== "object" || value === null || seen.has(value)) continue;
      seen.add(value);
      if (value instanceof TorchTensor) nameTensor(value, path);
      for (const [name, part] of partsOf(value)) next.push([path === "" ? name : `${path}.${name}`, part]);
    }
    level = next;
  }
}

/** The part at a path (or those whose own names begin with it), or the path of the last part that is there and the names that it has. */
export function partAt(root: TorchValue, path: string): { part: TorchValue } | { reached: string; names: string[] } {
  let value = root;
  let rest = path;
  while (rest !== "") {
    const parts = partsOf(value);
    // Names have dots of their own: the longest that fits is meant.
    const [name, part] = parts
      .filter(([name]) => rest === name || rest.startsWith(`${name}.`))
      .reduce<readonly [string | undefined, TorchValue]>(
        (best, next) => (next[0].length >= (best[0]?.length ?? 0) ? next : best),
        [undefined, null],
      );
    if (name === undefined) {
      const below = parts.filter(([known]) => known.startsWith(`${rest}.`));
      if (below.length > 0)
        return { part: new Map(below.map(([known, part]) => [known.slice(rest.length + 1), part])) };
      return {
        reached: path.slice(0, path.length - rest.length).replace(/\.$/, ""),
        names: parts.map(([known]) => known),
      };
    }
    value = part;
    rest = rest.slice(name.length + 1);
  }
  return { part: value };
}

/** The classes of all records below a value, and those that are named without an object, in alphabetical order. */
export function classesIn(root: TorchValue): string[] {
  const names = new Set<string>();
  const seen = new Set<TorchValue>();
  const pending: TorchValue[] = [root];
  while (pending.length > 0) {
    const value = pending.pop() as TorchValue;
    if (typeof value !== "object" || value === null || seen.has(value)) continue;
    seen.add(value);
    if (value instanceof PickleGlobal) names.add(value.name);
    if (value instanceof PickleRecord) {
      names.add(value.type);
      const record = value as PickleRecord & { readonly state: TorchValue };
      pending.push(record.state, record.items as TorchValue, record.args as TorchValue, record.elements as TorchValue);
    } else {
      for (const [, part] of partsOf(value)) pending.push(part);
    }
  }
  return [...names].sort();
}
