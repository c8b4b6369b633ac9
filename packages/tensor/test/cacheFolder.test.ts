import { mkdirSync, rmSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import os from "node:os";
import path from "node:path";
import { cacheFolder } from "@figment/tensor";
import { afterEach, describe, expect, it, vi } from "vitest";

afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  syncBuiltinESMExports();
});

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

describe("for a user whom the system does not know", () => {
  const nobody = 54321;
  const folder = path.join(os.tmpdir(), `figment-user-${nobody}`);
  const find = (): string => {
    vi.stubEnv("XDG_CACHE_HOME", "");
    vi.spyOn(process as { getuid(): number }, "getuid").mockReturnValue(nobody);
    for (const name of ["homedir", "userInfo"] as const) {
      vi.spyOn(os, name).mockImplementation(() => {
        throw new Error("A system error occurred: uv_os_get_passwd returned ENOENT");
      });
    }
    syncBuiltinESMExports();
    return cacheFolder("data");
  };
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it("lies among temporary files", () => {
    expect(find()).toBe(path.join(folder, ".cache/figment/data"));
  });

  it("is not what another user made there before", () => {
    mkdirSync(folder);
    expect(find()).toBe(path.join(`${folder}-${process.pid}`, ".cache/figment/data"));
  });
});
