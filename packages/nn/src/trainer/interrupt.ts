// Ctrl-C: the first one asks to stop at the next safe moment, the second one ends the process.

import { AbortError } from "@figment/tensor";

/** Exit code of a process that Ctrl-C ended: 128 + SIGINT. */
export const interruptedCode = 130;

/** A request to stop, and a way to stop listening for it. */
export interface Interrupt extends Disposable {
  readonly signal: AbortSignal;
  release(): void;
}

/**
 * Listens for SIGINT and SIGTERM: the first aborts the signal with an AbortError, the second ends the process with code 130.
 *
 * @example
 * const interrupt = onInterrupt();
 * const { signal } = interrupt;
 * await new Trainer({ step, data: batches, steps: 2, signal, progress: false }).run();
 * interrupt.release();
 */
export function onInterrupt(): Interrupt {
  const controller = new AbortController();
  const abort = (): void => {
    if (controller.signal.aborted) process.exit(interruptedCode);
    console.error("\nStopping after this step; press Ctrl-C again to quit at once.");
    controller.abort(new AbortError("interrupted"));
  };
  process.on("SIGINT", abort);
  process.on("SIGTERM", abort);
  const release = (): void => {
    process.off("SIGINT", abort);
    process.off("SIGTERM", abort);
  };
  return { signal: controller.signal, release, [Symbol.dispose]: release };
}
