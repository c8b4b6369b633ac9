// Requests that wait for their turn.

import { throwIfAborted } from "@figment/tensor";
import { BusyError } from "./requests.js";

interface Waiting {
  begin(): void;
  fail(reason: unknown): void;
}

/** Runs so many at a time, in the order in which they came; more than `most` waiting are refused. */
export class RequestQueue {
  private readonly waiting: Waiting[] = [];
  private active = 0;

  constructor(
    private readonly concurrency: number,
    private readonly most: number,
  ) {}

  get load(): { readonly running: number; readonly waiting: number } {
    return { running: this.active, waiting: this.waiting.length };
  }

  /** Runs `work` when its turn has come. An aborted signal ends the wait. */
  async run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    throwIfAborted(signal);
    if (this.active >= this.concurrency) await this.turn(signal);
    else this.active++;
    try {
      return await work();
    } finally {
      // A turn is handed on without being given up, so that nobody who comes in between takes it.
      const next = this.waiting.shift();
      if (next) next.begin();
      else this.active--;
    }
  }

  /** Refuses all that wait. */
  refuse(reason: unknown): void {
    for (const request of this.waiting.splice(0)) request.fail(reason);
  }

  private turn(signal: AbortSignal | undefined): Promise<void> {
    if (this.waiting.length >= this.most)
      throw new BusyError(`ModelServer: ${this.most} requests are waiting already; ask again later`);
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.waiting.splice(this.waiting.indexOf(request), 1);
        request.fail(signal?.reason);
      };
      const request: Waiting = {
        begin: () => {
          signal?.removeEventListener("abort", leave);
          resolve();
        },
        fail: (reason) => {
          signal?.removeEventListener("abort", leave);
          reject(reason);
        },
      };
      this.waiting.push(request);
      signal?.addEventListener("abort", leave, { once: true });
    });
  }
}
