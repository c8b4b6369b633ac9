// Memory of a GPU (the emulated one, or a real one where FIGMENT_CUDA names it), and what goes there and back.

import {
  compile,
  full,
  matmul,
  memory,
  OutOfMemoryError,
  ones,
  setMemoryLimit,
  settled,
  type Tensor,
  tensor,
  withDevice,
} from "@figment/tensor";
import { describe, expect, it } from "vitest";
import { binding, gpu, index, keep, list, onGpu } from "./support/cudaRuns.ts";

describe.skipIf(gpu.index === undefined)("transfers", () => {
  /** Sizes that go with the kernels, and ones that overlap them. */
  const sizes = [1, 100, 1 << 14, (1 << 16) + 3];
  const filled = (size: number, value: number): Float32Array => new Float32Array(size).fill(value);
  const first = async (read: Promise<ArrayBuffer>): Promise<(number | undefined)[]> => {
    const numbers = new Float32Array(await read);
    return [numbers[0], numbers.at(-1), numbers.length];
  };

  it.each(sizes)("of %i numbers have their turn between others and kernels", async (size) => {
    const triple = keep(compile((x: Tensor) => x.mul(3)));
    const buffer = binding.allocate(index, 4 * size);
    const reads: Promise<unknown>[] = [];
    const expected: unknown[] = [];
    for (let i = 1; i <= 6; i++) {
      binding.write(buffer, 0, filled(size, i));
      reads.push(first(binding.read(buffer, 0, 4 * size)));
      expected.push([i, i, size]);
      // Memory that a kernel still reads when it is given back is the next tensor's.
      const tripled = onGpu(() => triple(tensor(filled(size, 10 * i))).add(tensor(filled(size, i))));
      reads.push(tripled.data().then((data) => [data[0], data.at(-1), data.length]));
      expected.push([31 * i, 31 * i, size]);
      tripled.dispose();
    }
    binding.release(buffer);
    expect(await Promise.all(reads)).toEqual(expected);
  });

  it.each(sizes)("of %i numbers leave alone what is still on its way", async (size) => {
    binding.trim(index); // else there are other blocks to be had
    const buffers = Array.from({ length: 6 }, () => binding.allocate(index, 4 * size));
    for (const [i, buffer] of buffers.entries()) {
      binding.write(buffer, 0, filled(size, i));
      // Until the write has been queued, so that its staging memory may be asked for again.
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    const reads = buffers.map((buffer) => first(binding.read(buffer, 0, 4 * size)));
    for (const buffer of buffers) binding.release(buffer);
    expect(await Promise.all(reads)).toEqual(buffers.map((_, i) => [i, i, size]));
  });

  it("beyond what is kept for them take the other way", async () => {
    const size = 5 << 20;
    const made = Array.from({ length: 10 }, (_, i) => keep(withDevice("cuda", () => tensor(filled(size, i)))));
    const all = await Promise.all(made.map((x) => x.data()));
    expect(all.map((data) => [data[0], data.at(-1)])).toEqual(made.map((_, i) => [i, i]));
  });

  it("of several pieces bring every number to its place", async () => {
    const numbers = Float32Array.from({ length: (9 << 20) + 5 }, (_, i) => i);
    const buffer = binding.allocate(index, numbers.byteLength);
    binding.write(buffer, 0, numbers);
    const read = binding.read(buffer, 0, numbers.byteLength);
    numbers.fill(-1);
    const data = new Float32Array(await read);
    expect(data.findIndex((x, i) => x !== i)).toBe(-1);
    binding.write(buffer, 4 * 7, numbers.subarray(0, 5 << 20));
    const mixed = new Float32Array(await binding.read(buffer, 0, numbers.byteLength));
    binding.release(buffer);
    expect(mixed.findIndex((x, i) => x !== (i < 7 || i >= 7 + (5 << 20) ? i : -1))).toBe(-1);
  });

  it("of nothing are over when what was queued before is", async () => {
    const x = keep(withDevice("cuda", () => ones([4])));
    await x.ready();
    const empty = keep(withDevice("cuda", () => ones([0])));
    expect(await empty.data()).toHaveLength(0);
  });

  it("are taken up again after staging memory was given back", async () => {
    for (let i = 0; i < 3; i++) {
      const x = keep(withDevice("cuda", () => tensor(filled(1 << 16, i))));
      const read = x.data();
      binding.trim(index);
      expect((await read)[7]).toBe(i);
    }
  });
});

describe.skipIf(gpu.index === undefined)("memory of a GPU", () => {
  it("has a limit that a program's temporaries count in, and a list of what is live", async () => {
    const f = keep(compile((x: Tensor) => matmul(matmul(x, x), x).sum()));
    await settled();
    binding.trim(index);
    const held = withDevice("cuda", () => ones([128, 128]));
    setMemoryLimit(memory("cuda").inUse + (16 << 10), "cuda");
    try {
      const run = (): number[] => onGpu(() => list(f(held)));
      expect(run).toThrow(OutOfMemoryError);
      expect(run).toThrow(/Live on this thread on cuda:\d, largest first:\n {2}64\.0 KiB {2}f32 \[128, 128\]/);
      setMemoryLimit(0, "cuda");
      expect(run()).toEqual([128 ** 4]);
      expect(run()).toEqual([128 ** 4]);
    } finally {
      setMemoryLimit(0, "cuda");
      held.dispose();
    }
  });

  it("suffices for programs whose records have to share the scratch of one", async () => {
    const [m, k] = [32, 512]; // sums are split in two, which lie in scratch
    const scratch = 2 * m * m * 4;
    const f = keep(compile((x: Tensor, y: Tensor, z: Tensor) => matmul(x, y).sub(matmul(z, y)).sum()));
    const [x, z] = [1, 0.5].map((value) => keep(withDevice("cuda", () => full([m, k], value)))) as [Tensor, Tensor];
    const y = keep(withDevice("cuda", () => ones([k, m])));
    const run = (): void => expect(onGpu(() => list(f(x, y, z)))).toEqual([0.5 * k * m * m]);
    const trimmed = async (): Promise<number> => {
      await settled();
      binding.trim(index);
      return memory("cuda").inUse;
    };
    const before = await trimmed();
    run();
    const together = memory("cuda").inUse - before;
    try {
      setMemoryLimit((await trimmed()) + together - scratch / 2, "cuda");
      for (let i = 0; i < 3; i++) run();
      expect(memory("cuda").inUse - before).toBeLessThanOrEqual(together - scratch);
      setMemoryLimit((await trimmed()) + together - 2 * scratch, "cuda");
      expect(run).toThrow(OutOfMemoryError);
    } finally {
      setMemoryLimit(0, "cuda");
    }
  });

  it("does not grow from run to run", () => {
    const f = keep(compile((x: Tensor) => matmul(x, x).tanh().sum()));
    const run = (): void => onGpu(() => void list(f(ones([16, 16]))));
    for (let i = 0; i < 4; i++) run();
    const { inUse, systemAllocations } = memory("cuda");
    for (let i = 0; i < 20; i++) run();
    expect(memory("cuda")).toMatchObject({ inUse, systemAllocations });
  });
});
