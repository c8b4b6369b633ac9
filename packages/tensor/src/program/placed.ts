// The last step of lowering: buffers get their places in memory, and records refer to them as slots.

import { bytesOf, formatOf } from "../dtype.js";
import type { Schema } from "../ir/schema.js";
import { arenaSize, extendOverLoops, type LoopSpan, placeBuffers } from "./arena.js";
import type { BlockSpec, OperandSpec, ProgramSpec, SlotSpec } from "./blob.js";
import type { Buffer, Place } from "./place.js";

/** A record whose operands have no slots yet. */
export interface Draft {
  /** A kernel call, or the start of a block. */
  readonly does: { readonly schema: Schema; readonly params: Uint8Array } | { block: BlockSpec };
  readonly inputs: readonly Place[];
  readonly outputs: readonly Place[];
  readonly tag: number;
}

/** What lowering has made of a graph. */
interface Drafts {
  readonly buffers: readonly Buffer[];
  readonly loops: readonly LoopSpan[];
  readonly records: readonly Draft[];
  readonly commitStart: number;
  readonly atOnce: boolean;
}

/** The program of drafted records. */
export function placed({ buffers, loops, records, commitStart, atOnce }: Drafts): ProgramSpec {
  extendOverLoops(buffers, loops);
  const slotOf = new Map<Buffer, number>();
  const slots: SlotSpec[] = [];
  for (const [buffer, offset] of placeBuffers(buffers, atOnce)) {
    const { kind, ordinal, bytes } = buffer;
    const written = kind === "state" && buffer.written;
    slotOf.set(buffer, slots.push({ kind, ordinal, bytes, offset, written }) - 1);
  }
  const operand = ({ buffer, dtype, shape, offset, strides }: Place): OperandSpec => ({
    slot: slotOf.get(buffer) as number,
    format: formatOf[dtype],
    byteOffset: offset * bytesOf[dtype],
    dims: shape,
    strides,
  });
  const specs = records.map(({ does, inputs, outputs, tag }) => ({
    ...does,
    inputs: inputs.map(operand),
    outputs: outputs.map(operand),
    tag,
  }));
  return { slots, records: specs, commitStart, arenaBytes: arenaSize(slots) };
}
