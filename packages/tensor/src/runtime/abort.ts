// Stopping work on request: an AbortSignal becomes a native cancel token, polled before and within kernels.

import { AbortError, UsageError } from "../errors.js";
import { show } from "../shape.js";
import { native } from "./device.js";

/**
 * Throws the signal's reason when it has been aborted.
 *
 * @example
 * throwIfAborted(new AbortController().signal);
 */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw signal.reason ?? new AbortError();
}

/** One token for each signal, so that many calls with one signal cost one listener. */
const tokens = new WeakMap<AbortSignal, number>();
const forgotten = new FinalizationRegistry<number>((token) => native().releaseCancel(token));

/** The native token that is cancelled when the signal is aborted; 0 for no signal. */
export function cancelToken(signal: AbortSignal | undefined): number {
  if (!signal) return 0;
  const known = tokens.get(signal);
  if (known !== undefined) return known;
  if (typeof signal.addEventListener !== "function" || typeof signal.aborted !== "boolean")
    throw new UsageError(`signal must be an AbortSignal, got ${show(signal)}`);
  const token = native().createCancel();
  tokens.set(signal, token);
  forgotten.register(signal, token);
  signal.addEventListener("abort", () => native().cancel(token), { once: true });
  return token;
}
