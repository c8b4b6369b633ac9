// Where each temporary lies in the arena, given the records that touch it and the loops among them.

import type { SlotSpec } from "./blob.js";
import type { Buffer } from "./place.js";
import { planMemory } from "./plan.js";

/** A loop among the records: the record that begins it and the last of its body. */
export interface LoopSpan {
  readonly first: number;
  readonly last: number;
}

/** What is made before a loop and read within must outlive all its iterations. `loops`: inner ones before outer ones. */
export function extendOverLoops(buffers: readonly Buffer[], loops: readonly LoopSpan[]): void {
  for (const { first, last } of loops) {
    for (const buffer of buffers) {
      if (buffer.first < first && buffer.last >= first && buffer.last < last) buffer.last = last;
    }
  }
}

/** Buffers up to so many bytes linger for so many records where records run at once: who takes their memory would wait. */
const lingering = { bytes: 1 << 16, records: 32 };

/** Every buffer that is used, with its place in the arena. */
export function placeBuffers(buffers: readonly Buffer[], atOnce = false): [Buffer, number][] {
  const used = buffers.filter((buffer) => buffer.kind !== "arena" || buffer.last >= 0);
  const groups = new Map<Buffer, { first: number; last: number; bytes: number }>();
  const rootOf = new Map<Buffer, Buffer>();
  const arena = used.filter((buffer) => buffer.kind === "arena").sort((a, b) => a.first - b.first);
  for (const buffer of arena) {
    const host = buffer.host && (rootOf.get(buffer.host) ?? null);
    const group = host && groups.get(host);
    // The takeover holds only if nobody reads the old contents after the record that overwrites them.
    if (host && group && buffer.host?.last === buffer.first && group.last === buffer.first) {
      rootOf.set(buffer, host);
      group.last = Math.max(group.last, buffer.last);
    } else {
      rootOf.set(buffer, buffer);
      groups.set(buffer, { first: buffer.first, last: buffer.last, bytes: buffer.bytes });
    }
  }
  const roots = [...groups.keys()];
  const plan = planMemory(
    roots.map((root) => {
      const { first, last, bytes } = groups.get(root) as { first: number; last: number; bytes: number };
      return { first, last: atOnce && bytes <= lingering.bytes ? last + lingering.records : last, bytes };
    }),
  );
  const offsetOf = new Map(roots.map((root, i) => [root, plan.offsets[i] as number]));
  return used.map((buffer) => [
    buffer,
    buffer.kind === "arena" ? (offsetOf.get(rootOf.get(buffer) as Buffer) as number) : 0,
  ]);
}

/** Bytes of the arena that the slots lie in. */
export const arenaSize = (slots: readonly SlotSpec[]): number =>
  slots.reduce((n, slot) => (slot.kind === "arena" ? Math.max(n, slot.offset + slot.bytes) : n), 0);
