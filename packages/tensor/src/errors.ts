// The typed errors of the library. Each has a stable code, and a message that says what was given and
// what was expected. Imports nothing.

/** Base class of every error that Figment throws on purpose. */
export class FigmentError extends Error {
  /** Stable, machine-readable code. */
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** Operands whose shapes do not fit the operation. */
export class ShapeError extends FigmentError {
  constructor(message: string, options?: ErrorOptions) {
    super("ERR_FIGMENT_SHAPE", message, options);
  }
}

/** Element types that do not fit the operation or each other. */
export class DTypeError extends FigmentError {
  constructor(message: string, options?: ErrorOptions) {
    super("ERR_FIGMENT_DTYPE", message, options);
  }
}

/** A failure of the device or of work queued on it, and misuse of handles (use after dispose). */
export class DeviceError extends FigmentError {
  constructor(message: string, options?: ErrorOptions & { code?: string }) {
    super(options?.code ?? "ERR_FIGMENT_DEVICE", message, options);
  }
}

/** Memory in use by one kind of buffer. */
export interface LiveMemory {
  /** Buffers of this kind. */
  readonly count: number;
  /** All of them together. */
  readonly bytes: number;
  /** Of the cell, a dotted path for a module's parameters; absent for tensors. */
  readonly name?: string;
  readonly dtype?: string;
  readonly shape?: readonly number[];
}

/** Device memory is exhausted even after draining the queue and dropping caches. The device works on. */
export class OutOfMemoryError extends FigmentError {
  /** What was live on this thread, largest first; the message shows the head of this list. */
  readonly live: readonly LiveMemory[];
  constructor(message: string, options?: ErrorOptions & { live?: readonly LiveMemory[] }) {
    super("ERR_FIGMENT_OUT_OF_MEMORY", message, options);
    this.live = options?.live ?? [];
  }
}

/** A value that should be finite is not; the message names it and the first such element. */
export class NonFiniteError extends FigmentError {
  constructor(message: string, options?: ErrorOptions) {
    super("ERR_FIGMENT_NONFINITE", message, options);
  }
}

/** A file of weights or saved state that is damaged, hostile, or does not fit the model. */
export class CheckpointError extends FigmentError {
  constructor(message: string, options?: ErrorOptions) {
    super("ERR_FIGMENT_CHECKPOINT", message, options);
  }
}

/** Work stopped on request. */
export class AbortError extends FigmentError {
  constructor(message = "the operation was aborted", options?: ErrorOptions) {
    super("ERR_FIGMENT_ABORTED", message, options);
  }
}

/** Misuse of the library that is no matter of shapes or types, such as reading a traced value. */
export class UsageError extends FigmentError {
  constructor(message: string, options?: ErrorOptions) {
    super("ERR_FIGMENT_USAGE", message, options);
  }
}

const byCode: Record<string, new (message: string, options?: ErrorOptions) => FigmentError> = {
  ERR_FIGMENT_OUT_OF_MEMORY: OutOfMemoryError,
  ERR_FIGMENT_ABORTED: AbortError,
  ERR_FIGMENT_NONFINITE: NonFiniteError,
};

/**
 * Turns an error of the native addon into its typed form; other errors pass unchanged.
 *
 * @example
 * const error = typedError(Object.assign(new Error("stopped"), { code: "ERR_FIGMENT_ABORTED" }));
 * if (!(error instanceof AbortError)) throw new Error("expected an AbortError");
 */
export function typedError(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof FigmentError) return error;
  const code = (error as { code?: unknown }).code;
  if (typeof code !== "string" || !code.startsWith("ERR_FIGMENT_")) return error;
  const Typed = byCode[code];
  return Typed ? new Typed(error.message, { cause: error }) : new DeviceError(error.message, { cause: error, code });
}
