// A machine for Python's pickles, protocols 0 to 5, that cannot do anything: it builds dicts, lists, strings and numbers.
// Whatever a pickle wants to import, call or restore is handed to its host, which decides what that means.
// The opcodes: Python's pickletools module.

import { Cursor, PickleError, shortest } from "./cursor.js";
import { Memo, PickleStack } from "./stack.js";
import { brief, isList, type PickleGlobal, PickleRecord, type PickleValue, tupleOf } from "./values.js";

/** Decides what a pickle's references to the world outside it mean. Anything may be refused by a {@link PickleError}. */
export interface PickleHost {
  /** A class or function by its full name. */
  global(name: string, at: number): PickleGlobal | string;
  /** The result of calling one. */
  call(callee: PickleValue, args: readonly PickleValue[], at: number): PickleValue;
  /** Sets the state of an object that `call` made. */
  build(target: PickleValue, state: PickleValue, at: number): void;
  /** What lies outside the pickle under an id. */
  persistent(id: PickleValue, at: number): PickleValue;
}

/**
 * Reads one pickle from `bytes`, beginning at byte `start`.
 *
 * @returns the value and the byte after the pickle.
 * @throws PickleEndError when the bytes end first, PickleError for all else that is wrong.
 */
export function unpickle(bytes: Uint8Array, start: number, host: PickleHost): { value: PickleValue; end: number } {
  const machine = new Machine(new Cursor(bytes, start), host);
  return { value: machine.run(), end: machine.position };
}

/** Protocol 5 is the latest. */
const newestProtocol = 5;

class Machine {
  private readonly cursor: Cursor;
  private readonly host: PickleHost;
  private readonly stack = new PickleStack();
  private readonly memo = new Memo();
  /** Where the current opcode is. */
  private at = 0;

  constructor(cursor: Cursor, host: PickleHost) {
    this.cursor = cursor;
    this.host = host;
  }

  get position(): number {
    return this.cursor.at;
  }

  /** Runs until STOP. Every opcode takes at least one byte, so that it ends. */
  run(): PickleValue {
    const { cursor, stack } = this;
    for (;;) {
      this.at = cursor.at;
      stack.at = this.at;
      const opcode = cursor.u8();
      if (opcode === stop) return stack.pop();
      const step = steps.get(opcode);
      if (!step) return this.fail(`unknown opcode 0x${opcode.toString(16).padStart(2, "0")}`);
      step(this);
    }
  }

  private error(message: string): PickleError {
    return new PickleError(this.at, message);
  }

  private fail(message: string): never {
    throw this.error(message);
  }

  private push(value: PickleValue): void {
    this.stack.push(value);
  }

  private callee(): PickleValue {
    return this.stack.pop();
  }

  private arguments(): readonly PickleValue[] {
    const args = this.stack.pop();
    return Array.isArray(args) ? args : this.fail("arguments that are no tuple");
  }

  /** Adds to what is on top a dict's items, given as keys and values in turn. */
  private setItems(items: readonly PickleValue[]): void {
    const top = this.stack.top();
    const into = top instanceof PickleRecord ? top.items : top;
    if (!(into instanceof Map)) throw this.error("items are set on something that is no dict");
    if (items.length % 2 !== 0) this.fail("a dict's key without a value");
    for (let i = 0; i < items.length; i += 2) {
      const key = items[i] as PickleValue;
      if (into.has(key)) this.fail(`the key ${JSON.stringify(brief(key))} is set twice in one dict`);
      into.set(this.hashable(key), items[i + 1] as PickleValue);
    }
  }

  private hashable(key: PickleValue): PickleValue {
    const isContainer = key instanceof Map || key instanceof Set || isList(key);
    return isContainer ? this.fail("a dict, list or set as a key") : key;
  }

  /** Adds elements to the list on top. */
  private append(elements: readonly PickleValue[]): void {
    const top = this.stack.top();
    const into = top instanceof PickleRecord ? top.elements : top;
    if (!isList(into)) throw this.error("elements are appended to something that is no list");
    for (const element of elements) into.push(element);
  }

  private addElements(elements: readonly PickleValue[]): void {
    const top = this.stack.top();
    if (top instanceof PickleRecord) {
      for (const element of elements) top.elements.push(element);
    } else if (top instanceof Set) {
      for (const element of elements) top.add(this.hashable(element));
    } else {
      this.fail("elements are added to something that is no set");
    }
  }

  private dictOf(items: readonly PickleValue[]): void {
    this.push(new Map());
    this.setItems(items);
  }

  private globalNamed(module: string, name: string): void {
    this.push(this.host.global(`${module}.${name}`, this.at));
  }

  private call(callee: PickleValue, args: readonly PickleValue[]): void {
    this.push(this.host.call(callee, args, this.at));
  }

  static readonly table: ReadonlyMap<string, (m: Machine) => void> = new Map(
    Object.entries({
      // The frame of a pickle.
      "\x80": (m) => {
        const protocol = m.cursor.u8();
        if (protocol > newestProtocol) m.fail(`protocol ${protocol}; ${newestProtocol} is the newest known`);
      },
      "\x95": (m) => void m.cursor.u64(),
      // The stack.
      "(": (m) => m.stack.mark(),
      "0": (m) => m.stack.popOrMark(),
      "1": (m) => void m.stack.popToMark(),
      "2": (m) => m.push(m.stack.top()),
      // Constants.
      N: (m) => m.push(null),
      "\x88": (m) => m.push(true),
      "\x89": (m) => m.push(false),
      I: (m) => m.push(m.textInteger(m.cursor.line())),
      J: (m) => m.push(m.cursor.i32()),
      K: (m) => m.push(m.cursor.u8()),
      M: (m) => m.push(m.cursor.u16()),
      L: (m) => m.push(m.textInteger(m.cursor.line().replace(/L$/, ""))),
      "\x8a": (m) => m.push(m.cursor.integer(m.cursor.u8())),
      "\x8b": (m) => m.push(m.cursor.integer(m.cursor.u32())),
      F: (m) => m.push(m.textFloat(m.cursor.line())),
      G: (m) => m.push(m.cursor.f64()),
      // Strings and bytes.
      S: (m) => m.push(m.quoted(m.cursor.line())),
      T: (m) => m.push(m.cursor.byteText(m.cursor.u32())),
      U: (m) => m.push(m.cursor.byteText(m.cursor.u8())),
      V: (m) => m.push(m.unescaped(m.cursor.line())),
      X: (m) => m.push(m.cursor.text(m.cursor.u32())),
      "\x8c": (m) => m.push(m.cursor.text(m.cursor.u8())),
      "\x8d": (m) => m.push(m.cursor.text(m.cursor.u64())),
      B: (m) => m.push(m.cursor.copy(m.cursor.u32())),
      C: (m) => m.push(m.cursor.copy(m.cursor.u8())),
      "\x8e": (m) => m.push(m.cursor.copy(m.cursor.u64())),
      "\x96": (m) => m.push(m.cursor.copy(m.cursor.u64())),
      // Containers.
      ")": (m) => m.push(tupleOf([])),
      t: (m) => m.push(tupleOf(m.stack.popToMark())),
      "\x85": (m) => m.push(tupleOf(m.stack.popMany(1))),
      "\x86": (m) => m.push(tupleOf(m.stack.popMany(2))),
      "\x87": (m) => m.push(tupleOf(m.stack.popMany(3))),
      "]": (m) => m.push([]),
      l: (m) => m.push(m.stack.popToMark()),
      a: (m) => m.append(m.stack.popMany(1)),
      e: (m) => m.append(m.stack.popToMark()),
      "}": (m) => m.push(new Map()),
      d: (m) => m.dictOf(m.stack.popToMark()),
      s: (m) => m.setItems(m.stack.popMany(2)),
      u: (m) => m.setItems(m.stack.popToMark()),
      "\x8f": (m) => m.push(new Set()),
      "\x90": (m) => m.addElements(m.stack.popToMark()),
      "\x91": (m) => m.push(new Set(m.stack.popToMark().map((element) => m.hashable(element)))),
      // The memo.
      p: (m) => m.memo.put(m.textIndex(m.cursor.line()), m.stack.top(), m.at),
      q: (m) => m.memo.put(m.cursor.u8(), m.stack.top(), m.at),
      r: (m) => m.memo.put(m.cursor.u32(), m.stack.top(), m.at),
      "\x94": (m) => m.memo.put(m.memo.size, m.stack.top(), m.at),
      g: (m) => m.push(m.memo.get(m.textIndex(m.cursor.line()), m.at)),
      h: (m) => m.push(m.memo.get(m.cursor.u8(), m.at)),
      j: (m) => m.push(m.memo.get(m.cursor.u32(), m.at)),
      // The world outside: for the host to decide.
      c: (m) => m.globalNamed(m.cursor.line(), m.cursor.line()),
      "\x93": (m) => {
        const [module, name] = m.stack.popMany(2);
        if (typeof module !== "string" || typeof name !== "string") return m.fail("a global whose name is no string");
        m.globalNamed(module, name);
      },
      R: (m) => {
        const args = m.arguments();
        m.call(m.callee(), args);
      },
      "\x81": (m) => {
        const args = m.arguments();
        m.call(m.callee(), args);
      },
      "\x92": (m) => {
        const named = m.stack.pop();
        const args = m.arguments();
        m.call(m.callee(), tupleOf([...args, named]));
      },
      i: (m) => {
        const [module, name] = [m.cursor.line(), m.cursor.line()];
        m.call(m.host.global(`${module}.${name}`, m.at), tupleOf(m.stack.popToMark()));
      },
      o: (m) => {
        const [callee, ...args] = m.stack.popToMark();
        if (callee === undefined) return m.fail("an object without a class");
        m.call(callee, tupleOf(args));
      },
      b: (m) => {
        const state = m.stack.pop();
        m.host.build(m.stack.top(), state, m.at);
      },
      P: (m) => m.push(m.host.persistent(m.cursor.line(), m.at)),
      Q: (m) => m.push(m.host.persistent(m.stack.pop(), m.at)),
      "\x82": (m) => m.fail("an extension code (EXT1), which only the program that registered it knows"),
      "\x83": (m) => m.fail("an extension code (EXT2), which only the program that registered it knows"),
      "\x84": (m) => m.fail("an extension code (EXT4), which only the program that registered it knows"),
      "\x97": (m) => m.fail("a buffer outside the pickle (NEXT_BUFFER)"),
      "\x98": (m) => m.fail("a buffer outside the pickle (READONLY_BUFFER)"),
    } satisfies Record<string, (m: Machine) => void>),
  );

  private textInteger(text: string): number | bigint | boolean {
    if (text === "00" || text === "01") return text === "01";
    if (!/^\s*[+-]?\d{1,2048}\s*$/.test(text)) this.fail(`${JSON.stringify(text.slice(0, 40))} is no integer`);
    return shortest(BigInt(text.trim().replace(/^\+/, "")));
  }

  private textIndex(text: string): number {
    return /^\d{1,9}$/.test(text) ? Number(text) : this.fail(`${JSON.stringify(text.slice(0, 40))} is no memo index`);
  }

  private textFloat(text: string): number {
    const special = { nan: Number.NaN, inf: Infinity, "-inf": -Infinity }[text.trim().toLowerCase()];
    const value = special ?? (text.trim() === "" ? undefined : Number(text));
    if (value === undefined || (Number.isNaN(value) && special === undefined)) {
      return this.fail(`${JSON.stringify(text.slice(0, 40))} is no number`);
    }
    return value;
  }

  /** A string in quotes with Python's escapes; those that torch ever wrote have none. */
  private quoted(line: string): string {
    const text = line.trim();
    const quote = text[0];
    if (text.length < 2 || (quote !== "'" && quote !== '"') || !text.endsWith(quote))
      this.fail("a string without quotes");
    if (text.includes("\\")) this.fail("a string with escapes, in the text form of protocol 0");
    return text.slice(1, -1);
  }

  private unescaped(line: string): string {
    return line.replace(/\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})/g, (_, short?: string, long?: string) => {
      const point = Number.parseInt((short ?? long) as string, 16);
      return point > 0x10ffff ? this.fail("a character beyond Unicode") : String.fromCodePoint(point);
    });
  }
}

/** The opcode "." */
const stop = 0x2e;

const steps: ReadonlyMap<number, (m: Machine) => void> = new Map(
  [...Machine.table].map(([opcode, step]) => [opcode.charCodeAt(0), step]),
);
