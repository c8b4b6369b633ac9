// Ctrl-C: the first one asks to stop at the next safe moment, the second one ends the process.

import { AbortError } from "@figment/tensor";

/** A request to stop, and a way to stop listening for it. */
export interface Interrupt {
  readonly signal: AbortSignal;
  release(): void;
}

/** Listens for SIGINT and SIGTERM. */
export function onInterrupt(): Interrupt {
  const controller = new AbortController();
  const abort = (): void => {
    if (controller.signal.aborted) process.exit(130);
    console.error("\nStopping after this step; press Ctrl-C again to quit at once.");
    controller.abort(new AbortError("interrupted"));
  };
  process.on("SIGINT", abort);
  process.on("SIGTERM", abort);
  return {
    signal: controller.signal,
    release: () => {
      process.off("SIGINT", abort);
      process.off("SIGTERM", abort);
    },
  };
}
