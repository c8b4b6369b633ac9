// The safety net under tensors that nobody frees: once the garbage collector has found one, its memory is released. Having
// it watch a tensor costs as much as a small operation, and it reports between turns of the event loop alone. So tensors are
// put under watch when the turn that made them ends; most are freed before, and never are.

import type { Storage } from "../runtime/device.js";

/** What holds memory and can be forgotten. */
export interface Holder {
  /** The memory; undefined once it has been freed. */
  readonly memory: Storage | undefined;
  /** Whether the collector watches it; only this module sets it. */
  watched: boolean;
}

const registry = new FinalizationRegistry<Storage>((memory) => {
  memory.release();
});

/** A turn may be long: no more holders are kept from the collector, and no more bytes than it hears of late anyway. */
const mostYoung = 256;
const mostYoungBytes = 4 << 20;

/** Holders made in this turn; the first `count` places are taken. */
const young = new Array<Holder | undefined>(mostYoung).fill(undefined);
let count = 0;
let bytes = 0;
let awaitsEnd = false;
const now = Promise.resolve();

/** Has the memory of a holder released once the collector finds it, unless it is freed before. */
export function watch(holder: Holder, memory: Storage): void {
  young[count++] = holder;
  bytes += memory.bytes;
  if (count === mostYoung || bytes > mostYoungBytes) watchYoung();
  else if (!awaitsEnd) {
    awaitsEnd = true;
    void now.then(endTurn);
  }
}

/** Forgets a holder whose memory is freed now. */
export function unwatch(holder: Holder): void {
  if (!holder.watched) return;
  holder.watched = false;
  registry.unregister(holder);
}

function endTurn(): void {
  awaitsEnd = false;
  watchYoung();
}

function watchYoung(): void {
  for (let i = 0; i < count; i++) {
    const holder = young[i] as Holder;
    const { memory } = holder;
    young[i] = undefined;
    if (!memory || holder.watched) continue;
    holder.watched = true;
    registry.register(holder, memory, holder);
  }
  count = 0;
  bytes = 0;
}
