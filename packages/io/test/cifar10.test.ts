import { spawnSync } from "node:child_process";
import { mkdir, readFile, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { cifar10, DataError, fashionMnist, openDataset } from "@figment/io";
import { assertNoLeaks, UsageError } from "@figment/tensor";
import { create } from "tar";
import { afterAll, describe, expect, it } from "vitest";
import { seeded, temporaryFolder } from "./support.js";

afterAll(() => assertNoLeaks());

const recordBytes = 3073;

/** Records whose labels count up, with random pixels. */
function records(count: number, seed: number): Uint8Array {
  const random = seeded(seed);
  const bytes = Uint8Array.from({ length: count * recordBytes }, () => random.below(256));
  for (let i = 0; i < count; i++) bytes[i * recordBytes] = i % 10;
  return bytes;
}

/** A folder of CIFAR-10's files: two of training images, one of test images. */
async function binFolder(): Promise<{ folder: string; first: Uint8Array; second: Uint8Array; test: Uint8Array }> {
  const folder = join(await temporaryFolder(), "cifar-10-batches-bin");
  const [first, second, test] = [records(3, 801), records(2, 802), records(4, 803)];
  await mkdir(folder);
  await writeFile(join(folder, "data_batch_1.bin"), first);
  await writeFile(join(folder, "data_batch_2.bin"), second);
  await writeFile(join(folder, "test_batch.bin"), test);
  return { folder, first, second, test };
}

async function archive(): Promise<{ path: string; first: Uint8Array }> {
  const { folder, first } = await binFolder();
  const path = join(folder, "..", "cifar-10-binary.tar.gz");
  await create({ file: path, gzip: true, cwd: join(folder, "..") }, ["cifar-10-batches-bin"]);
  return { path, first };
}

describe("CIFAR-10", () => {
  it("is read from its files, in their order, with colours side by side", async () => {
    const { folder, first, second, test } = await binFolder();
    const set = await cifar10(folder);
    expect([set.length, set.shape, set.name, set.classes?.[3]]).toEqual([5, [32, 32, 3], "cifar10 train", "cat"]);
    const { image, label } = set.get(4);
    expect(label).toBe(1);
    const at = (y: number, x: number, c: number) => second[recordBytes + 1 + c * 1024 + y * 32 + x];
    for (const [y, x] of [
      [0, 0],
      [7, 31],
      [31, 5],
    ] as const) {
      expect([...image.subarray((y * 32 + x) * 3, (y * 32 + x) * 3 + 3)]).toEqual([0, 1, 2].map((c) => at(y, x, c)));
    }
    expect(set.get(0).image[1]).toBe(first[1 + 1024]);
    const tests = await cifar10(folder, { split: "test" });
    expect([tests.length, tests.get(0).image[0]]).toEqual([4, test[1]]);
  });

  it("is refused where its files are none", async () => {
    const { folder } = await binFolder();
    const file = join(folder, "data_batch_2.bin");
    const refused = (message: RegExp) => expect(cifar10(folder)).rejects.toThrow(message);
    const put = async (make: () => unknown) => {
      await rm(file, { recursive: true, force: true });
      await make();
    };
    await put(() => mkdir(file));
    await refused(/data_batch_2\.bin: is not a file/);
    await expect(cifar10(folder)).rejects.toThrow(DataError);
    await put(() => symlink("nowhere", file));
    await refused(/data_batch_2\.bin: cannot be opened: ENOENT/);
    await put(async () => {
      await writeFile(file, "");
      await truncate(file, 20e9);
    });
    await refused(/data_batch_2\.bin: has 20000000000 bytes; at most \d+ are read/);
    await rm(file);
    if (process.platform === "win32") return;
    for (const make of [() => symlink("/dev/zero", file), () => spawnSync("mkfifo", [file])]) {
      await put(make);
      await refused(/data_batch_2\.bin: is not a file/);
    }
    const pipe = join(await temporaryFolder(), "cifar-10-binary.tar.gz");
    spawnSync("mkfifo", [pipe]);
    await expect(cifar10(join(pipe, ".."))).rejects.toThrow(/tar\.gz: is not a file/);
  });

  it("is read straight from its archive, or from the folder of it, on the loader's worker too", async () => {
    const { path, first } = await archive();
    for (const place of [path, join(path, "..")]) {
      const set = await openDataset(place);
      expect([set.name, set.length]).toEqual(["cifar10 train", 5]);
      for await (const { image, label } of set.loader({ batchSize: 5, shuffle: false, range: [0, 255] })) {
        expect(image.shape).toEqual([5, 32, 32, 3]);
        expect((await image.data())[2]).toBe(first[1 + 2 * 1024]);
        expect([...(await label.data())]).toEqual([0, 1, 2, 0, 1]);
      }
    }
  });

  it("that is cut short, damaged or not there is refused, naming the file", async () => {
    const { path } = await archive();
    const bytes = await readFile(path);
    await writeFile(path, bytes.subarray(0, bytes.length - 2000));
    await expect(cifar10(path)).rejects.toThrow(/cifar-10-binary\.tar\.gz: the archive is damaged/);
    await writeFile(path, "no archive");
    await expect(cifar10(path)).rejects.toThrow(DataError);
    const { folder } = await binFolder();
    await writeFile(join(folder, "data_batch_2.bin"), new Uint8Array(recordBytes + 1));
    await expect(cifar10(folder)).rejects.toThrow(/data_batch_2\.bin: records have 3073 bytes/);
    await writeFile(join(folder, "data_batch_2.bin"), new Uint8Array(recordBytes).fill(10));
    await expect(cifar10(folder)).rejects.toThrow(/record 0 has the label 10; labels are 0 to 9/);
    await expect(cifar10(await temporaryFolder())).rejects.toThrow(/neither cifar-10-binary\.tar\.gz nor files/);
    await expect(cifar10(join(folder, "nowhere"))).rejects.toThrow(/cannot be opened/);
    await expect(cifar10(folder, { split: "all" as "test" })).rejects.toThrow(UsageError);
  });

  it("in an archive that random mutations damaged is refused or read, and nothing else", async () => {
    const { path } = await archive();
    const original = new Uint8Array(await readFile(path));
    const random = seeded(804);
    for (let round = 0; round < 100; round++) {
      const mutant = original.slice();
      for (let edits = 1 + random.below(3); edits > 0; edits--) mutant[random.below(mutant.length)] = random.below(256);
      await writeFile(path, mutant);
      await cifar10(path).catch((error: unknown) => {
        if (!(error instanceof DataError)) throw error;
      });
    }
  });
});

describe("Fashion-MNIST", () => {
  it("is MNIST's files with names of its own", async () => {
    const folder = await temporaryFolder();
    const header = (magic: number, shape: number[]) =>
      Buffer.from([magic, ...shape].flatMap((n) => [0, 0, n >> 8, n & 255]));
    await writeFile(
      join(folder, "train-images-idx3-ubyte"),
      Buffer.concat([header(0x803, [1, 2, 2]), Buffer.alloc(4, 9)]),
    );
    await writeFile(join(folder, "train-labels-idx1-ubyte"), Buffer.concat([header(0x801, [1]), Buffer.of(9)]));
    const set = await fashionMnist(folder);
    expect(set.classes?.[set.get(0).label]).toBe("Ankle boot");
    expect(set.classes).toHaveLength(10);
  });
});
