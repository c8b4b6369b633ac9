// Keys of calls in tables of measurements, as native/src/kernels/measured.cpp writes them: "op operands -> results : words
// of the parameters", an operand being f32[2,3], followed by @3,1 where its strides are not those of rows. A key says all
// that measuring needs, so that one machine can measure what another has met.

import { formatOf } from "../../dtype.js";
import { UsageError } from "../../errors.js";
import type { Schema } from "../../ir/schema.js";
import { nativeSchemas } from "../../ops/definition.js";
import { type OperandSpec, type SlotSpec, writeProgram } from "../../program/blob.js";
import { rowMajor } from "../../shape.js";

/** As much as an element of any format that is measured. */
const bytesPerElement = 4;

/** The operation of a key, and formats and shapes of its operands as the key has them. */
export function readKey(key: string): { readonly op: string; readonly shapes: string } {
  const [call = ""] = key.split(" :");
  const end = call.indexOf(" ");
  return { op: call.slice(0, end), shapes: call.slice(end + 1) };
}

const schemaOf = (op: string): Schema | undefined => nativeSchemas().find((known) => known.op === op);

/** The words of a key's parameters. */
const wordsOf = (key: string): number[] =>
  key
    .slice(key.indexOf(" :") + 2)
    .split(" ")
    .filter(Boolean)
    .map(Number);

/** Whether a key has as many parameters as its operation: those of versions before may have others, and match no call. */
export function fitsParameters(key: string): boolean {
  const schema = schemaOf(readKey(key).op);
  if (!schema) return false;
  const bytes = wordsOf(key).length * Int32Array.BYTES_PER_ELEMENT;
  return schema.tail ? bytes >= schema.bytes : bytes === schema.bytes;
}

/**
 * The text of a program that is this call alone.
 *
 * @throws UsageError for what is no key of an operation that there is.
 */
export function programOfKey(key: string): Uint8Array {
  const { op, shapes } = readKey(key);
  const schema = schemaOf(op);
  const [inputs, outputs, ...more] = shapes.split("->").map((list) => list.split(" ").filter(Boolean));
  const words = wordsOf(key);
  if (!schema || !inputs || !outputs || more.length > 0 || !words.every(Number.isInteger))
    throw new UsageError(`${JSON.stringify(key)} names no call`);
  const slots: SlotSpec[] = [];
  const operandOf = (text: string, kind: "input" | "output", ordinal: number): OperandSpec => {
    const [, name = "", sizes = "", steps] = /^(\w+)\[([\d,]*)\](?:@([\d,]*))?$/.exec(text) ?? [];
    const format = (formatOf as Readonly<Record<string, number>>)[name];
    if (format === undefined) throw new UsageError(`${JSON.stringify(key)} has the operand ${JSON.stringify(text)}`);
    const dims = numbers(sizes);
    const strides = steps === undefined ? rowMajor(dims) : numbers(steps);
    const last = dims.reduce((sum, size, axis) => sum + (size - 1) * (strides[axis] ?? 0), 0);
    slots.push({ kind, ordinal, bytes: (last + 1) * bytesPerElement, offset: 0, written: false });
    return { slot: slots.length - 1, format, byteOffset: 0, dims, strides };
  };
  const record = {
    inputs: inputs.map((text, i) => operandOf(text, "input", i)),
    outputs: outputs.map((text, i) => operandOf(text, "output", i)),
    tag: 0,
    schema,
    params: new Uint8Array(Int32Array.from(words).buffer),
  };
  return writeProgram({ slots, records: [record], commitStart: 1, arenaBytes: 0 });
}

const numbers = (list: string): number[] => (list === "" ? [] : list.split(",").map(Number));
