// The suites of kernels and of other operations: each case on each number of threads, ours and the peers' in one interleaved
// race, held against the ceilings measured at the start.

import { type Ceilings, copyCeiling, fmaCeiling, setThreads } from "@figment/tensor";
import type { KernelCase } from "./case.js";
import { type Caches, homeOf } from "./machine.js";
import type { Peer } from "./peers/index.js";
import { type Contestant, race } from "./race.js";
import { formatPercent, formatRatio, formatSeconds, formatTable } from "./table.js";
import type { Format } from "./work.js";

export interface PeerResult {
  readonly seconds: number;
  readonly best: number;
  /** Median of (peer's time / our time): above 1 we are faster. */
  readonly ratio: number;
}

export interface KernelResult {
  readonly name: string;
  readonly threads: number;
  /** What operands and results are kept as. */
  readonly format: Format;
  /** Bytes of operands and results, and the smallest cache that holds them; every call works on the same ones. */
  readonly bytes: number;
  readonly cached: string;
  /** Median and shortest seconds of one call. */
  readonly seconds: number;
  readonly best: number;
  readonly gflops?: number;
  readonly gbps?: number;
  /** Share of the ceiling that bounds the case. */
  readonly ofCeiling?: number;
  readonly peers: Readonly<Record<string, PeerResult>>;
}

export interface KernelOptions {
  readonly cases: readonly KernelCase[];
  readonly ceilings: readonly Ceilings[];
  readonly peers: readonly Peer[];
  readonly caches: Caches;
  /** Seconds for each case and number of threads. */
  readonly budget: number;
  /** Rounds at least. */
  readonly rounds?: number;
}

async function measure(work: KernelCase, ceilings: Ceilings, options: KernelOptions): Promise<KernelResult> {
  const { peers, caches, budget, rounds } = options;
  const { name, bytes, format = "f32" } = work;
  const { threads } = ceilings;
  setThreads(threads);
  const contestants: Contestant[] = [work.ours()];
  try {
    for (const peer of peers) {
      const rival = await peer.contestant(work, threads);
      if (rival) contestants.push(rival);
    }
    const [ours, ...others] = await race(contestants, { budget, rounds });
    const { seconds, best } = ours!;
    const gflops = work.bound === "fma" && work.flops ? work.flops / seconds / 1e9 : undefined;
    const gbps = work.bound === "copy" ? bytes / seconds / 1e9 : undefined;
    const ofCeiling = gflops ? gflops / fmaCeiling(ceilings) : gbps && gbps / copyCeiling(ceilings, bytes);
    return {
      name,
      threads,
      format,
      bytes,
      cached: homeOf(bytes, caches, threads),
      seconds,
      best,
      gflops,
      gbps,
      ofCeiling,
      peers: Object.fromEntries(others.map(({ name, seconds, best, ratio }) => [name, { seconds, best, ratio }])),
    };
  } finally {
    for (const contestant of contestants) await contestant.dispose();
  }
}

const peerCell = (result: PeerResult | undefined): string =>
  result ? `${formatSeconds(result.seconds)} ${formatRatio(result.ratio)}` : "–";

/** The results; each peer's time is followed by how many times as long as ours it is. */
export function kernelTable(title: string, results: readonly KernelResult[]): string {
  const names = [...new Set(results.flatMap(({ peers }) => Object.keys(peers)))];
  return formatTable(
    [title, "threads", "in", "time", "rate", "of ceiling", ...names],
    results.map(({ name, threads, cached, seconds, gflops, gbps, ofCeiling, peers }) => [
      name,
      String(threads),
      cached,
      formatSeconds(seconds),
      gflops ? `${gflops.toFixed(gflops < 10 ? 1 : 0)} GFLOP/s` : gbps ? `${gbps.toFixed(1)} GB/s` : "",
      ofCeiling ? formatPercent(ofCeiling) : "",
      ...names.map((peer) => peerCell(peers[peer])),
    ]),
  );
}

/** Runs the cases; `progress` is called with the name of each as it starts. */
export async function runKernels(options: KernelOptions, progress: (name: string) => void): Promise<KernelResult[]> {
  const results: KernelResult[] = [];
  for (const work of options.cases) {
    for (const ceilings of options.ceilings) {
      progress(`${work.name}, ${ceilings.threads} threads`);
      results.push(await measure(work, ceilings, options));
    }
  }
  return results;
}
