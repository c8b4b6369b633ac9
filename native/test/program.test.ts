// The program loader: a valid program runs; each way of being wrong is refused by name.

import { describe, expect, it } from "vitest";
import { type Blob, type BlobSlot, format, slotKind, writeBlob } from "./blob.ts";
import {
  addBlob,
  addRecord,
  elementwiseParams,
  opEntry,
  repeatBlob,
  repeatParams,
  slowBlob,
  stepBlob,
} from "./programs.ts";
import { buffer, expectError, floatsOf, native, run } from "./support.ts";

const count = 6;
const bytes = 4 * count;

/** A program that is right except for one thing. */
type Change = (blob: Blob) => void;
const changed = (blob: Blob, change: Change): Uint8Array => {
  const copy = structuredClone(blob);
  change(copy);
  return writeBlob(copy);
};

/** The header's fields by their offset. */
const headerAt = {
  magic: 0,
  version: 4,
  slots: 8,
  ops: 12,
  records: 16,
  operands: 20,
  inputs: 24,
  commit: 36,
  arena: 40,
  constants: 48,
  reserved: 64,
};
const patched = (blob: Uint8Array, offset: number, value: bigint, wide = false): Uint8Array => {
  const copy = blob.slice();
  const view = new DataView(copy.buffer);
  if (wide) view.setBigUint64(offset, value, true);
  else view.setUint32(offset, Number(value), true);
  return copy;
};

const refused = (blob: Uint8Array, reason: RegExp): void =>
  expectError(() => native.releaseProgram(native.loadProgram(blob)), "ERR_FIGMENT_PROGRAM", reason);

describe("a valid program", () => {
  it("computes, through arena and constants", async () => {
    const constants = new Uint8Array(Float32Array.from({ length: count }, (_, i) => i * 10).buffer);
    const slots: BlobSlot[] = [
      { kind: slotKind.input, ordinal: 0, bytes },
      { kind: slotKind.constant, bytes, offset: 0 },
      { kind: slotKind.arena, bytes, offset: 256 },
      { kind: slotKind.output, ordinal: 0, bytes },
    ];
    const records = [addRecord(0, 0, 1, 2, count), addRecord(0, 2, 0, 3, count)];
    const blob = writeBlob({ slots, ops: [opEntry("elementwise")], records, constants, arenaBytes: 512 });
    const program = native.loadProgram(blob);
    const input = buffer(new Float32Array([1, 2, 3, 4, 5, 6]));
    const [output] = run(program, [input]);
    expect(await floatsOf(output!)).toEqual(new Float32Array([2, 14, 26, 38, 50, 62]));
    native.release(input);
    native.release(output!);
    native.releaseProgram(program);
  });

  it("is copied: changing its bytes afterwards changes nothing", async () => {
    const blob = writeBlob(addBlob(2));
    const program = native.loadProgram(blob);
    blob.fill(0xff);
    const input = buffer(new Float32Array([1, 2]));
    const [output] = run(program, [input, input]);
    expect(await floatsOf(output!)).toEqual(new Float32Array([2, 4]));
    native.release(input);
    native.release(output!);
    native.releaseProgram(program);
  });

  it("loads from any byte offset", () => {
    const blob = writeBlob(addBlob(count));
    for (const shift of [1, 2, 3, 5, 7]) {
      const moved = new Uint8Array(blob.length + shift);
      moved.set(blob, shift);
      native.releaseProgram(native.loadProgram(moved.subarray(shift)));
    }
  });

  it("tells its records, kernels and work", () => {
    const program = native.loadProgram(writeBlob(slowBlob(count, 3)), "reference");
    const { arenaBytes, predictedMicros, records } = native.programInfo(program);
    expect(arenaBytes).toBe(512);
    expect(predictedMicros).toBeGreaterThan(0);
    expect(records.map(({ op, variant, tag }) => [op, variant, tag])).toEqual(
      [0, 1, 2].map((tag) => ["elementwise", "reference", tag]),
    );
    expect(records.every(({ bytes: traffic }) => traffic === 2 * bytes)).toBe(true);
    native.releaseProgram(program);
  });

  it("may work in place where its operation allows it", async () => {
    const blob = structuredClone(slowBlob(count, 3));
    const record = blob.records[1] as unknown as { out: { slot: number }[]; in: { slot: number }[] };
    record.out = [{ ...record.out[0]!, slot: record.in[0]!.slot }];
    (blob.records[2] as unknown as { in: { slot: number }[] }).in[0]!.slot = record.in[0]!.slot;
    const program = native.loadProgram(writeBlob(blob));
    const input = buffer(new Float32Array(count).fill(1));
    const [output] = run(program, [input]);
    expect((await floatsOf(output!))[0]).toBeCloseTo(Math.sin(Math.sin(Math.sin(1))), 5);
    native.release(input);
    native.release(output!);
    native.releaseProgram(program);
  });

  it("fits its environment: kernels of the chosen instruction set only", () => {
    native.setIsa("generic");
    const program = native.loadProgram(writeBlob(addBlob(count)));
    native.setIsa(null);
    expect(native.programInfo(program).records[0]?.variant).not.toMatch(/avx/);
    native.releaseProgram(program);
    expectError(() => native.setIsa("sse" as never), "ERR_FIGMENT_ARGUMENT", /expected generic, avx2, avx512/);
  });
});

describe("the header", () => {
  const blob = writeBlob(addBlob(count));
  const wide = true;
  it.each([
    ["is missing", blob.slice(0, 71), /less than its header/],
    ["has another magic", patched(blob, headerAt.magic, 1n), /does not start with FIGP/],
    ["has another version", patched(blob, headerAt.version, 2n), /format version 2/],
    ["uses a reserved field", patched(blob, headerAt.reserved, 1n, wide), /reserved header field/],
    ["claims more slots than there are bytes", patched(blob, headerAt.slots, 0xffffffffn), /slots end at byte/],
    [
      "claims more operands than there are bytes",
      patched(blob, headerAt.operands, 0xffffffffn),
      /operands end at byte/,
    ],
    ["claims an absurd arena", patched(blob, headerAt.arena, 1n << 60n, wide), /arena size/],
    ["claims absurd constants", patched(blob, headerAt.constants, (1n << 64n) - 1n, wide), /constant size/],
    ["claims constants that are not there", patched(blob, headerAt.constants, 64n, wide), /constants end at byte/],
    ["counts inputs wrongly", patched(blob, headerAt.inputs, 3n), /has no slot/],
    ["counts more inputs than slots", patched(blob, headerAt.inputs, 9n), /than slots/],
    ["starts its commit after the end", patched(blob, headerAt.commit, 2n), /commit section starts/],
    ["is followed by other bytes", Uint8Array.from([...blob, ...new Uint8Array(64)]), /bytes after its last section/],
    ["is cut short", blob.slice(0, -1), /strings end at byte/],
  ])("%s", (_, wrong, reason) => refused(wrong, reason));
});

describe("a slot", () => {
  const arena = slowBlob(count, 3);
  const slot =
    (index: number, change: Partial<BlobSlot>): Change =>
    (blob) =>
      void Object.assign((blob.slots as BlobSlot[])[index]!, change);
  it.each([
    ["of unknown kind", addBlob(count), slot(2, { kind: 9 }), /unknown kind 9/],
    ["used twice", addBlob(count), slot(1, { ordinal: 0 }), /ordinal used twice/],
    ["out of order", addBlob(count), slot(1, { ordinal: 7 }), /ordinal out of range/],
    ["of absurd size", addBlob(count), slot(0, { bytes: 2 ** 52 }), /size out of range/],
    ["with flags it cannot have", addBlob(count), slot(0, { flags: 1 }), /unknown flags/],
    ["with an offset it cannot have", addBlob(count), slot(0, { offset: 8 }), /offset of a slot that has none/],
    ["outside the arena", arena, slot(3, { offset: 512 }), /outside the arena/],
    ["at an unaligned place of the arena", arena, slot(3, { offset: 128 }), /multiple of 256/],
  ] as [string, Blob, Change, RegExp][])("%s is refused", (_, blob, change, reason) =>
    refused(changed(blob, change), reason),
  );
});

describe("an operation", () => {
  it("that does not exist is refused", () =>
    refused(
      changed(addBlob(count), (blob) => {
        (blob.ops as unknown[])[0] = { name: "sorcery", hash: 1n };
      }),
      /unknown operation "sorcery"/,
    ));
  it("with another schema is refused", () =>
    refused(
      changed(addBlob(count), (blob) => {
        (blob.ops as unknown[])[0] = { name: "elementwise", hash: 1n };
      }),
      /other parameters/,
    ));
});

describe("a record", () => {
  type Mutable = { -readonly [K in keyof Blob["records"][number]]: Blob["records"][number][K] };
  const record =
    (change: Partial<Mutable>, index = 0): Change =>
    (blob) =>
      void Object.assign(blob.records[index]!, change);
  const add = addBlob(count);
  const f32 = (slot: number, more: object = {}): object => ({ slot, dims: [count], ...more });
  const out = (operand: object): Change => record({ out: [operand as never] });
  const inputs = (...operands: object[]): Change => record({ in: operands as never });
  it.each([
    ["of a reserved kind", add, record({ kind: 2 }), /record kind 2 is reserved/],
    ["of an operation out of range", add, record({ op: 1 }), /operation out of range/],
    ["with too few parameter bytes", add, record({ params: new Uint8Array(4) }), /4 bytes of parameters/],
    ["that its operation refuses", add, record({ params: elementwiseParams([["load", 9, 0]], 3) }), /elementwise\): /],
    ["that writes an input", add, out(f32(1)), /writes an input/],
    [
      "that leaves an output unwritten",
      slowBlob(count, 2),
      record({ out: [f32(2) as never] }, 1),
      /output 0 is never written/,
    ],
    ["that writes its output elsewhere", add, out(f32(2, { byteOffset: 8 })), /reaches beyond its slot/],
    ["with an operand of no slot", add, out(f32(3)), /slot out of range/],
    ["with an unknown format", add, out(f32(2, { format: 9 })), /unknown format/],
    ["with a reserved layout", add, out(f32(2, { layout: 1 })), /layout 1 is reserved/],
    ["with a rank above eight", add, out({ slot: 2, dims: new Array(9).fill(1) }), /rank out of range/],
    ["with a negative offset", add, out(f32(2, { byteOffset: -4 })), /offset outside its slot/],
    ["with an offset that splits elements", add, out({ slot: 2, dims: [count - 1], byteOffset: 2 }), /not aligned/],
    ["with a negative dimension", add, inputs(f32(0, { dims: [-1] }), f32(1)), /out of range/],
    ["with a negative stride", add, inputs(f32(0, { strides: [-1] }), f32(1)), /out of range/],
    ["with a stride beyond its slot", add, inputs(f32(0, { strides: [2] }), f32(1)), /reaches beyond/],
    [
      "with more elements than can be counted",
      add,
      inputs({ slot: 0, dims: [2 ** 40, 2 ** 40, 2 ** 40], strides: [0, 0, 0] }, f32(1)),
      /too many elements/,
    ],
    ["that writes one place twice", add, out({ slot: 2, dims: [count], strides: [0] }), /overlaps itself/],
    [
      "whose output overlaps an input",
      slowBlob(count, 3),
      record({ out: [{ slot: 3, dims: [count - 1], byteOffset: 4 }], in: [{ slot: 3, dims: [count - 1] }] }, 1),
      /overlaps input 0/,
    ],
  ] as [string, Blob, Change, RegExp][])("%s is refused", (_, blob, change, reason) =>
    refused(changed(blob, change), reason),
  );

  it("that writes state before the commit section is refused", () =>
    refused(
      changed(stepBlob(count), (blob) => {
        blob.commitStart = 2;
      }),
      /writes state before the commit/,
    ));
  it("that writes state not declared as written is refused", () =>
    refused(
      changed(stepBlob(count), (blob) => {
        (blob.slots as BlobSlot[])[2]!.flags = 0;
      }),
      /not declared as written/,
    ));
  it("that writes a constant is refused", () => {
    const blob = addBlob(count);
    const slots = [...blob.slots, { kind: slotKind.constant, bytes, offset: 0 }];
    const wrong = { ...blob, slots, constants: new Uint8Array(bytes), records: [addRecord(0, 0, 1, 3, count)] };
    refused(writeBlob(wrong), /writes a constant/);
  });
  it("that no kernel supports says so", () => {
    const f64 = addBlob(count / 2);
    for (const record of f64.records) for (const operand of [...record.in, ...record.out]) operand.format = format.f64;
    refused(writeBlob(f64), /elementwise\): /);
  });
});

describe("a repeat", () => {
  type Mutable = { -readonly [K in keyof Blob["records"][number]]: Blob["records"][number][K] };
  const loops = repeatBlob(count, 3);
  const record =
    (index: number, change: Partial<Mutable>): Change =>
    (blob) =>
      void Object.assign(blob.records[index]!, change);
  const params = (...args: Parameters<typeof repeatParams>): Partial<Mutable> => ({ params: repeatParams(...args) });
  /** The loop's first record is a loop of all that follow, and so on. */
  const nested = (depth: number): Blob => {
    const repeat = (i: number) => ({ ...loops.records[0]!, out: [], params: repeatParams(1, depth - i) });
    const records = [...Array.from({ length: depth }, (_, i) => repeat(i)), addRecord(0, 0, 1, 2, count)];
    return { ...addBlob(count), records };
  };

  it.each([
    ["that never runs", record(0, params(0, 4, 3)), /number of iterations/],
    ["with more iterations than can be counted", record(0, params(2 ** 31, 4, 3)), /number of iterations/],
    ["with a negative count", record(0, params(-1, 4, 3)), /number of iterations/],
    ["of more records than there are", record(0, params(3, 6, 3)), /reach beyond the block/],
    ["that reaches beyond the loop around it", record(2, params(2, 2)), /reach beyond the block/],
    ["with a commit section beyond its records", record(0, params(3, 4, 5)), /commit section starts after/],
    ["in a commit section", record(0, params(3, 4, 1)), /lies in a commit section/],
    ["with too few parameter bytes", record(0, { params: new Uint8Array(8) }), /8 bytes of parameters/],
    ["of an operation", record(0, { op: 1 }), /record that has none/],
    ["with inputs", record(0, { in: [{ slot: 4, dims: [1] }] }), /at most a counter/],
    ["with a counter of another type", record(0, { out: [{ slot: 6, dims: [] }] }), /i32 scalar/],
    ["that counts in an input", record(0, { out: [{ slot: 1, format: format.i32, dims: [] }] }), /writes an input/],
    ["that counts in a state", record(0, { out: [{ slot: 2, format: format.i32, dims: [] }] }), /before the commit/],
    [
      "that counts outside its slot",
      record(0, { out: [{ slot: 6, format: format.i32, dims: [], byteOffset: 4 }] }),
      /reaches/,
    ],
  ] as [string, Change, RegExp][])("%s is refused", (_, change, reason) => refused(changed(loops, change), reason));

  it("lets its records write states in its commit section alone", () =>
    refused(changed(loops, record(0, params(3, 4, 4))), /writes state before the commit/));

  it("nests eight deep and no deeper", () => {
    native.releaseProgram(native.loadProgram(writeBlob(nested(8))));
    refused(writeBlob(nested(9)), /nested more than 8 deep/);
  });

  it("multiplies the predicted time by its iterations", () => {
    const [once, often] = [1, 1000].map((times) => native.loadProgram(writeBlob(repeatBlob(count, times))));
    const micros = (program: number): number => native.programInfo(program).predictedMicros;
    expect(micros(often!) / micros(once!)).toBeGreaterThan(500);
    expect(native.programInfo(once!).records.map(({ op }) => op)).toEqual([
      "repeat",
      "gather",
      "repeat",
      "elementwise",
      "elementwise",
      "gather",
    ]);
    for (const program of [once, often]) native.releaseProgram(program!);
  });
});
