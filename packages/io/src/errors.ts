// Errors of reading data sets and images. Those of weights and saved state are CheckpointError, from
// @figment/tensor. And what error messages are made of.

import { FigmentError } from "@figment/tensor";

/**
 * A file or folder of data that is missing, damaged or not what it claims to be.
 *
 * @example
 * await mnist("nowhere").catch((error) => {
 *   if (!(error instanceof DataError)) throw error;
 * });
 */
export class DataError extends FigmentError {
  /** The file or folder at fault, where one is. */
  readonly path: string | undefined;

  constructor(message: string, options?: ErrorOptions & { path?: string }) {
    super("ERR_FIGMENT_DATA", message, options);
    this.path = options?.path;
  }
}

/** The message of anything that was thrown. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** The first few of a list, for messages. */
export function listSome(names: readonly string[], most = 8): string {
  if (names.length === 0) return "none";
  const shown = names.slice(0, most).join(", ");
  return names.length > most ? `${shown} and ${names.length - most} more` : shown;
}
