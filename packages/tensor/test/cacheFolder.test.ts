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
