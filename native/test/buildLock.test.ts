// One build of a tree at a time (native/scripts/lock.mjs), tried with processes that write into one log.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, it } from "vitest";

it("processes that wait for a build work one after another once it was killed", async () => {
  const folder = mkdtempSync(path.join(tmpdir(), "figment-lock-"));
  const [lock, log] = [path.join(folder, "lock"), path.join(folder, "log")];
  const source = `
    import { appendFileSync } from "node:fs";
    import { setTimeout } from "node:timers/promises";
    import { lock } from ${JSON.stringify(new URL("../scripts/lock.mjs", import.meta.url).href)};
    lock(${JSON.stringify(lock)});
    appendFileSync(${JSON.stringify(log)}, "(");
    await setTimeout(200);
    appendFileSync(${JSON.stringify(log)}, ")");
  `;
  const holder = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
  try {
    symlinkSync(String(holder.pid), lock);
    const waiting = [1, 2, 3].map(() => spawn(process.execPath, ["--input-type=module", "-e", source]));
    const ends = waiting.map((child) => once(child, "close"));
    for (const [message] of await Promise.all(waiting.map((child) => once(child.stderr, "data"))))
      expect(String(message)).toBe(`Waiting for the build of process ${holder.pid}; remove ${lock} if that is none.\n`);

    appendFileSync(log, "killed ");
    holder.kill("SIGKILL");
    expect((await Promise.all(ends)).map(([code]) => code)).toEqual([0, 0, 0]);
    expect(readFileSync(log, "utf8")).toBe("killed ()()()");
    expect(existsSync(lock)).toBe(false);
  } finally {
    holder.kill("SIGKILL");
    rmSync(folder, { recursive: true });
  }
});
