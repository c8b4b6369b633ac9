// Programs that the native tests run: small ones with known answers, long ones to interrupt, and ones that
// fail. Schema hashes and opcodes are read from the generated headers, so they cannot go stale.

import { readFileSync } from "node:fs";
import { type Blob, type BlobOperand, type BlobRecord, format, slotKind, writeBlob } from "./blob.ts";

const headerOf = (op: string): string =>
  readFileSync(new URL(`../src/kernels/params/${op}.generated.h`, import.meta.url), "utf8");
const registerCode = headerOf("elementwise");

/** The schema hash of an operation. */
export function schemaHash(op: string): bigint {
  const found = headerOf(op).match(/kHash = (0x[0-9a-f]+)ull/);
  if (!found?.[1]) throw new Error(`no schema for ${op}`);
  return BigInt(found[1]);
}

export const opEntry = (name: string): { name: string; hash: bigint } => ({ name, hash: schemaHash(name) });

function opcode(name: string): number {
  const found = registerCode.match(new RegExp(`\\bk${name[0]?.toUpperCase()}${name.slice(1)} = (\\d+),`));
  if (!found?.[1]) throw new Error(`no opcode ${name}`);
  return Number(found[1]);
}

export type Instruction = readonly [op: string, dst: number, a?: number, b?: number, imm?: number];

/** Parameters of an elementwise record: f32 register code. */
export function elementwiseParams(code: readonly Instruction[], registers: number): Uint8Array {
  const bytes = new Uint8Array(8 + 16 * code.length);
  const view = new DataView(bytes.buffer);
  view.setInt32(0, code.length, true);
  view.setInt32(4, registers, true);
  code.forEach(([op, dst, a = 0, b = 0, imm = 0], i) => {
    const at = 8 + 16 * i;
    view.setUint16(at, opcode(op), true);
    view.setUint8(at + 2, dst);
    view.setUint8(at + 3, a);
    view.setUint8(at + 4, b);
    view.setFloat64(at + 8, imm, true);
  });
  return bytes;
}

export function i64Params(...values: number[]): Uint8Array {
  return new Uint8Array(BigInt64Array.from(values.map(BigInt)).buffer);
}

/** out = a + b, f32 [count]. */
export const addCode = elementwiseParams(
  [
    ["load", 0, 0],
    ["load", 1, 1],
    ["add", 2, 0, 1],
    ["store", 0, 2, 0],
  ],
  3,
);

/** A record that adds two f32 [count] slots. */
export function addRecord(op: number, a: number, b: number, out: number, count: number): BlobRecord {
  const operand = (slot: number): BlobOperand => ({ slot, dims: [count] });
  return { op, params: addCode, in: [operand(a), operand(b)], out: [operand(out)] };
}

/** Inputs a, b; output a + b. */
export function addBlob(count: number): Blob {
  const bytes = 4 * count;
  return {
    slots: [
      { kind: slotKind.input, ordinal: 0, bytes },
      { kind: slotKind.input, ordinal: 1, bytes },
      { kind: slotKind.output, ordinal: 0, bytes },
    ],
    ops: [opEntry("elementwise")],
    records: [addRecord(0, 0, 1, 2, count)],
  };
}

/** Input x f32 [count]; output sin applied to it `times` times, one record each, through two arena slots. */
export function slowBlob(count: number, times: number): Blob {
  const bytes = 4 * count;
  const half = Math.ceil(bytes / 256) * 256;
  const params = elementwiseParams(
    [
      ["load", 0, 0],
      ["sin", 1, 0],
      ["store", 0, 1, 0],
    ],
    2,
  );
  const [input, output, arena] = [0, 1, 2];
  const records: BlobRecord[] = [];
  for (let i = 0; i < times; i++) {
    const from = i === 0 ? input : arena + (i % 2);
    const to = i === times - 1 ? output : arena + ((i + 1) % 2);
    records.push({ op: 0, params, in: [{ slot: from, dims: [count] }], out: [{ slot: to, dims: [count] }] });
  }
  return {
    slots: [
      { kind: slotKind.input, ordinal: 0, bytes },
      { kind: slotKind.output, ordinal: 0, bytes },
      { kind: slotKind.arena, bytes, offset: 0 },
      { kind: slotKind.arena, bytes, offset: half },
    ],
    ops: [opEntry("elementwise")],
    records,
    arenaBytes: 2 * half,
  };
}

/** Inputs x f32 [axis], index i32 [count]; output x[index]. Fails on an index out of range. */
export function gatherBlob(axis: number, count: number): Blob {
  return {
    slots: [
      { kind: slotKind.input, ordinal: 0, bytes: 4 * axis },
      { kind: slotKind.input, ordinal: 1, bytes: 4 * count },
      { kind: slotKind.output, ordinal: 0, bytes: 4 * count },
    ],
    ops: [opEntry("gather")],
    records: [
      {
        op: 0,
        params: i64Params(1, axis, 1, count),
        in: [
          { slot: 0, dims: [1, axis, 1] },
          { slot: 1, format: format.i32, dims: [count] },
        ],
        out: [{ slot: 2, dims: [1, count, 1] }],
      },
    ],
  };
}

/**
 * A training step in miniature. Inputs x f32 [count], index i32 [count]; state s f32 [count], written.
 * Output g = x[index]; then, committed: s += g.
 */
export function stepBlob(count: number): Blob {
  const bytes = 4 * count;
  const [x, index, state, output] = [0, 1, 2, 3];
  return {
    slots: [
      { kind: slotKind.input, ordinal: 0, bytes },
      { kind: slotKind.input, ordinal: 1, bytes },
      { kind: slotKind.state, ordinal: 0, bytes, flags: 1 },
      { kind: slotKind.output, ordinal: 0, bytes },
    ],
    ops: [opEntry("gather"), opEntry("elementwise")],
    records: [
      {
        op: 0,
        params: i64Params(1, count, 1, count),
        in: [
          { slot: x, dims: [1, count, 1] },
          { slot: index, format: format.i32, dims: [count] },
        ],
        out: [{ slot: output, dims: [1, count, 1] }],
      },
      addRecord(1, state, output, state, count),
    ],
    commitStart: 1,
  };
}

/** Parameters of a repeat record: it runs the `records` records after it, which commit from `commitStart` on. */
export function repeatParams(count: number | bigint, records: number, commitStart = records): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setBigInt64(0, BigInt(count), true);
  view.setUint32(8, records, true);
  view.setUint32(12, commitStart, true);
  return bytes;
}

/**
 * A loop within a loop. Inputs x f32 [count], index i32 [count]; state s f32 [count], written; output x[index].
 * `times` times: t = x[index]; twice: u = t + t; then, committed: s += u.
 */
export function repeatBlob(count: number, times: number | bigint): Blob {
  const bytes = 4 * count;
  const room = Math.ceil(bytes / 256) * 256;
  const [x, index, state, output, t, u, i, j] = [0, 1, 2, 3, 4, 5, 6, 7];
  const gather = (out: number): BlobRecord => ({
    op: 0,
    params: i64Params(1, count, 1, count),
    in: [
      { slot: x, dims: [1, count, 1] },
      { slot: index, format: format.i32, dims: [count] },
    ],
    out: [{ slot: out, dims: [1, count, 1] }],
  });
  const repeat = (counter: number, params: Uint8Array): BlobRecord => ({
    kind: 1,
    op: 0,
    params,
    in: [],
    out: [{ slot: counter, format: format.i32, dims: [] }],
  });
  return {
    slots: [
      { kind: slotKind.input, ordinal: 0, bytes },
      { kind: slotKind.input, ordinal: 1, bytes },
      { kind: slotKind.state, ordinal: 0, bytes, flags: 1 },
      { kind: slotKind.output, ordinal: 0, bytes },
      { kind: slotKind.arena, bytes, offset: 0 },
      { kind: slotKind.arena, bytes, offset: room },
      { kind: slotKind.arena, bytes: 4, offset: 2 * room },
      { kind: slotKind.arena, bytes: 4, offset: 2 * room + 256 },
    ],
    ops: [opEntry("gather"), opEntry("elementwise")],
    records: [
      repeat(i, repeatParams(times, 4, 3)),
      gather(t),
      repeat(j, repeatParams(2, 1)),
      addRecord(1, t, t, u, count),
      addRecord(1, state, u, state, count),
      gather(output),
    ],
    arenaBytes: 2 * room + 512,
  };
}

export const addProgram = (count: number): Uint8Array => writeBlob(addBlob(count));
export const slowProgram = (count: number, times: number): Uint8Array => writeBlob(slowBlob(count, times));
export const gatherProgram = (axis: number, count: number): Uint8Array => writeBlob(gatherBlob(axis, count));
export const repeatProgram = (count: number, times: number | bigint): Uint8Array => writeBlob(repeatBlob(count, times));
export const stepProgram = (count: number): Uint8Array => writeBlob(stepBlob(count));
