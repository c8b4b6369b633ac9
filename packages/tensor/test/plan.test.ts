import { describe, expect, it } from "vitest";
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
