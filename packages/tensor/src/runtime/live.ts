// What is live, for the error that says why memory is exhausted: large storages register themselves, with
// the shape, element type and name of what they hold.

import type { DType } from "../dtype.js";
import type { LiveMemory } from "../errors.js";
import { type Shape, showShape } from "../shape.js";

/** What a block of device memory holds. */
export interface Contents {
  readonly shape: Shape;
  readonly dtype: DType;
  /** Of the cell, if it is one. */
  readonly name?: string;
}

/** Memory that is listed. */
export interface Listed {
  readonly bytes: number;
  readonly device: number;
  contents: Contents | undefined;
  /** Where it stands in the list; -1 while it does not. Only this module sets it. */
  place: number;
}

/** Smaller blocks are only summed up: listing them would cost more than they explain. */
export const listedBytes = 1 << 16;
/** Lines of the list in the message of an error. */
const maxLines = 12;

const listed: Listed[] = [];

/** Notes memory that has been allocated. */
export function noteLive(storage: Listed): void {
  if (storage.bytes >= listedBytes) storage.place = listed.push(storage) - 1;
}

/** Notes that memory has been released, or belongs to something else. */
export function forgetLive(storage: Listed): void {
  if (storage.place < 0) return;
  const last = listed.pop() as Listed;
  if (last !== storage) {
    listed[storage.place] = last;
    last.place = storage.place;
  }
  storage.place = -1;
}

/** A device's live memory in groups of equal name, shape and type, largest first; small blocks are the last group. */
export function rankLive(
  device: number,
  totals: { readonly live: number; readonly liveBuffers: number },
): LiveMemory[] {
  const groups = new Map<string, { count: number; bytes: number; contents: Contents | undefined }>();
  let [restBytes, restCount] = [totals.live, totals.liveBuffers];
  for (const { bytes, contents, device: where } of listed) {
    if (where !== device) continue;
    const key = contents ? `${contents.name ?? ""}|${contents.dtype}|${contents.shape.join()}` : String(bytes);
    const group = groups.get(key) ?? { count: 0, bytes: 0, contents };
    group.count++;
    group.bytes += bytes;
    groups.set(key, group);
    restBytes -= bytes;
    restCount--;
  }
  const ranked: LiveMemory[] = [...groups.values()]
    .sort((a, b) => b.bytes - a.bytes)
    .map(({ count, bytes, contents }) => {
      if (!contents) return { count, bytes };
      const { name, dtype, shape } = contents;
      return { count, bytes, ...(name === undefined ? {} : { name }), dtype, shape };
    });
  if (restCount > 0) ranked.push({ count: restCount, bytes: Math.max(0, restBytes), name: "smaller buffers" });
  return ranked;
}

/** The list as text, one line for each group. */
export function describeLive(ranked: readonly LiveMemory[]): string {
  const lines = ranked.slice(0, maxLines).map(({ count, bytes, name, dtype, shape }) => {
    const times = count > 1 || !shape ? `${count} × ` : "";
    return `  ${showBytes(bytes)}  ${times}${[name, dtype, shape && showShape(shape)].filter(Boolean).join(" ")}`;
  });
  const hidden = ranked.slice(maxLines);
  if (hidden.length > 0) {
    const sum = (of: (group: LiveMemory) => number): number => hidden.reduce((n, group) => n + of(group), 0);
    lines.push(`  ${showBytes(sum(({ bytes }) => bytes))}  ${sum(({ count }) => count)} others`);
  }
  return lines.join("\n");
}

const units = ["B", "KiB", "MiB", "GiB", "TiB"];

/** Bytes for people: 1536 is "1.5 KiB". */
export function showBytes(bytes: number): string {
  const power = bytes < 1024 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** power;
  return `${power === 0 ? value : value.toFixed(1)} ${units[power]}`;
}
