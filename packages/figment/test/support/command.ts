// Runs the figment command as its users do: as a process of its own.

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const cli = fileURLToPath(new URL("../../bin/figment.js", import.meta.url));

/** How a command ended. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** How a command is stopped on its way. */
export interface Stop {
  /** Milliseconds after its first sign of training. */
  readonly interruptAfter?: number;
  /** Default "SIGINT". */
  readonly signal?: NodeJS.Signals;
}

/** Runs `figment ARGS`, stopping it on its way if asked to. */
export function figment(args: readonly string[], { interruptAfter, signal = "SIGINT" }: Stop = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [cli, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    let armed = false;
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
    });
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
      if (interruptAfter !== undefined && !armed && /Learning|Going on with/.test(stderr)) {
        armed = true;
        setTimeout(() => child.kill(signal), interruptAfter);
      }
    });
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
}
