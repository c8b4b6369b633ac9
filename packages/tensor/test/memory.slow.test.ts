// What could grow without bound in long runs: forgotten tensors, and programs for ever new signatures.

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import {
  assertNoLeaks,
  compile,
  eagerCacheStats,
  memory,
  ones,
  scope,
  type Tensor,
  tensor,
  zeros,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

afterAll(() => assertNoLeaks());

const mebibyte = 1 << 20;
setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

describe("memory stays bounded", () => {
  it("in a loop that forgets to dispose its tensors, but yields", async () => {
    const bound = 256 * mebibyte;
    // 100,000 times 16 KiB: six times the bound.
    const x = ones([64, 64]);
    let most = 0;
    for (let i = 0; i < 100_000; i++) {
      x.add(1);
      if (i % 100 === 0) {
        await new Promise((resolve) => setImmediate(resolve));
        most = Math.max(most, memory().inUse);
      }
    }
    expect(most).toBeLessThan(bound);
    x.dispose();
    // The collector has not met the last of them yet.
    for (let i = 0; i < 200 && memory().liveBuffers > 0; i++) {
      collectGarbage();
      await new Promise((resolve) => setImmediate(resolve));
    }
  });

  it("in a compiled function that meets ten thousand signatures; the least recently used leave", () => {
    const scaled = compile((x: Tensor, k: number) => x.mul(k), { name: "scaled" });
    const warn = process.emitWarning;
    process.emitWarning = () => {};
    const x = tensor([1, 2]);
    scaled(x, -1).dispose();
    for (let k = 0; k < 10_000; k++) {
      scaled(x, k).dispose();
      // Used all the time, so it stays.
      if (k % 16 === 0) scaled(x, -1).dispose();
    }
    process.emitWarning = warn;
    const { traces, programs, evictions } = scaled.stats;
    expect({ traces, programs, evictions }).toEqual({ traces: 10_001, programs: 64, evictions: 10_001 - 64 });
    expect(scaled.explain()).toContain("10001 compilations; 64 of at most 64 programs held, 9937 dropped");
    x.dispose();
    scaled.dispose();
  });

  it("in the cache of eager programs", () => {
    for (let n = 1; n <= 5000; n++) scope(() => void zeros([n]).add(1));
    const { programs, misses } = eagerCacheStats();
    expect(misses).toBeGreaterThan(5000);
    expect(programs).toBeLessThanOrEqual(4096);
  });
});
