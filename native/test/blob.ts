// A small writer of program blobs, for tests of the loader and the executor. Independent of the emitter in
// @figment/tensor on purpose: two writers of one format keep each other honest.

/** Formats by their number in programs. */
export const format = { f32: 0, f64: 1, bf16: 2, f16: 3, i32: 4, u8: 5, bool: 6, i64: 7, i8: 8 } as const;

export const slotKind = { input: 0, output: 1, state: 2, arena: 3, constant: 4 } as const;

export interface BlobSlot {
  kind: number;
  ordinal?: number;
  bytes: number;
  offset?: number;
  flags?: number;
}

export interface BlobOperand {
  slot: number;
  format?: number;
  byteOffset?: number;
  dims: readonly number[];
  /** In elements; row-major when left out. */
  strides?: readonly number[];
  layout?: number;
}

export interface BlobRecord {
  op: number;
  params: Uint8Array;
  in: readonly BlobOperand[];
  out: readonly BlobOperand[];
  kind?: number;
  tag?: number;
}

export interface Blob {
  slots: readonly BlobSlot[];
  ops: readonly { name: string; hash: bigint }[];
  records: readonly BlobRecord[];
  arenaBytes?: number;
  constants?: Uint8Array;
  commitStart?: number;
}

const magic = 0x50474946;
const headerBytes = 72;
const slotBytes = 32;
const opBytes = 16;
const recordBytes = 32;
const operandBytes = 144;
const maxRank = 8;

const align = (value: number, to: number): number => Math.ceil(value / to) * to;

function rowMajor(dims: readonly number[]): number[] {
  const strides = dims.map(() => 1);
  for (let i = dims.length - 2; i >= 0; i--) strides[i] = (strides[i + 1] ?? 1) * (dims[i + 1] ?? 1);
  return strides;
}

/** The bytes of a program; nothing is checked, so that tests can write wrong ones. */
export function writeBlob(blob: Blob): Uint8Array {
  const operands = blob.records.flatMap((record) => [...record.in, ...record.out]);
  const names = blob.ops.map(({ name }) => new TextEncoder().encode(name));
  const stringsBytes = names.reduce((sum, name) => sum + name.length, 0);
  const paramsBytes = blob.records.reduce((sum, { params }) => sum + align(params.length, 8), 0);
  const constants = blob.constants ?? new Uint8Array();
  const slotsAt = headerBytes;
  const opsAt = slotsAt + blob.slots.length * slotBytes;
  const recordsAt = opsAt + blob.ops.length * opBytes;
  const operandsAt = recordsAt + blob.records.length * recordBytes;
  const paramsAt = operandsAt + operands.length * operandBytes;
  const stringsAt = paramsAt + paramsBytes;
  const constantsAt = align(stringsAt + stringsBytes, 64);
  const bytes = new Uint8Array(constants.length > 0 ? constantsAt + constants.length : stringsAt + stringsBytes);
  const view = new DataView(bytes.buffer);
  const u32 = (at: number, value: number): void => view.setUint32(at, value, true);
  const u64 = (at: number, value: number | bigint): void => view.setBigUint64(at, BigInt(value), true);
  const count = (kind: number): number => blob.slots.filter((slot) => slot.kind === kind).length;

  [
    magic,
    1,
    blob.slots.length,
    blob.ops.length,
    blob.records.length,
    operands.length,
    count(slotKind.input),
    count(slotKind.output),
    count(slotKind.state),
    blob.commitStart ?? blob.records.length,
  ].forEach((value, i) => {
    u32(4 * i, value);
  });
  u64(40, blob.arenaBytes ?? 0);
  u64(48, constants.length);
  u32(56, paramsBytes);
  u32(60, stringsBytes);

  blob.slots.forEach((slot, i) => {
    const at = slotsAt + i * slotBytes;
    u32(at, slot.kind);
    u32(at + 4, slot.ordinal ?? 0);
    u64(at + 8, slot.bytes);
    u64(at + 16, slot.offset ?? 0);
    u32(at + 24, slot.flags ?? 0);
  });
  let stringAt = 0;
  blob.ops.forEach((op, i) => {
    const name = names[i] ?? new Uint8Array();
    u32(opsAt + i * opBytes, stringAt);
    u32(opsAt + i * opBytes + 4, name.length);
    u64(opsAt + i * opBytes + 8, op.hash);
    bytes.set(name, stringsAt + stringAt);
    stringAt += name.length;
  });
  let paramAt = 0;
  let operandAt = 0;
  blob.records.forEach((record, i) => {
    const fields = [
      record.kind ?? 0,
      record.op,
      paramAt,
      record.params.length,
      operandAt,
      record.in.length,
      record.out.length,
      record.tag ?? i,
    ];
    fields.forEach((value, f) => {
      u32(recordsAt + i * recordBytes + 4 * f, value);
    });
    bytes.set(record.params, paramsAt + paramAt);
    paramAt += align(record.params.length, 8);
    operandAt += record.in.length + record.out.length;
  });
  operands.forEach((operand, i) => {
    const at = operandsAt + i * operandBytes;
    u32(at, operand.slot);
    view.setUint8(at + 4, operand.format ?? format.f32);
    view.setUint8(at + 5, operand.dims.length);
    view.setUint16(at + 6, operand.layout ?? 0, true);
    u64(at + 8, BigInt.asUintN(64, BigInt(operand.byteOffset ?? 0)));
    const strides = operand.strides ?? rowMajor(operand.dims);
    for (let d = 0; d < Math.min(operand.dims.length, maxRank); d++) {
      view.setBigInt64(at + 16 + 8 * d, BigInt(operand.dims[d] ?? 0), true);
      view.setBigInt64(at + 80 + 8 * d, BigInt(strides[d] ?? 0), true);
    }
  });
  bytes.set(constants, constants.length > 0 ? constantsAt : 0);
  return bytes;
}
