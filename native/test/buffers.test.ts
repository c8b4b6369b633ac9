// Buffers: accounting, reuse, limits, contents, and handles that are not what they claim to be.

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { addProgram, gatherProgram } from "./programs.ts";
import { buffer, cpu, expectError, floatsOf, native, random, randomFloats, run } from "./support.ts";

const megabyte = 1 << 20;

describe("buffers", () => {
  let before: { live: number; liveBuffers: number };
  beforeEach(() => {
    before = native.memory();
  });
  afterEach(() => {
    const { live, liveBuffers } = native.memory();
    expect({ live, liveBuffers }).toEqual({ live: before.live, liveBuffers: before.liveBuffers });
  });

  it("count as live until they are released", () => {
    const a = native.allocate(cpu, 1000);
    const b = native.allocate(cpu, 0);
    expect(native.memory().live - before.live).toBe(1000);
    expect(native.memory().liveBuffers - before.liveBuffers).toBe(2);
    native.release(a);
    native.release(b);
  });

  it("are served from the cache when a block of their size is free", () => {
    const first = native.allocate(cpu, 3 * megabyte);
    native.release(first);
    const { systemAllocations, cached } = native.memory();
    const second = native.allocate(cpu, 3 * megabyte);
    expect(native.memory().systemAllocations).toBe(systemAllocations);
    expect(native.memory().cached).toBeLessThan(cached);
    native.release(second);
  });

  it("leave nothing cached after trim()", () => {
    native.release(native.allocate(cpu, 5 * megabyte));
    expect(native.memory().cached).toBeGreaterThanOrEqual(5 * megabyte);
    native.trim();
    expect(native.memory().cached).toBe(0);
  });

  it("remember the peak", () => {
    const big = native.allocate(cpu, 7 * megabyte);
    const { peak } = native.memory();
    expect(peak).toBeGreaterThanOrEqual(7 * megabyte);
    native.release(big);
    expect(native.memory().peak).toBe(peak);
  });

  it("give back what was written, at any offset", async () => {
    const next = random(20260101);
    const data = randomFloats(next, 257);
    const handle = buffer(data);
    expect(native.byteLength(handle)).toBe(data.byteLength);
    expect(await floatsOf(handle)).toEqual(data);
    native.write(handle, 8, new Uint8Array([1, 2, 3]));
    expect(new Uint8Array(native.readSync(handle, 8, 3))).toEqual(new Uint8Array([1, 2, 3]));
    expect(new Float32Array(native.readSync(handle, 12, 16))).toEqual(data.slice(3, 7));
    expect(native.readSync(handle, data.byteLength, 0).byteLength).toBe(0);
    native.release(handle);
  });

  it("take DataViews and views into larger buffers", () => {
    const source = new Uint8Array([9, 8, 7, 6, 5, 4, 3, 2]);
    const handle = native.allocate(cpu, 4);
    native.write(handle, 0, new DataView(source.buffer, 2, 4));
    expect(new Uint8Array(native.readSync(handle, 0, 4))).toEqual(new Uint8Array([7, 6, 5, 4]));
    native.write(handle, 1, source.subarray(0, 2));
    expect(new Uint8Array(native.readSync(handle, 0, 4))).toEqual(new Uint8Array([7, 9, 8, 4]));
    native.release(handle);
  });

  it("refuse ranges outside of them", () => {
    const handle = native.allocate(cpu, 10);
    expectError(() => native.readSync(handle, 8, 3), "ERR_FIGMENT_ARGUMENT", /8 to 11 of a buffer of 10/);
    expectError(() => native.readSync(handle, 2 ** 53 - 1, 2 ** 53 - 1), "ERR_FIGMENT_ARGUMENT");
    expectError(() => native.write(handle, 9, new Uint8Array(2)), "ERR_FIGMENT_ARGUMENT");
    expectError(() => native.write(handle, -1, new Uint8Array(2)), "ERR_FIGMENT_ARGUMENT", /byteOffset/);
    native.release(handle);
  });

  it("are poisoned on request, so that unwritten elements show", () => {
    native.setPoison(true);
    const handle = native.allocate(cpu, 16);
    native.setPoison(false);
    expect(new Uint32Array(native.readSync(handle, 0, 16))).toEqual(new Uint32Array(4).fill(0x7fc0dead));
    native.release(handle);
  });
});

describe("handles", () => {
  it("are refused once released, even when their index is in use again", () => {
    const stale = native.allocate(cpu, 4);
    native.release(stale);
    const fresh = native.allocate(cpu, 4);
    expect(fresh).not.toBe(stale);
    for (const call of [
      () => native.release(stale),
      () => native.byteLength(stale),
      () => native.readSync(stale, 0, 4),
      () => native.write(stale, 0, new Uint8Array(4)),
    ]) {
      expectError(call, "ERR_FIGMENT_HANDLE", /not a live buffer handle/);
    }
    native.release(fresh);
  });

  it("of one kind do not pass for another", () => {
    const program = native.loadProgram(addProgram(3));
    const token = native.createCancel();
    const data = native.allocate(cpu, 12);
    expectError(() => native.release(program), "ERR_FIGMENT_HANDLE");
    expectError(() => native.release(token), "ERR_FIGMENT_HANDLE");
    expectError(() => native.programInfo(data), "ERR_FIGMENT_HANDLE");
    expectError(() => native.cancel(program), "ERR_FIGMENT_HANDLE");
    expectError(() => native.releaseBinding(token), "ERR_FIGMENT_HANDLE");
    native.releaseProgram(program);
    native.releaseCancel(token);
    native.release(data);
  });

  it.each([0, -1, 1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, 1e300])("do not include %d", (value) => {
    expectError(() => native.byteLength(value), "ERR_FIGMENT_HANDLE");
  });
});

describe("the memory limit", () => {
  afterEach(() => native.setMemoryLimit(0));

  it("turns an allocation beyond it into an error, and leaves the device usable", async () => {
    native.trim();
    native.setMemoryLimit(64 * megabyte);
    expect(native.memory().limit).toBe(64 * megabyte);
    expectError(() => native.allocate(cpu, 65 * megabyte), "ERR_FIGMENT_OUT_OF_MEMORY", /limit is 67108864/);
    const half = native.allocate(cpu, 40 * megabyte);
    expectError(() => native.allocate(cpu, 40 * megabyte), "ERR_FIGMENT_OUT_OF_MEMORY", /in use/);
    native.release(half);
    const again = native.allocate(cpu, 50 * megabyte);
    native.release(again);
    const program = native.loadProgram(addProgram(3));
    const inputs = [buffer(new Float32Array([1, 2, 3])), buffer(new Float32Array([10, 20, 30]))];
    const [sum] = run(program, inputs);
    expect(await floatsOf(sum!)).toEqual(new Float32Array([11, 22, 33]));
    for (const handle of [...inputs, sum!]) native.release(handle);
    native.releaseProgram(program);
    native.trim();
  });

  it("refuses outputs that do not fit and keeps none of them", () => {
    const count = 4 * megabyte;
    const program = native.loadProgram(addProgram(count));
    const input = native.allocate(cpu, 4 * count);
    const { live, liveBuffers } = native.memory();
    native.setMemoryLimit(20 * megabyte);
    expectError(() => run(program, [input, input]), "ERR_FIGMENT_OUT_OF_MEMORY");
    expect(native.memory()).toMatchObject({ live, liveBuffers });
    native.release(input);
    native.releaseProgram(program);
    native.trim();
  });

  it("is what the machine has until it is set", () => {
    const device = native.devices()[0]!;
    expect(native.memory().limit).toBe(device.index === 0 ? device.memoryLimit : 0);
  });

  it("cannot be outrun by asking for absurd sizes", () => {
    expectError(() => native.allocate(cpu, 2 ** 53 - 1), "ERR_FIGMENT_OUT_OF_MEMORY");
    expectError(() => native.allocate(cpu, 2 ** 50), "ERR_FIGMENT_OUT_OF_MEMORY");
  });
});

describe("inputs", () => {
  it("must be as large as the program says", () => {
    const program = native.loadProgram(gatherProgram(8, 2));
    const small = native.allocate(cpu, 28);
    const index = native.allocate(cpu, 8);
    expectError(() => run(program, [small, index]), "ERR_FIGMENT_ARGUMENT", /input 0 has 28 bytes.*needs 32/);
    expectError(() => run(program, [index]), "ERR_FIGMENT_ARGUMENT", /expected 2 buffers, got 1/);
    expectError(() => run(program, [small, index], 0), "ERR_FIGMENT_ARGUMENT", /room for 1/);
    native.release(small);
    native.release(index);
    native.releaseProgram(program);
  });
});
