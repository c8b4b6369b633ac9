// What a pickle holds, as inert JavaScript values: nothing in here can run.

/**
 * A class or function that a pickle names. It is a name and nothing else.
 *
 * @example
 * const reference = new PickleGlobal("torch.nn.modules.linear.Linear");
 * reference.name; // "torch.nn.modules.linear.Linear"
 */
export class PickleGlobal {
  /** The module and the name in it, joined by a dot. */
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

/**
 * An object of a class that is not known here, as the pickle describes it: what it was made from, and the state that
 * was set on it.
 *
 * @example
 * const record = new PickleRecord("argparse.Namespace", []);
 * record.type; // "argparse.Namespace"
 */
export class PickleRecord {
  /** The full name of its class, or of the function that made it. */
  readonly type: string;
  /** The arguments of that. */
  readonly args: readonly PickleValue[];
  /** What was set on it, usually its attributes as a Map. */
  state: PickleValue = null;
  /** Items, where its class is a kind of dict. */
  readonly items = new Map<PickleValue, PickleValue>();
  /** Elements, where its class is a kind of list or set. */
  readonly elements: PickleValue[] = [];

  constructor(type: string, args: readonly PickleValue[]) {
    this.type = type;
    this.args = args;
  }
}

/** What a reader of pickles puts in place of things it knows, such as tensors. */
export type Opaque = object & { readonly [opaque]: true };

/** Marks the classes of {@link Opaque} values. */
export const opaque: unique symbol = Symbol("opaque");

/** Dicts are Maps, lists and tuples arrays, integers beyond 2^53 bigints. */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly PickleValue[]
  | ReadonlySet<PickleValue>
  | ReadonlyMap<PickleValue, PickleValue>
  | PickleGlobal
  | PickleRecord
  | Opaque;

/** Marks tuples. A WeakSet of them would not do: collecting garbage takes for ever where millions of its members nest. */
const tuple = Symbol("tuple");

/** A tuple: an array that a pickle can append nothing to. */
export function tupleOf(items: PickleValue[]): readonly PickleValue[] {
  return Object.defineProperty(items, tuple, { value: true });
}

/** Whether a value is a list, and not a tuple. */
export const isList = (value: PickleValue): value is PickleValue[] =>
  Array.isArray(value) && !Object.hasOwn(value, tuple);

/** Longest text that {@link brief} gives. */
const maxBrief = 80;

/**
 * A value in a few words, for names and messages. Containers are not looked into: they may nest without end or hold themselves.
 */
export function brief(value: PickleValue | undefined): string {
  if (value === undefined) return "nothing";
  if (typeof value !== "object" || value === null) return String(value).slice(0, maxBrief);
  if (value instanceof PickleGlobal) return value.name.slice(0, maxBrief);
  if (Array.isArray(value)) return isList(value) ? "(a list)" : "(a tuple)";
  return value instanceof Map ? "(a dict)" : "(an object)";
}
