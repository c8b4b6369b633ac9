// Memory and device, as users and tests ask about them.

import { availableParallelism } from "node:os";
import { UsageError } from "../errors.js";
import { show } from "../shape.js";
import { guarded, guardedAsync, native, unownedBuffers } from "./device.js";
import { currentDevice, type Device, deviceNumber, usedDevices } from "./devices.js";

/** Memory of a device in use. */
export interface MemoryStats {
  /** Bytes in live buffers. */
  readonly live: number;
  readonly liveBuffers: number;
  /** Bytes of blocks in use by the whole process: buffers of all threads and temporaries of programs. */
  readonly inUse: number;
  /** Bytes held for reuse. */
  readonly cached: number;
  /** The most bytes live at once. */
  readonly peak: number;
  /** Times that memory was asked of the system. */
  readonly systemAllocations: number;
  /**
   * Of what is in use, copies of weights in the order in which kernels read them, kept while the weights stay as they are.
   * Never more than an eighth of the limit; given up when memory runs short.
   */
  readonly packed: number;
  /** The most bytes that the process may hold: see {@link setMemoryLimit}. */
  readonly limit: number;
}

const numberOf = (op: string, device: Device | undefined): number =>
  device === undefined ? currentDevice() : deviceNumber(op, device);

/**
 * Memory of a device in use by this process. Default: the device that tensors are made on now.
 *
 * @throws UsageError for what names no device; DeviceError, with the reason, for one that cannot be used.
 * @example
 * const { live, peak } = memory(); // bytes
 */
export const memory = (device?: Device): MemoryStats => native().memory(numberOf("memory", device));

/**
 * Limits the memory of a device that the process may hold, in bytes; 0 and Infinity set the limit back to what there is.
 * What would exceed it fails with an {@link OutOfMemoryError}, after the queue has been drained and caches dropped. Cells
 * are as they were, and the device works on.
 *
 * @param device default: the device that tensors are made on now.
 * @throws UsageError unless `bytes` is a whole number from 0 to 2⁵³ − 1 or Infinity, and for what names no device; DeviceError, with the reason, for a device
 *   that cannot be used.
 * @example
 * setMemoryLimit(2 ** 30);
 * setMemoryLimit(0);
 */
export function setMemoryLimit(bytes: number, device?: Device): void {
  if (bytes !== Number.POSITIVE_INFINITY && (!Number.isSafeInteger(bytes) || bytes < 0)) {
    const expected = `a whole number of bytes from 0 to ${Number.MAX_SAFE_INTEGER}, or Infinity`;
    throw new UsageError(`setMemoryLimit: expected ${expected}, got ${show(bytes)}`);
  }
  const where = numberOf("setMemoryLimit", device);
  guarded(() => native().setMemoryLimit(Number.isFinite(bytes) ? bytes : 0, where));
}

/** Live buffers and bytes of this thread on all its devices. */
function liveAnywhere(): { readonly buffers: number; readonly bytes: number } {
  const all = usedDevices().map((device) => native().memory(device));
  return {
    buffers: all.reduce((sum, { liveBuffers }) => sum + liveBuffers, 0) - unownedBuffers(),
    bytes: all.reduce((sum, { live }) => sum + live, 0),
  };
}

let baseline = 0;

/**
 * From now on, {@link assertNoLeaks} ignores what is live at this moment.
 *
 * @example
 * markNoLeaks();
 * assertNoLeaks();
 */
export function markNoLeaks(): void {
  baseline = liveAnywhere().buffers;
}

/**
 * Checks that nothing is live, on any device, that was not there at {@link markNoLeaks}. Scalar results of compiled functions need no
 * disposal and do not count.
 *
 * @throws UsageError saying how many buffers and bytes are live.
 *
 * @example
 * markNoLeaks();
 * scope(() => void ones([2]).mul(2));
 * assertNoLeaks();
 */
export function assertNoLeaks(): void {
  guarded(() => native().settleSync());
  const { buffers, bytes } = liveAnywhere();
  const leaked = buffers - baseline;
  if (leaked > 0) {
    throw new UsageError(
      `${leaked} tensors or cells have not been disposed (${bytes} bytes are live); dispose them or use scope()`,
    );
  }
}

/**
 * When everything queued so far is done, on all devices; rejects with the first error that no read has reported. Work that was stopped
 * by a signal counts as done.
 *
 * @example
 * const x = ones([2]).mul(2);
 * await settled();
 * x; // [2]
 */
export const settled = (): Promise<void> => guardedAsync(() => native().settled());

/** The addon takes no more. */
const mostThreads = 256;

/**
 * Sets the number of worker threads of the CPU, from 1 to 256; 0 takes one per core. Results do not depend on it.
 *
 * @throws UsageError for what is no such number.
 * @example
 * setThreads(2);
 */
export function setThreads(count: number): void {
  if (!Number.isInteger(count) || count < 0 || count > mostThreads)
    throw new UsageError(`setThreads: expected an integer from 0 to ${mostThreads}, got ${show(count)}`);
  guarded(() => native().setThreads(count === 0 ? Math.min(availableParallelism(), mostThreads) : count));
}
