// The stack and the memo of the pickle machine, with their limits.

import { PickleError } from "./cursor.js";
import type { PickleValue } from "./values.js";

/** Most values on the stack, and most in the memo: enough for state dicts of millions of tensors. */
const maxValues = 1 << 23;

/** Values and marks. Nothing reaches below the latest mark. */
export class PickleStack {
  /** Where the opcode is that uses the stack, for errors. */
  at = 0;
  private readonly values: PickleValue[] = [];
  private readonly marks: number[] = [];

  push(value: PickleValue): void {
    if (this.values.length >= maxValues) throw new PickleError(this.at, `more than ${maxValues} values on the stack`);
    this.values.push(value);
  }

  mark(): void {
    if (this.marks.length >= maxValues) throw new PickleError(this.at, `more than ${maxValues} marks on the stack`);
    this.marks.push(this.values.length);
  }

  pop(): PickleValue {
    this.need(1);
    return this.values.pop() as PickleValue;
  }

  top(): PickleValue {
    this.need(1);
    return this.values[this.values.length - 1] as PickleValue;
  }

  popMany(count: number): PickleValue[] {
    this.need(count);
    return this.values.splice(this.values.length - count);
  }

  popToMark(): PickleValue[] {
    const from = this.marks.pop();
    if (from === undefined) throw new PickleError(this.at, "there is no mark on the stack");
    return this.values.splice(from);
  }

  /** Takes off the latest thing, be it a value or a mark. */
  popOrMark(): void {
    if (this.marks.at(-1) === this.values.length) this.marks.pop();
    else this.pop();
  }

  private need(count: number): void {
    const available = this.values.length - (this.marks.at(-1) ?? 0);
    if (available < count) throw new PickleError(this.at, `${count} values are wanted, the stack has ${available}`);
  }
}

/** Values under numbers. */
export class Memo {
  private readonly values = new Map<number, PickleValue>();

  get size(): number {
    return this.values.size;
  }

  put(index: number, value: PickleValue, at: number): void {
    if (this.values.size >= maxValues) throw new PickleError(at, `more than ${maxValues} values in the memo`);
    this.values.set(index, value);
  }

  get(index: number, at: number): PickleValue {
    const value = this.values.get(index);
    if (value === undefined) throw new PickleError(at, `the memo has nothing under ${index}`);
    return value;
  }
}
