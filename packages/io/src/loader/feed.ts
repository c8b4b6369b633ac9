// Where a loader's batches come from: a worker thread that runs ahead, or the calling thread itself.

import { setImmediate } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import type { Dataset } from "../data/dataset.js";
import { DataError } from "../errors.js";
import { Assembler, type RawBatch } from "./assemble.js";
import { reviveFailure, type WorkerReply, type WorkerStart } from "./protocol.js";

/** A sequence of batches. */
export interface Feed {
  /** The next batch. Rejects with `signal.reason` once the signal is aborted. */
  next(signal?: AbortSignal): Promise<RawBatch>;
  /** Gives back the memory of a batch that was used up. */
  recycle(batch: RawBatch): void;
  /** Stops all work; resolves when it has stopped. */
  close(): Promise<void>;
}

/** Makes each batch when it is asked for, on the calling thread. */
export class InlineFeed implements Feed {
  private readonly assembler: Assembler;
  private index: number;
  private spare: RawBatch | undefined;

  constructor(dataset: Dataset, { plan, first }: WorkerStart) {
    this.assembler = new Assembler(dataset, plan);
    this.index = first;
  }

  async next(signal?: AbortSignal): Promise<RawBatch> {
    // Data sets that answer at once would otherwise never let timers and input have their turn.
    await setImmediate();
    signal?.throwIfAborted();
    const batch = await this.assembler.make(this.index, this.spare);
    this.index++;
    this.spare = undefined;
    signal?.throwIfAborted();
    return batch;
  }

  recycle(batch: RawBatch): void {
    this.spare = batch;
  }

  async close(): Promise<void> {}
}

/** Has batches made ahead on a worker thread. */
export class WorkerFeed implements Feed {
  private readonly worker: Worker;
  private readonly ready: RawBatch[] = [];
  private failure: Error | undefined;
  private wake: (() => void) | undefined;

  constructor(start: WorkerStart) {
    // The parent's flags are not meant for the worker (--input-type, --test and the like would stop it).
    this.worker = new Worker(new URL("./worker.js", import.meta.url), { workerData: start, execArgv: [] });
    // The process may end while a batch lies ready and nobody waits for it.
    this.worker.unref();
    this.worker.on("message", (reply: WorkerReply) => {
      if ("batch" in reply) this.ready.push(reply.batch);
      else this.failure ??= reviveFailure(reply.failure);
      this.wake?.();
    });
    this.worker.on("error", (cause) => this.fail(`the loader's worker failed: ${cause.message}`, cause));
    this.worker.on("exit", (code) => this.fail(`the loader's worker ended with code ${code}`));
  }

  async next(signal?: AbortSignal): Promise<RawBatch> {
    const abort = () => this.wake?.();
    signal?.addEventListener("abort", abort);
    this.worker.ref();
    try {
      for (;;) {
        signal?.throwIfAborted();
        const batch = this.ready.shift();
        if (batch) return batch;
        if (this.failure) throw this.failure;
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
      }
    } finally {
      this.worker.unref();
      signal?.removeEventListener("abort", abort);
      this.wake = undefined;
    }
  }

  recycle(batch: RawBatch): void {
    this.worker.postMessage(batch, [batch.image.buffer, batch.label.buffer]);
  }

  async close(): Promise<void> {
    await this.worker.terminate();
  }

  private fail(message: string, cause?: unknown): void {
    this.failure ??= new DataError(message, { cause });
    this.wake?.();
  }
}
