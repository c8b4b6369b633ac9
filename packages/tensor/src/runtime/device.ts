// The device as the rest of the package sees it: the native binding, loaded on first use, and storage —
// reference-counted device memory. Knows no shapes.

import { loadBinding, type NativeBinding } from "@figment/native";
import { AbortError, OutOfMemoryError, typedError } from "../errors.js";
import { type Contents, describeLive, forgetLive, noteLive, rankLive, showBytes } from "./live.js";
import { type Origin, showOrigin } from "./origin.js";

let loaded: NativeBinding | undefined;

/** The native binding; loading it is the first thing that can fail, so it happens on first use. */
export function native(): NativeBinding {
  loaded ??= loadBinding();
  return loaded;
}

/** The device that new memory and programs are made on, as the binding numbers them; 0 is the CPU. */
let current = 0;

/** The number of the current device. */
export const currentDevice = (): number => current;

/** Makes another device the current one while `work` runs. */
export function onDevice<T>(device: number, work: () => T): T {
  const before = current;
  current = device;
  try {
    return work();
  } finally {
    current = before;
  }
}

/** Runs a native call, turning its errors into typed ones. */
export function guarded<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw explained(error);
  }
}

/** Awaits a native call, turning its errors into typed ones. */
export async function guardedAsync<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw explained(error);
  }
}

/** The typed form of a native error; one that says memory is exhausted lists what is live. */
function explained(error: unknown): unknown {
  const typed = typedError(error);
  if (!(typed instanceof OutOfMemoryError)) return typed;
  const totals = native().memory();
  const live = rankLive(totals);
  const rest = totals.inUse - totals.live;
  const head = `${typed.message}. ${showBytes(totals.inUse)} of ${showBytes(totals.limit)} are in use; live on this thread, largest first:`;
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
  /** Called instead of releasing the memory when the last user leaves a borrowed storage. */
  borrowed: (() => void) | undefined;
  /** Where the work that fills this memory was queued, for errors that surface later. */
  origin: Origin | undefined;
  /** What stops the work that fills this memory. */
  signal: AbortSignal | undefined;
  /** What the memory holds, for the list of what is live. */
  contents: Contents | undefined;
  /** Told when the memory goes: native bindings that would keep it. */
  private watchers: Set<() => void> | undefined;
  private users = 1;
  private unowned = false;

  constructor(handle: number, bytes: number, borrowed?: () => void) {
    this.handle = handle;
    this.bytes = bytes;
    this.borrowed = borrowed;
    if (!borrowed) noteLive(handle, this);
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

  /** Points the users of this memory to a copy elsewhere; bindings to the old place go. */
  moveTo(handle: number): void {
    this.tellWatchers();
    this.handle = handle;
    this.borrowed = undefined;
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
      forgetLive(this.handle);
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

/** Memory for an element that travelled with calls so far. */
export const uploadInline = ({ word }: InlineNumber, bytes: number): Storage =>
  upload(new Uint8Array(Float64Array.of(word).buffer, 0, bytes));

let unownedCount = 0;

/** How many live buffers are left to the collector. */
export const unownedBuffers = (): number => unownedCount;

/** Fresh memory with undefined contents. */
export function allocate(bytes: number): Storage {
  return new Storage(
    guarded(() => native().allocate(current, bytes)),
    bytes,
  );
}

/** Fresh memory holding these bytes. */
export function upload(data: Uint8Array): Storage {
  const storage = allocate(data.byteLength);
  if (data.byteLength > 0) guarded(() => native().write(storage.handle, 0, data));
  return storage;
}

/** The bytes, once the work queued before has run. */
export async function download(storage: Storage, offset: number, length: number): Promise<ArrayBuffer> {
  try {
    return await native().read(storage.handle, offset, length);
  } catch (error) {
    throw withOrigin(explained(error), storage);
  }
}

/** The bytes; blocks the thread until the work queued before has run. */
export function downloadSync(storage: Storage, offset: number, length: number): ArrayBuffer {
  try {
    return native().readSync(storage.handle, offset, length);
  } catch (error) {
    throw withOrigin(explained(error), storage);
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
