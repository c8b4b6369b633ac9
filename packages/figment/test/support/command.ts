// Runs the figment command as its users do: as a process of its own.

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const cli = fileURLToPath(new URL("../../dist/cli.js", import.meta.url));

/** How a command ended. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `figment ARGS`; with `interruptAfter`, sends SIGINT that many milliseconds after its first sign of training. */
export function figment(args: readonly string[], { interruptAfter }: { interruptAfter?: number } = {}): Promise<Ended> {
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
      if (interruptAfter !== undefined && !armed && /Learning|Resumed/.test(stderr)) {
        armed = true;
        setTimeout(() => child.kill("SIGINT"), interruptAfter);
      }
    });
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
}
