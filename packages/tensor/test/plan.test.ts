import { describe, expect, it } from "vitest";
import { extendOverLoops, placeBuffers } from "#program/arena";
import type { Buffer } from "#program/place";
import { arenaAlignment, type Interval, planMemory } from "#program/plan";
import { Draws } from "./support/draws.js";

const overlap = (a: { start: number; end: number }, b: { start: number; end: number }): boolean =>
  a.start < b.end && b.start < a.end;

describe("the memory plan", () => {
  it("never lets two intervals that are alive together share a byte", () => {
    const draws = new Draws(20261);
    for (let round = 0; round < 300; round++) {
      const records = draws.integer(1, 60);
      const intervals: Interval[] = Array.from({ length: draws.integer(0, 80) }, () => {
        const first = draws.integer(0, records);
        return { bytes: draws.integer(0, 5000), first, last: first + draws.integer(0, 10) };
      });
      const { offsets, bytes } = planMemory(intervals);
      intervals.forEach((a, i) => {
        const at = offsets[i] as number;
        expect(at % arenaAlignment).toBe(0);
        expect(at + a.bytes).toBeLessThanOrEqual(bytes);
        intervals.slice(i + 1).forEach((b, k) => {
          const together = a.first <= b.last && b.first <= a.last && a.bytes > 0 && b.bytes > 0;
          const other = offsets[i + 1 + k] as number;
          if (together)
            expect(overlap({ start: at, end: at + a.bytes }, { start: other, end: other + b.bytes })).toBe(false);
        });
      });
    }
  });

  it("gives the same memory to intervals that follow one another", () => {
    const { bytes } = planMemory([
      { bytes: 1000, first: 0, last: 1 },
      { bytes: 1000, first: 2, last: 3 },
      { bytes: 1000, first: 4, last: 4 },
    ]);
    expect(bytes).toBe(1024);
  });
});

describe("small temporaries", () => {
  const buffers = (): Buffer[] =>
    [0, 1, 2].map((ordinal) => ({
      kind: "arena",
      ordinal,
      bytes: 1000,
      first: 2 * ordinal,
      last: 2 * ordinal + 1,
      host: null,
      written: false,
    }));

  it("share memory one after another where records run in order", () => {
    expect(new Set(placeBuffers(buffers()).map(([, at]) => at)).size).toBe(1);
  });

  it("have memory of their own for a while where records run at once", () => {
    expect(new Set(placeBuffers(buffers(), true).map(([, at]) => at)).size).toBe(3);
  });
});

/** Records in an order in which a random program with loops runs them, and the loops, inner ones first. */
interface Schedule {
  readonly records: number;
  readonly runs: readonly number[];
  readonly loops: readonly { readonly first: number; readonly last: number }[];
}

/** Draws nested loops over consecutive records. A loop's first record counts its iterations, and reads nothing. */
function drawSchedule(draws: Draws): Schedule {
  const loops: { first: number; last: number }[] = [];
  let next = 0;
  const body = (depth: number): number[] => {
    const runs: number[] = [];
    for (let k = draws.integer(1, 6); k > 0; k--) {
      const first = next++;
      const loop = depth > 0 && draws.next() < 0.4;
      const inner = loop ? body(depth - 1) : [];
      for (let times = loop ? draws.integer(1, 4) : 1; times > 0; times--) runs.push(first, ...inner);
      if (loop) loops.push({ first, last: next - 1 });
    }
    return runs;
  };
  const runs = body(3);
  return { records: next, runs, loops };
}

describe("the memory plan of a program with loops", () => {
  it("keeps every value until its last reader in the last iteration has read it", () => {
    const draws = new Draws(4711);
    let readsInLaterIterations = 0;
    for (let round = 0; round < 400; round++) {
      const { records, runs, loops } = drawSchedule(draws);
      const enclosing = (record: number) => loops.filter(({ first, last }) => first <= record && record <= last);
      // Each value is written by one record and read by later ones that lie in every loop that it lies in.
      const values = Array.from({ length: draws.integer(1, 30) }, () => {
        const writer = draws.integer(0, records);
        const readers = Array.from({ length: 3 }, () => draws.integer(writer, records)).filter(
          (reader) =>
            enclosing(writer).every((loop) => reader <= loop.last) && loops.every(({ first }) => reader !== first),
        );
        const buffer: Buffer = {
          kind: "arena",
          ordinal: 0,
          bytes: draws.integer(1, 3) * arenaAlignment,
          first: writer,
          last: Math.max(writer, ...readers),
          host: null,
          written: true,
        };
        return { writer, readers: readers.filter((reader) => reader > writer), buffer };
      });
      const buffers = values.map(({ buffer }) => buffer);
      extendOverLoops(buffers, loops);
      const placed = new Map(placeBuffers(buffers));
      const owner = new Map<number, Buffer>();
      const blocks = (buffer: Buffer): number[] =>
        Array.from(
          { length: buffer.bytes / arenaAlignment },
          (_, i) => (placed.get(buffer) as number) / arenaAlignment + i,
        );
      const seen = new Set<number>();
      for (const record of runs) {
        for (const { readers, buffer } of values) {
          if (!readers.includes(record)) continue;
          if (seen.has(record)) readsInLaterIterations++;
          for (const block of blocks(buffer)) expect(owner.get(block)).toBe(buffer);
        }
        for (const { writer, buffer } of values)
          if (writer === record) for (const block of blocks(buffer)) owner.set(block, buffer);
        seen.add(record);
      }
    }
    expect(readsInLaterIterations).toBeGreaterThan(1000);
  });
});
