// What a device can do at best, measured once by a small native program: what timings are held against.

import type { Ceilings } from "@figment/native";
import { currentDevice, guarded, native } from "./device.js";
import { type Device, deviceNumber } from "./devices.js";

export type { Ceilings } from "@figment/native";

const known = new Map<string, Promise<Ceilings>>();

const numberOf = (op: string, device: Device | undefined): number =>
  device === undefined ? currentDevice() : deviceNumber(op, device);

/**
 * Measures the f32 multiply-add rate (GFLOP/s, by instruction set) and the copy bandwidth (GB/s, read and written, by
 * footprint) that a device reaches, the CPU on a number of threads, 1 to 256. Takes about a second, during which the device
 * does nothing else, and memory: up to 256 MiB outside the CPU's limit, 1 GiB of a GPU's. Other work on the machine lowers it.
 *
 * @param device default: the device that tensors are made on now.
 * @example
 * const { fma, copy } = await measureCeilings(1);
 * fma.generic; // GFLOP/s
 */
export const measureCeilings = (threads: number, device?: Device): Promise<Ceilings> =>
  measure(threads, numberOf("measureCeilings", device));

const measure = (threads: number, device: number): Promise<Ceilings> =>
  guarded(() => native().measureCeilings(threads, device), device);

/**
 * The ceilings of a device, the CPU's on the number of threads that kernels use now, measured at the first call and
 * remembered.
 *
 * @param device default: the device that tensors are made on now.
 * @example
 * const { threads } = await ceilings();
 */
export const ceilings = (device?: Device): Promise<Ceilings> => ceilingsOf(numberOf("ceilings", device));

/** The ceilings of a device by its number. */
export function ceilingsOf(device: number): Promise<Ceilings> {
  const threads = device === 0 ? native().threads() : 1;
  const key = `${device} ${threads}`;
  let found = known.get(key);
  if (!found) {
    found = measure(threads, device);
    known.set(key, found);
    found.catch(() => known.delete(key));
  }
  return found;
}

/**
 * The highest multiply-add rate of a device, GFLOP/s.
 *
 * @example
 * fmaCeiling({ threads: 1, fma: { generic: 20, avx2: 80 }, copy: [] }); // 80
 */
export const fmaCeiling = ({ fma }: Ceilings): number => Math.max(...Object.values(fma));

/**
 * Copy bandwidth of a device at the measured footprint nearest to `bytes`, GB/s.
 *
 * @example
 * copyCeiling({ threads: 1, fma: {}, copy: [{ bytes: 1024, gbps: 90 }, { bytes: 2 ** 30, gbps: 12 }] }, 2048); // 90
 */
export function copyCeiling({ copy }: Ceilings, bytes: number): number {
  const distance = (other: number): number => Math.abs(Math.log(other / bytes));
  return copy.reduce((a, b) => (distance(b.bytes) < distance(a.bytes) ? b : a)).gbps;
}
