// Ceilings of this machine, measured at the start of each run by a small program of our own (native/ceilings.cpp),
// compiled on demand into build/.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

export interface Ceilings {
  readonly threads: number;
  /** f32 multiply-add rate by instruction set, GFLOP/s. */
  readonly fma: Readonly<Record<string, number>>;
  /** Copy bandwidth (read + written) by footprint of source and target together. */
  readonly copy: readonly { readonly bytes: number; readonly gbps: number }[];
}

const source = fileURLToPath(new URL("../native/ceilings.cpp", import.meta.url));
const folder = fileURLToPath(new URL("../build/", import.meta.url));
const program = `${folder}ceilings`;

// Neighbours only ever lower a reading, so the highest of a few runs is the ceiling.
const runs = 3;

function compile(): void {
  if (existsSync(program) && statSync(program).mtimeMs > statSync(source).mtimeMs) return;
  mkdirSync(folder, { recursive: true });
  const compiler = process.env.CXX ?? "c++";
  const result = spawnSync(compiler, ["-std=c++20", "-O2", "-pthread", source, "-o", program], { encoding: "utf8" });
  if (result.status !== 0) throw new Error(`${compiler} could not build ${source}:\n${result.stderr ?? result.error}`);
}

function measureOnce(threads: readonly number[]): Ceilings[] {
  const result = spawnSync(program, threads.map(String), { encoding: "utf8" });
  if (result.status !== 0) throw new Error(`${program} failed: ${result.stderr ?? result.error}`);
  return JSON.parse(result.stdout) as Ceilings[];
}

/** Measures FMA rate and copy bandwidth on each number of threads. */
export function measureCeilings(threads: readonly number[]): Ceilings[] {
  compile();
  const measured = Array.from({ length: runs }, () => measureOnce(threads));
  return threads.map((count, i) => {
    const same = measured.map((run) => run[i]!);
    const isas = Object.keys(same[0]!.fma);
    return {
      threads: count,
      fma: Object.fromEntries(isas.map((isa) => [isa, Math.max(...same.map(({ fma }) => fma[isa]!))])),
      copy: same[0]!.copy.map(({ bytes }, j) => ({ bytes, gbps: Math.max(...same.map(({ copy }) => copy[j]!.gbps)) })),
    };
  });
}

/** The machine's highest multiply-add rate, GFLOP/s. */
export const fmaCeiling = ({ fma }: Ceilings): number => Math.max(...Object.values(fma));

/** Copy bandwidth at the measured footprint nearest to `bytes`, GB/s. */
export function copyCeiling({ copy }: Ceilings, bytes: number): number {
  const distance = (other: number): number => Math.abs(Math.log(other / bytes));
  return copy.reduce((a, b) => (distance(b.bytes) < distance(a.bytes) ? b : a)).gbps;
}
