import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { cacheFolder } from "@figment/tensor";
import { afterEach, describe, expect, it, vi } from "vitest";

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
describe.skipIf(!canBeOthers)("for a user whom the system does not know", () => {
  const nobody = 54321;
  const folder = path.join(os.tmpdir(), `figment-user-${nobody}`);
  const told = (): string => {
    const program = `
      const { cacheFolder } = await import(${JSON.stringify(import.meta.resolve("#runtime/cacheFolder"))});
      process.setuid(${nobody});
      delete process.env.HOME;
      console.log(cacheFolder("data"), process.pid);`;
    const env = { ...process.env, XDG_CACHE_HOME: "" };
    return execFileSync(process.execPath, ["--input-type=module", "--eval", program], { env, encoding: "utf8" }).trim();
  };
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it("lies among temporary files", () => {
    const [name] = told().split(" ");
    expect(name).toBe(path.join(folder, ".cache/figment/data"));
  });

  it("is not what another user made there before", () => {
    mkdirSync(folder);
    const [name, pid] = told().split(" ");
    expect(name).toBe(path.join(`${folder}-${pid}`, ".cache/figment/data"));
  });
});
