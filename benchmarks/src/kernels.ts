// The suite of kernels: each case on each number of threads, ours and the peer's in one interleaved race, held against
// the ceilings measured at the start.

import { type Ceilings, copyCeiling, fmaCeiling, setThreads } from "@figment/tensor";
import type { KernelCase } from "./case.js";
import { kernelCases } from "./cases/index.js";
import { type OrtModule, ortContestant } from "./ort.js";
import { type Contestant, race } from "./race.js";
import { formatPercent, formatRatio, formatSeconds, formatTable } from "./table.js";

export interface KernelResult {
  readonly name: string;
  readonly threads: number;
  /** Median and shortest seconds of one call. */
  readonly seconds: number;
  readonly best: number;
  readonly gflops?: number;
  readonly gbps?: number;
  /** Share of the ceiling that bounds the case. */
  readonly ofCeiling?: number;
  readonly peerSeconds?: number;
  /** Median of (peer's time / our time): above 1 we are faster. */
  readonly peerRatio?: number;
}

export interface KernelOptions {
  readonly filter: string;
  readonly ceilings: readonly Ceilings[];
  readonly ort: OrtModule | undefined;
  /** Seconds for each case and number of threads. */
  readonly budget: number;
}

/** Names of the cases that a filter selects; an empty one selects all. */
export const selectCases = (filter: string): readonly KernelCase[] =>
  kernelCases.filter(({ name }) => name.toLowerCase().includes(filter.toLowerCase()));

async function measure(work: KernelCase, ceilings: Ceilings, options: KernelOptions): Promise<KernelResult> {
  const { ort, budget } = options;
  setThreads(ceilings.threads);
  const contestants: Contestant[] = [work.ours()];
  try {
    const peer = ort && work.peer?.();
    if (ort && peer) contestants.push(await ortContestant(ort, ceilings.threads, peer.graph, peer.data));
    const [ours, theirs] = await race(contestants, { budget });
    const { seconds, best } = ours!;
    const gflops = work.bound === "fma" && work.flops ? work.flops / seconds / 1e9 : undefined;
    const gbps = work.bound === "copy" ? work.bytes / seconds / 1e9 : undefined;
    const ofCeiling = gflops ? gflops / fmaCeiling(ceilings) : gbps && gbps / copyCeiling(ceilings, work.bytes);
    return {
      name: work.name,
      threads: ceilings.threads,
      seconds,
      best,
      gflops,
      gbps,
      ofCeiling,
      peerSeconds: theirs?.seconds,
      peerRatio: theirs?.ratio,
    };
  } finally {
    for (const contestant of contestants) await contestant.dispose();
  }
}

function row({ name, threads, seconds, gflops, gbps, ofCeiling, peerSeconds, peerRatio }: KernelResult): string[] {
  return [
    name,
    String(threads),
    formatSeconds(seconds),
    gflops ? `${gflops.toFixed(gflops < 10 ? 1 : 0)} GFLOP/s` : gbps ? `${gbps.toFixed(1)} GB/s` : "",
    ofCeiling ? formatPercent(ofCeiling) : "",
    peerSeconds ? formatSeconds(peerSeconds) : "–",
    peerRatio ? formatRatio(peerRatio) : "–",
  ];
}

export const kernelTable = (results: readonly KernelResult[]): string =>
  formatTable(["kernel", "threads", "time", "rate", "of ceiling", "onnxruntime", "speed-up"], results.map(row));

/** Runs the suite; `progress` is called with the name of each case as it starts. */
export async function runKernels(options: KernelOptions, progress: (name: string) => void): Promise<KernelResult[]> {
  const results: KernelResult[] = [];
  for (const work of selectCases(options.filter)) {
    for (const ceilings of options.ceilings) {
      progress(`${work.name}, ${ceilings.threads} threads`);
      results.push(await measure(work, ceilings, options));
    }
  }
  return results;
}
