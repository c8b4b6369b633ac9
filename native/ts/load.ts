// Finds and opens the addon. Order: FIGMENT_BINDING, the local build, the platform package. When none
// can be opened, the error lists every path that was tried, why it failed, and what mends it.

import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import type { NativeBinding } from "./binding.js";

/** The binding's version that this package was written for; the addon reports its own. */
const abiVersion = 1;

/** Thrown when no addon could be opened. */
export class NativeLoadError extends Error {
  readonly code = "ERR_FIGMENT_LOAD";
  /** Every place that was tried, in order. */
  readonly attempts: readonly LoadAttempt[];

  constructor(attempts: readonly LoadAttempt[]) {
    const lines = attempts.map(({ from, path, reason }) => `  ${from}: ${path}\n    ${reason}`);
    super(`Figment's native addon could not be loaded. Tried:\n${lines.join("\n")}\n${remedy(attempts)}`);
    this.name = "NativeLoadError";
    this.attempts = attempts;
  }
}

export interface LoadAttempt {
  readonly from: "FIGMENT_BINDING" | "local build" | "platform package";
  readonly path: string;
  readonly reason: string;
}

const require = createRequire(import.meta.url);
let loaded: NativeBinding | undefined;

/**
 * The native binding of this environment; opened by the first call.
 *
 * @throws {NativeLoadError} when no addon can be opened.
 */
export function loadBinding(): NativeBinding {
  loaded ??= open();
  return loaded;
}

let openedFrom: string | undefined;

/** The file, or the package, that the binding of this environment was opened from; undefined before. */
export const bindingPath = (): string | undefined => openedFrom;

function open(): NativeBinding {
  const attempts: LoadAttempt[] = [];
  for (const { from, path } of candidates()) {
    try {
      const binding = require(path) as NativeBinding;
      if (binding.abiVersion === abiVersion) {
        openedFrom = path;
        return binding;
      }
      attempts.push({ from, path, reason: `speaks binding version ${binding.abiVersion}, not ${abiVersion}` });
    } catch (error) {
      attempts.push({ from, path, reason: reasonOf(error) });
    }
    if (from === "FIGMENT_BINDING") break;
  }
  throw new NativeLoadError(attempts);
}

function* candidates(): Generator<Pick<LoadAttempt, "from" | "path">> {
  const override = process.env.FIGMENT_BINDING;
  if (override) yield { from: "FIGMENT_BINDING", path: override };
  yield { from: "local build", path: fileURLToPath(new URL("../lib/figment.node", import.meta.url)) };
  yield { from: "platform package", path: `@figment/native-${process.platform}-${process.arch}` };
}

function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.split("\n", 1)[0] ?? message;
}

function remedy(attempts: readonly LoadAttempt[]): string {
  if (attempts.some(({ from }) => from === "FIGMENT_BINDING")) return "Unset FIGMENT_BINDING, or let it name an addon.";
  if (attempts.some(({ reason }) => reason.includes("GLIBC_")))
    return "This system's C library is older than the addon's: build it here with `npm run build`.";
  if (attempts.some(({ reason }) => reason.startsWith("FIGMENT_")))
    return "Correct or unset that environment variable.";
  return "Build it with `npm run build` in the repository, or reinstall the figment package.";
}
