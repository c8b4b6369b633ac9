import { spawn } from "node:child_process";
import { once } from "node:events";
import { isRunning, startOfProcess } from "@figment/io";
import { UsageError } from "@figment/tensor";
import { describe, expect, it } from "vitest";
import { makeZombie } from "./zombie.js";

describe("a process", () => {
  it("is running until it has ended", async () => {
    const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" });
    const { pid } = child as { pid: number };
    expect(isRunning(pid)).toBe(true);
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(isRunning(pid)).toBe(false);
  });

  it.runIf(process.platform === "linux")("is not running while it is a zombie", async () => {
    using zombie = await makeZombie();
    expect(process.kill(zombie.pid, 0)).toBe(true);
    expect(isRunning(zombie.pid)).toBe(false);
  });

  it.runIf(process.platform === "linux")("began at a moment that tells it from others of its number", async () => {
    expect(Number(startOfProcess(process.pid))).toBeGreaterThan(0);
    expect(startOfProcess(2 ** 30)).toBeUndefined();
  });

  it.each([0, -1, 1.5, Number.NaN])("has no number such as %s", (pid) => {
    expect(() => isRunning(pid)).toThrow(UsageError);
  });
});
