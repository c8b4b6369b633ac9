// What the root scripts share: the repository's folder, running a command, building through turbo.
// Imports nothing but Node.

import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Path of a command that `npm ci` installed; exits with the mending command when it is missing. */
export function tool(name) {
  const path = join(root, "node_modules", ".bin", process.platform === "win32" ? `${name}.cmd` : name);
  if (!existsSync(path)) fail(`${name} is not installed. Run: npm ci`);
  return path;
}

/** Prints one message and ends the process. */
export function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

/** Runs a command in the repository's folder with this terminal as its own; returns the exit code. */
export function run(command, args, env = {}) {
  const shell = process.platform === "win32";
  const result = spawnSync(command, args, { cwd: root, stdio: "inherit", shell, env: { ...process.env, ...env } });
  if (result.error) throw result.error;
  return result.status ?? 1;
}

// Lines that turbo and npm add around the message of the step that failed.
const buildNoise =
  /^npm (error|warn)|^\s*•|^>|^\s*WARNING |^\s*(Tasks|Cached|Time|Failed): |ERROR +run failed|^cache (hit|miss|bypass)/;
const failedStep = /^(\S+)#build: +ERROR +command /;

// A build with nothing to do ends sooner than this; only a longer one is announced.
const announceAfterMs = 1500;

/**
 * Builds workspaces and what they depend on through turbo, silent unless something fails.
 * On failure it prints what the failing step said, without the wrapping of npm and turbo, and ends the process.
 */
export async function build(...workspaces) {
  const filters = workspaces.map((name) => `--filter=${name}...`);
  const args = ["run", "build", "--output-logs=errors-only", "--log-prefix=none", "--log-order=grouped", ...filters];
  const env = { ...process.env, TURBO_TELEMETRY_DISABLED: "1", DO_NOT_TRACK: "1", FORCE_COLOR: "0" };
  const child = spawn(tool("turbo"), args, {
    cwd: root,
    env,
    stdio: ["ignore", "pipe", "pipe"],
    shell: process.platform === "win32",
  });
  let output = "";
  const collect = (chunk) => {
    output += chunk;
  };
  child.stdout.on("data", collect);
  child.stderr.on("data", collect);
  const started = performance.now();
  const announce = setTimeout(
    () => process.stderr.write("Building (the first time takes a few minutes) …\n"),
    announceAfterMs,
  );
  const code = await new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  clearTimeout(announce);
  const milliseconds = performance.now() - started;
  if (code !== 0) {
    const lines = output.split("\n").map((line) => line.trimEnd());
    const steps = lines.flatMap((line) => failedStep.exec(line)?.[1] ?? []);
    const message = lines.filter((line) => !buildNoise.test(line) && !failedStep.test(line)).join("\n");
    fail(`${message.replace(/\n{3,}/g, "\n\n").trim()}\nBuilding ${steps.join(", ")} failed.`);
  }
  if (milliseconds > announceAfterMs) {
    process.stderr.write(`Built in ${(milliseconds / 1000).toFixed(1)} s\n`);
  }
}
