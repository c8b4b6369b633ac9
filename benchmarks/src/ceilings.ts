// Ceilings of this machine, measured at the start of each run.

import { type Ceilings, measureCeilings } from "@figment/tensor";

// Neighbours only ever lower a reading, so the highest of a few runs is the ceiling.
const runs = 3;

/** Measures FMA rate and copy bandwidth on each number of threads. */
export async function highestCeilings(threads: readonly number[]): Promise<Ceilings[]> {
  const highest: Ceilings[] = [];
  for (const count of threads) {
    const same: Ceilings[] = [];
    for (let run = 0; run < runs; run++) same.push(await measureCeilings(count));
    const [{ fma, copy }] = same as [Ceilings];
    highest.push({
      threads: count,
      fma: Object.fromEntries(Object.keys(fma).map((isa) => [isa, Math.max(...same.map((one) => one.fma[isa]!))])),
      copy: copy.map(({ bytes }, i) => ({ bytes, gbps: Math.max(...same.map((one) => one.copy[i]!.gbps)) })),
    });
  }
  return highest;
}
