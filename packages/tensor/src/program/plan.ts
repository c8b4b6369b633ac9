// The memory plan: where each temporary lies in the arena, given when it is first written and last
// read. Offline best fit, largest first. A property test proves that live intervals never overlap.

/** A temporary: its size and the records at which it is first written and last used. */
export interface Interval {
  readonly bytes: number;
  readonly first: number;
  readonly last: number;
}

/** Alignment of every temporary. */
export const arenaAlignment = 256;

/** Offsets for all intervals, and the size of the arena. */
export interface MemoryPlan {
  readonly offsets: readonly number[];
  readonly bytes: number;
}

const alignUp = (x: number): number => Math.ceil(x / arenaAlignment) * arenaAlignment;

interface Placed {
  readonly start: number;
  readonly end: number;
  readonly first: number;
  readonly last: number;
}

/** Places intervals so that those alive at the same time never share a byte. */
export function planMemory(intervals: readonly Interval[]): MemoryPlan {
  const order = intervals.map((_, i) => i);
  const at = (i: number): Interval => intervals[i] as Interval;
  order.sort((a, b) => at(b).bytes - at(a).bytes || at(a).first - at(b).first || a - b);
  const offsets = new Array<number>(intervals.length).fill(0);
  /** Sorted by start. */
  const placed: Placed[] = [];
  let total = 0;
  for (const i of order) {
    const { bytes, first, last } = at(i);
    const size = alignUp(bytes);
    if (size === 0) continue;
    const start = bestGap(placed, size, first, last);
    offsets[i] = start;
    total = Math.max(total, start + size);
    insertSorted(placed, { start, end: start + size, first, last });
  }
  return { offsets, bytes: total };
}

/** The smallest gap that fits among the placed intervals alive at the same time; else the end. */
function bestGap(placed: readonly Placed[], size: number, first: number, last: number): number {
  let cursor = 0;
  let best = -1;
  let bestSlack = Number.POSITIVE_INFINITY;
  for (const other of placed) {
    if (other.last < first || other.first > last) continue;
    const slack = other.start - cursor - size;
    if (slack >= 0 && slack < bestSlack) {
      best = cursor;
      bestSlack = slack;
    }
    cursor = Math.max(cursor, other.end);
  }
  return best >= 0 ? best : cursor;
}

function insertSorted(placed: Placed[], item: Placed): void {
  let lo = 0;
  let hi = placed.length;
  while (lo < hi) {
    const mid = (lo + hi) >> 1;
    if ((placed[mid] as Placed).start < item.start) lo = mid + 1;
    else hi = mid;
  }
  placed.splice(lo, 0, item);
}
