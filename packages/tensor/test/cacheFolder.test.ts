import { execFileSync } from "node:child_process";
import os from "node:os";
import path from "node:path";
import { cacheFolder } from "@figment/tensor";
import { afterEach, expect, it, vi } from "vitest";

afterEach(() => vi.unstubAllEnvs());

it("lies in $XDG_CACHE_HOME where that is set, in ~/.cache where it is not", () => {
  vi.stubEnv("XDG_CACHE_HOME", path.resolve("/some/caches"));
  expect(cacheFolder()).toBe(path.resolve("/some/caches/figment"));
  expect(cacheFolder("data", "mnist")).toBe(path.resolve("/some/caches/figment/data/mnist"));
  vi.stubEnv("XDG_CACHE_HOME", "");
  expect(cacheFolder()).toBe(path.join(os.homedir(), ".cache", "figment"));
});

it("is never beside what runs where HOME is empty", () => {
  vi.stubEnv("XDG_CACHE_HOME", "");
  vi.stubEnv("HOME", "");
  expect(cacheFolder()).toBe(path.join(os.userInfo().homedir, ".cache", "figment"));
});

const canBeOthers = process.platform === "linux" && process.getuid?.() === 0;
it.skipIf(!canBeOthers)("lies among temporary files for a user whom the system does not know", () => {
  const nobody = 54321;
  const program = `
    process.setuid(${nobody});
    delete process.env.HOME;
    const { cacheFolder } = await import(${JSON.stringify(import.meta.resolve("#runtime/cacheFolder"))});
    console.log(cacheFolder("data"));`;
  const env = { ...process.env, XDG_CACHE_HOME: "" };
  const told = execFileSync(process.execPath, ["--input-type=module", "--eval", program], { env, encoding: "utf8" });
  expect(told.trim()).toBe(path.join(os.tmpdir(), `figment-user-${nobody}`, ".cache/figment/data"));
});
