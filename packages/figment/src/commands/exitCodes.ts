// How the command ends: a code for each kind of failure, so that scripts can tell them apart.

import { DataError } from "@figment/io";
import { NativeLoadError } from "@figment/native";
import { interruptedCode } from "@figment/nn";
import { CheckpointError, FigmentError, NonFiniteError, OutOfMemoryError, UsageError } from "@figment/tensor";
import { CommanderError } from "commander";

/** Codes by what they mean. */
export const exitCodes = {
  done: 0,
  failed: 1,
  wrongUse: 2,
  unusableFile: 3,
  notFinite: 4,
  outOfMemory: 5,
  interrupted: interruptedCode,
} as const;

/** For the help of the command. */
export const exitCodesHelp =
  "\nExit codes: 0 done, 1 failed, 2 wrong options or settings, 3 a file or folder that is missing or unusable, 4 training\n" +
  "became infinite or NaN, 5 out of memory, 130 interrupted (a checkpoint is saved).";

/** The code for an error, and whether its message is all that its reader needs. */
export function explain(error: unknown): { readonly code: number; readonly message?: string } | undefined {
  if (error instanceof CommanderError) return { code: error.exitCode === 0 ? exitCodes.done : exitCodes.wrongUse };
  if (error instanceof Error && error.name === "AbortError") return { code: exitCodes.interrupted };
  if (error instanceof FigmentError) return { code: codeOf(error), message: `${error.name}: ${error.message}` };
  if (error instanceof NativeLoadError) return { code: exitCodes.failed, message: `${error.name}: ${error.message}` };
  // The system's own words say which file and why.
  if (error instanceof Error && "syscall" in error) return { code: exitCodes.unusableFile, message: error.message };
  return undefined;
}

function codeOf(error: FigmentError): number {
  if (error instanceof UsageError) return exitCodes.wrongUse;
  if (error instanceof DataError || error instanceof CheckpointError) return exitCodes.unusableFile;
  if (error instanceof NonFiniteError) return exitCodes.notFinite;
  if (error instanceof OutOfMemoryError) return exitCodes.outOfMemory;
  return exitCodes.failed;
}
