// A process that has ended and that nobody asks how: what is left of a killed program until its parent gets to it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";

/** Its number; disposing of it ends its parent, and so the zombie. */
export interface Zombie extends Disposable {
  readonly pid: number;
}

/** Makes one, on Linux. */
export async function makeZombie(): Promise<Zombie> {
  // The shell becomes a program that knows nothing of the child that the shell had.
  const parent = spawn("sh", ["-c", "sleep 300 & echo $!; exec sleep 300"], { stdio: ["ignore", "pipe", "ignore"] });
  const [line] = await once(parent.stdout, "data");
  const pid = Number(String(line));
  while (readFileSync(`/proc/${parent.pid}/comm`, "utf8") !== "sleep\n") await setTimeout(5);
  process.kill(pid, "SIGKILL");
  while (!/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"))) await setTimeout(5);
  return { pid, [Symbol.dispose]: () => parent.kill("SIGKILL") };
}
