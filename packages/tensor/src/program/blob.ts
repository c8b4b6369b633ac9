// The program format: how slots, records and operands become bytes. The native loader verifies every
// access before the first run; native/src/runtime/program.cpp is the other side of this file.

import type { Schema } from "../ir/schema.js";

/** What a slot is. The numbers are part of the format. */
export const slotKinds = { input: 0, output: 1, state: 2, arena: 3, constant: 4 } as const;

/** A piece of memory that a program uses. */
export interface SlotSpec {
  readonly kind: keyof typeof slotKinds;
  readonly ordinal: number;
  readonly bytes: number;
  /** Arena slots: where in the arena. */
  readonly offset: number;
  /** States: whether the program overwrites it. */
  readonly written: boolean;
}

/** A strided operand of a record. */
export interface OperandSpec {
  readonly slot: number;
  readonly format: number;
  readonly byteOffset: number;
  readonly dims: readonly number[];
  readonly strides: readonly number[];
}

/** Records that run together, some number of times. */
export interface BlockSpec {
  readonly count: number;
  /** How many records of the program, following the one that begins it, belong to it. */
  readonly records: number;
  /** The first of them that may overwrite states. */
  readonly commitStart: number;
}

/** One kernel call, or the beginning of a block; a block's output, if it has one, counts its iterations. */
export type RecordSpec = {
  readonly inputs: readonly OperandSpec[];
  readonly outputs: readonly OperandSpec[];
  /** Free for the maker: ties the record to what it came from. */
  readonly tag: number;
} & ({ readonly schema: Schema; readonly params: Uint8Array } | { readonly block: BlockSpec });

/** A whole program. */
export interface ProgramSpec {
  readonly slots: readonly SlotSpec[];
  readonly records: readonly RecordSpec[];
  /** Index of the first record that may overwrite states. */
  readonly commitStart: number;
  readonly arenaBytes: number;
}

/** Where a record stands among the blocks of a program. */
export interface Nesting {
  /** How many blocks it lies in. */
  readonly depth: number;
  /** How often it runs. */
  readonly times: number;
  /** The block that it begins. */
  readonly begins: BlockSpec | null;
}

/** The nesting of each record. */
export function nestingOf(records: readonly RecordSpec[]): Nesting[] {
  const open: { readonly end: number; readonly times: number }[] = [];
  return records.map((record, i) => {
    while ((open.at(-1)?.end ?? records.length) <= i) open.pop();
    const nesting = {
      depth: open.length,
      times: open.at(-1)?.times ?? 1,
      begins: "block" in record ? record.block : null,
    };
    if ("block" in record) open.push({ end: i + 1 + record.block.records, times: nesting.times * record.block.count });
    return nesting;
  });
}

const magic = 0x50474946;
const version = 1;
const sizes = { header: 72, slot: 32, op: 16, record: 32, operand: 144 } as const;
const recordKinds = { kernel: 0, repeat: 1 } as const;
const maxRank = 8;
const align8 = (x: number): number => (x + 7) & ~7;

/** The program as bytes. */
export function writeProgram(spec: ProgramSpec): Uint8Array {
  const opIndex = new Map<string, number>();
  const schemas: Schema[] = [];
  for (const record of spec.records) {
    if ("block" in record || opIndex.has(record.schema.op)) continue;
    opIndex.set(record.schema.op, schemas.length);
    schemas.push(record.schema);
  }
  const params = spec.records.map((record) => ("block" in record ? blockParams(record.block) : record.params));
  const names = schemas.map(({ op }) => new TextEncoder().encode(op));
  const operandCount = spec.records.reduce((n, r) => n + r.inputs.length + r.outputs.length, 0);
  const paramsBytes = params.reduce((n, bytes) => n + align8(bytes.length), 0);
  const stringsBytes = align8(names.reduce((n, name) => n + name.length, 0));
  const start = {
    slots: sizes.header,
    ops: 0,
    records: 0,
    operands: 0,
    params: 0,
    strings: 0,
    end: 0,
  };
  start.ops = start.slots + spec.slots.length * sizes.slot;
  start.records = start.ops + schemas.length * sizes.op;
  start.operands = start.records + spec.records.length * sizes.record;
  start.params = start.operands + operandCount * sizes.operand;
  start.strings = start.params + paramsBytes;
  start.end = Math.ceil((start.strings + stringsBytes) / 64) * 64;

  const bytes = new Uint8Array(start.end);
  const view = new DataView(bytes.buffer);
  const u32 = (at: number, x: number): void => view.setUint32(at, x, true);
  const u64 = (at: number, x: number | bigint): void => view.setBigUint64(at, BigInt(x), true);
  const count = (kind: SlotSpec["kind"]): number => spec.slots.filter((slot) => slot.kind === kind).length;

  const header = [
    magic,
    version,
    spec.slots.length,
    schemas.length,
    spec.records.length,
    operandCount,
    count("input"),
    count("output"),
    count("state"),
    spec.commitStart,
  ];
  header.forEach((x, i) => {
    u32(i * 4, x);
  });
  u64(40, spec.arenaBytes);
  u64(48, 0);
  u32(56, paramsBytes);
  u32(60, stringsBytes);
  u64(64, 0);

  spec.slots.forEach((slot, i) => {
    const at = start.slots + i * sizes.slot;
    u32(at, slotKinds[slot.kind]);
    u32(at + 4, slot.ordinal);
    u64(at + 8, slot.bytes);
    u64(at + 16, slot.offset);
    u32(at + 24, slot.written ? 1 : 0);
  });

  let nameOffset = 0;
  schemas.forEach((schema, i) => {
    const at = start.ops + i * sizes.op;
    const name = names[i] as Uint8Array;
    u32(at, nameOffset);
    u32(at + 4, name.length);
    u64(at + 8, schema.hash);
    bytes.set(name, start.strings + nameOffset);
    nameOffset += name.length;
  });

  let paramsOffset = 0;
  let operandIndex = 0;
  spec.records.forEach((record, i) => {
    const at = start.records + i * sizes.record;
    const own = params[i] as Uint8Array;
    u32(at, "block" in record ? recordKinds.repeat : recordKinds.kernel);
    u32(at + 4, "block" in record ? 0 : (opIndex.get(record.schema.op) as number));
    u32(at + 8, paramsOffset);
    u32(at + 12, own.length);
    u32(at + 16, operandIndex);
    u32(at + 20, record.inputs.length);
    u32(at + 24, record.outputs.length);
    u32(at + 28, record.tag);
    bytes.set(own, start.params + paramsOffset);
    paramsOffset += align8(own.length);
    for (const operand of [...record.inputs, ...record.outputs]) {
      writeOperand(view, start.operands + operandIndex * sizes.operand, operand);
      operandIndex++;
    }
  });
  return bytes;
}

function blockParams({ count, records, commitStart }: BlockSpec): Uint8Array {
  const view = new DataView(new ArrayBuffer(16));
  view.setBigInt64(0, BigInt(count), true);
  view.setUint32(8, records, true);
  view.setUint32(12, commitStart, true);
  return new Uint8Array(view.buffer);
}

function writeOperand(view: DataView, at: number, { slot, format, byteOffset, dims, strides }: OperandSpec): void {
  view.setUint32(at, slot, true);
  view.setUint8(at + 4, format);
  view.setUint8(at + 5, dims.length);
  view.setBigInt64(at + 8, BigInt(byteOffset), true);
  for (let i = 0; i < maxRank; i++) {
    view.setBigInt64(at + 16 + 8 * i, BigInt(dims[i] ?? 0), true);
    view.setBigInt64(at + 80 + 8 * i, BigInt(strides[i] ?? 0), true);
  }
}
