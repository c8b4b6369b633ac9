// What a loader and its worker say to each other.

import { FigmentError } from "@figment/tensor";
import type { DatasetSource } from "../data/dataset.js";
import { DataError } from "../errors.js";
import type { RawBatch } from "./assemble.js";
import type { BatchPlan } from "./plan.js";

/** What a worker is started with. */
export interface WorkerStart {
  readonly source: DatasetSource;
  readonly plan: BatchPlan;
  /** The yields to make: first … end - 1. */
  readonly first: number;
  /** null stands for endless. */
  readonly end: number | null;
  /** How many yields may be ahead of the consumer. */
  readonly prefetch: number;
}

/** To the worker: one yield was taken; its memory comes back. */
export type WorkerRequest = RawBatch;

/** From the worker. */
export type WorkerReply = { readonly batch: RawBatch } | { readonly failure: Failure };

/** An error in a form that survives the way between threads. */
export interface Failure {
  readonly code: string | undefined;
  readonly message: string;
  readonly path: string | undefined;
  readonly stack: string | undefined;
}

/** Takes an error apart for the journey. */
export function describeFailure(error: unknown): Failure {
  if (!(error instanceof Error)) return { code: undefined, message: String(error), path: undefined, stack: undefined };
  const code = error instanceof FigmentError ? error.code : undefined;
  const path = error instanceof DataError ? error.path : undefined;
  const message = code === undefined ? `${error.name}: ${error.message}` : error.message;
  return { code, message, path, stack: error.stack };
}

/** Puts it together again; the worker's stack is the cause. */
export function reviveFailure({ code, message, path, stack }: Failure): FigmentError {
  const cause = new Error(message);
  cause.stack = stack;
  if (code === undefined) return new DataError(`the data set failed: ${message}`, { cause });
  const dataCode = new DataError("").code;
  return code === dataCode ? new DataError(message, { path, cause }) : new FigmentError(code, message, { cause });
}
