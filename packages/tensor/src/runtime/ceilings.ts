// What this machine can do at best, measured once by a small native program: what timings are held against.

import type { Ceilings } from "@figment/native";
import { guarded, native } from "./device.js";

export type { Ceilings } from "@figment/native";

const known = new Map<number, Promise<Ceilings>>();

/**
 * Measures the f32 multiply-add rate (GFLOP/s, by instruction set) and the copy bandwidth (GB/s, read and written, by
 * footprint) that this machine reaches on a number of threads, 1 to 256. Takes about a second, during which the device
 * does nothing else, and up to 256 MiB of memory outside the device's limit. Other work on the machine lowers it.
 *
 * @example
 * const { fma, copy } = await measureCeilings(1);
 * fma.generic; // GFLOP/s
 */
export const measureCeilings = (threads: number): Promise<Ceilings> => guarded(() => native().measureCeilings(threads));

/**
 * The ceilings on the number of threads that kernels use now, measured at the first call and remembered.
 *
 * @example
 * const { threads } = await ceilings();
 */
export function ceilings(): Promise<Ceilings> {
  const threads = native().threads();
  let found = known.get(threads);
  if (!found) {
    found = measureCeilings(threads);
    known.set(threads, found);
    found.catch(() => known.delete(threads));
  }
  return found;
}

/**
 * The highest multiply-add rate of a machine, GFLOP/s.
 *
 * @example
 * fmaCeiling({ threads: 1, fma: { generic: 20, avx2: 80 }, copy: [] }); // 80
 */
export const fmaCeiling = ({ fma }: Ceilings): number => Math.max(...Object.values(fma));

/**
 * Copy bandwidth of a machine at the measured footprint nearest to `bytes`, GB/s.
 *
 * @example
 * copyCeiling({ threads: 1, fma: {}, copy: [{ bytes: 1024, gbps: 90 }, { bytes: 2 ** 30, gbps: 12 }] }, 2048); // 90
 */
export function copyCeiling({ copy }: Ceilings, bytes: number): number {
  const distance = (other: number): number => Math.abs(Math.log(other / bytes));
  return copy.reduce((a, b) => (distance(b.bytes) < distance(a.bytes) ? b : a)).gbps;
}
