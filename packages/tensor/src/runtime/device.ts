// The device as the rest of the package sees it: the native binding, loaded on first use, and storage —
// reference-counted device memory. Knows no shapes.

import { AbortError, OutOfMemoryError, typedError } from "../errors.js";
import { native } from "./binding.js";
import { currentDevice, deviceName } from "./devices.js";
import { type Contents, describeLive, forgetLive, noteLive, rankLive, showBytes } from "./live.js";
import { type Origin, showOrigin } from "./origin.js";

export { native } from "./binding.js";
export { currentDevice, onDevice } from "./devices.js";

/** Runs a native call that works on a device, turning its errors into typed ones. */
export function guarded<T>(call: () => T, device: number = currentDevice()): T {
  try {
    return call();
  } catch (error) {
    throw explained(error, device);
  }
}

/** Awaits a native call, turning its errors into typed ones. */
export async function guardedAsync<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw explained(error, currentDevice());
  }
}

/** The typed form of a native error; one that says memory is exhausted lists what is live on the device. */
export function explained(error: unknown, device: number): unknown {
  const typed = typedError(error);
  if (!(typed instanceof OutOfMemoryError)) return typed;
  const totals = native().memory(device);
  const live = rankLive(device, totals);
  const rest = totals.inUse - totals.live;
  const place = device === 0 ? "" : ` on ${deviceName(device)}`;
  const head = `${typed.message}.\nLive on this thread${place}, largest first:`;
  const tail = rest > 0 ? `\n  ${showBytes(rest)}  temporaries of programs, other threads, and rounding` : "";
  return new OutOfMemoryError(`${head}\n${describeLive(live)}${tail}`, { cause: error, live });
}

/**
 * Device memory shared by the tensors that look at it. A cell lends its memory to the tensors read from
 * it (`borrowed`); before the cell is overwritten the contents are moved away and `handle` re-pointed,
 * so that those tensors keep what they saw.
 */
export class Storage {
  handle: number;
  readonly bytes: number;
  /** The number of the device that it lies on. */
  readonly device: number;
  /** Called instead of releasing the memory when the last user leaves a borrowed storage. */
  borrowed: (() => void) | undefined;
  /** Where the work that fills this memory was queued, for errors that surface later. */
  origin: Origin | undefined;
  /** What stops the work that fills this memory. */
  signal: AbortSignal | undefined;
  /** What the memory holds, for the list of what is live. */
  contents: Contents | undefined;
  place = -1;
  /** Told when the memory goes: native bindings that would keep it. */
  private watchers: Set<() => void> | undefined;
  private users = 1;
  private unowned = false;

  constructor(handle: number, bytes: number, device: number, borrowed?: () => void) {
    this.handle = handle;
    this.bytes = bytes;
    this.device = device;
    this.borrowed = borrowed;
    if (!borrowed) noteLive(this);
  }

  /** Notes that nobody is expected to free this memory: the scalar results of compiled functions are left to the collector. */
  leaveToCollector(): void {
    this.unowned = true;
    unownedCount++;
  }

  /** Asks to be told when the memory goes; gives a function that takes the request back. */
  onRelease(watcher: () => void): () => void {
    this.watchers ??= new Set();
    const { watchers } = this;
    watchers.add(watcher);
    return () => watchers.delete(watcher);
  }

  /** Points the users of this memory to a copy elsewhere, which is theirs from now on; bindings to the old place go. */
  moveTo(copy: Storage): void {
    this.tellWatchers();
    this.handle = copy.handle;
    this.contents = copy.contents;
    this.borrowed = undefined;
    forgetLive(copy);
    noteLive(this);
  }

  retain(): this {
    this.users++;
    return this;
  }

  release(): void {
    if (--this.users > 0) return;
    if (this.unowned) unownedCount--;
    this.tellWatchers();
    if (this.borrowed) this.borrowed();
    else {
      forgetLive(this);
      native().release(this.handle);
    }
  }

  private tellWatchers(): void {
    for (const watcher of this.watchers ?? []) watcher();
  }
}

/** What a call works on: memory, or a number that travels with the call and needs none. */
export type Operand = Storage | InlineNumber;

/** One element without memory of its own. */
export interface InlineNumber {
  /** No buffer has this handle. */
  readonly handle: 0;
  /** A double whose first bytes, in the machine's order, are those of the element. */
  readonly word: number;
}

/** The bytes of an element that travels with calls. */
export const inlineBytes = ({ word }: InlineNumber, bytes: number): ArrayBuffer =>
  Float64Array.of(word).buffer.slice(0, bytes);

let unownedCount = 0;

/** How many live buffers are left to the collector. */
export const unownedBuffers = (): number => unownedCount;

/** Fresh memory with undefined contents. */
function allocate(bytes: number, device: number): Storage {
  return new Storage(
    guarded(() => native().allocate(device, bytes), device),
    bytes,
    device,
  );
}

/** Fresh memory holding these bytes. */
export function upload(data: Uint8Array, device: number = currentDevice()): Storage {
  const storage = allocate(data.byteLength, device);
  if (data.byteLength > 0) guarded(() => native().write(storage.handle, 0, data), device);
  return storage;
}

/** The same bytes on another device. Waits until they have been computed. */
export const transfer = (from: Storage, device: number): Storage =>
  upload(new Uint8Array(downloadSync(from, 0, from.bytes)), device);

/** The bytes, once the work queued before has run. */
export async function download(storage: Storage, offset: number, length: number): Promise<ArrayBuffer> {
  try {
    return await native().read(storage.handle, offset, length);
  } catch (error) {
    throw withOrigin(explained(error, storage.device), storage);
  }
}

/** The bytes; blocks the thread until the work queued before has run. */
export function downloadSync(storage: Storage, offset: number, length: number): ArrayBuffer {
  try {
    return native().readSync(storage.handle, offset, length);
  } catch (error) {
    throw withOrigin(explained(error, storage.device), storage);
  }
}

/** When the work that fills the memory is done; rejects with its error. */
export const computed = async (storage: Storage): Promise<void> => void (await download(storage, 0, 0));

/** The error of queued work, with the stack of the call that queued it; of stopped work, the reason for stopping. */
function withOrigin(error: unknown, { origin, signal }: Storage): unknown {
  if (error instanceof AbortError && signal?.aborted) return signal.reason;
  if (error instanceof Error && origin) showOrigin(error, origin);
  return error;
}
