// Stopping work on request: an AbortSignal becomes a native cancel token, polled between kernels.

import { AbortError } from "../errors.js";

/**
 * Throws the signal's reason when it has been aborted.
 *
 * @example
 * throwIfAborted(new AbortController().signal);
 */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw signal.reason ?? new AbortError();
}
