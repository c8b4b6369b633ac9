// What can be asked of a served model, as it is said within a thread and between threads.

import {
  AbortError,
  CheckpointError,
  FigmentError,
  OutOfMemoryError,
  ShapeError,
  type Tensor,
  tensor,
  UsageError,
} from "@figment/tensor";

/**
 * A server has as many requests waiting as it takes: ask again later.
 *
 * @example
 * const error = new BusyError("64 requests are waiting");
 * error.code; // "ERR_FIGMENT_BUSY"
 */
export class BusyError extends FigmentError {
  constructor(message: string, options?: ErrorOptions) {
    super("ERR_FIGMENT_BUSY", message, options);
  }
}

/** How a request is answered. */
export interface RequestOptions {
  /** Everything that is drawn follows from it: the same request gives the same images. Default 0. */
  readonly seed?: number;
  /** Ends this request alone, waiting or running. */
  readonly signal?: AbortSignal;
}

/** A request for samples, or for reconstructions. */
export interface SampleRequest extends RequestOptions {
  /** Classes, one image after another. */
  readonly label?: number | readonly number[];
}

/** A request for rows from one image to another. */
export interface InterpolateRequest extends RequestOptions {
  /** Images in a row. Default 10. */
  readonly frames?: number;
  /** Rows. Default 1. */
  readonly count?: number;
}

/** Numbers with their shape, as they go between threads. */
export interface Plain {
  readonly data: Float32Array<ArrayBuffer>;
  readonly shape: readonly number[];
}

/** A tensor of this thread from numbers of another. */
export const fromPlain = ({ data, shape }: Plain): Tensor => tensor(data, { shape: [...shape], dtype: "f32" });

/** What a thread asks for. */
export type Asked =
  | { readonly ability: "sample"; readonly n: number; readonly request: Omit<SampleRequest, "signal"> }
  | { readonly ability: "reconstruct"; readonly images: Plain; readonly request: Omit<SampleRequest, "signal"> }
  | { readonly ability: "interpolate"; readonly request: Omit<InterpolateRequest, "signal"> };

/** From a client to the server. */
export type ToServer = { readonly id: number; readonly asked: Asked } | { readonly id: number; readonly abort: true };

/** An error, as it goes between threads. */
export interface PlainFailure {
  readonly name: string;
  readonly code: string;
  readonly message: string;
}

/** From the server to a client. */
export type ToClient =
  | { readonly id: number; readonly images: Plain }
  | { readonly id: number; readonly failure: PlainFailure };

const known = { AbortError, BusyError, CheckpointError, OutOfMemoryError, ShapeError, UsageError } as const;

export const plainFailure = (error: unknown): PlainFailure => ({
  name: error instanceof Error ? error.name : "Error",
  code: error instanceof FigmentError ? error.code : "ERR_FIGMENT_REMOTE",
  message: error instanceof Error ? error.message : String(error),
});

/** The error that a failure tells of, of its own class. */
export function revive({ name, code, message }: PlainFailure): FigmentError {
  if (Object.hasOwn(known, name)) return new known[name as keyof typeof known](message);
  return new FigmentError(code, message);
}
