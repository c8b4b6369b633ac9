import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { DataError, imageFolder, mnist, openDataset } from "@figment/io";
import { assertNoLeaks } from "@figment/tensor";
import sharp from "sharp";
import { afterAll, describe, expect, it } from "vitest";
import { seeded, temporaryFolder } from "./support.js";

afterAll(() => assertNoLeaks());

function idx(magic: number, shape: readonly number[], data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + 4 * shape.length + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, magic);
  for (const [i, extent] of shape.entries()) view.setUint32(4 + 4 * i, extent);
  bytes.set(data, 4 + 4 * shape.length);
  return bytes;
}

const pixels = (count: number, seed: number): Uint8Array => {
  const random = seeded(seed);
  return Uint8Array.from({ length: count }, () => random.below(256));
};

async function idxFolder(files: Record<string, Uint8Array>): Promise<string> {
  const folder = await temporaryFolder();
  for (const [name, bytes] of Object.entries(files)) await writeFile(join(folder, name), bytes);
  return folder;
}

describe("MNIST's files", () => {
  const data = pixels(3 * 4 * 5, 501);
  const images = idx(0x803, [3, 4, 5], data);
  const labels = idx(0x801, [3], Uint8Array.of(7, 0, 2));

  it.each([
    ["plain", { "train-images-idx3-ubyte": images, "train-labels-idx1-ubyte": labels }],
    ["gzipped", { "train-images-idx3-ubyte.gz": gzipSync(images), "train-labels-idx1-ubyte.gz": gzipSync(labels) }],
    ["with dots in their names", { "train-images.idx3-ubyte": images, "train-labels.idx1-ubyte": labels }],
    ["unpacked but still named .gz", { "train-images-idx3-ubyte.gz": images, "train-labels-idx1-ubyte.gz": labels }],
  ])("are read %s", async (_how, files) => {
    const set = await mnist(await idxFolder(files as Record<string, Uint8Array>));
    expect([set.length, set.shape]).toEqual([3, [4, 5, 1]]);
    expect(set.get(1)).toEqual({ image: data.slice(20, 40), label: 0 });
    expect(set.classes).toHaveLength(8);
  });

  it("are resampled to another size, keeping the mean", async () => {
    const folder = await idxFolder({ "train-images-idx3-ubyte": images, "train-labels-idx1-ubyte": labels });
    const mean = (bytes: Uint8Array) => bytes.reduce((sum, byte) => sum + byte, 0) / bytes.length;
    for (const size of [2, 8, 16]) {
      const set = await mnist(folder, { size });
      expect(set.shape).toEqual([size, size, 1]);
      const { image } = set.get(2);
      expect(image).toHaveLength(size * size);
      expect(Math.abs(mean(image) - mean(data.slice(40)))).toBeLessThan(16);
    }
  });

  it("are opened again on the loader's worker", async () => {
    const set = await mnist(await idxFolder({ "t10k-images-idx3-ubyte": images, "t10k-labels-idx1-ubyte": labels }), {
      split: "test",
      size: 6,
    });
    for await (const { image, label } of set.loader({ batchSize: 3, shuffle: false })) {
      expect(image.shape).toEqual([3, 6, 6, 1]);
      expect([...(await label.data())]).toEqual([7, 0, 2]);
    }
  });

  const gzipped = gzipSync(images);
  it.each([
    ["are missing", {}, /none of train-images-idx3-ubyte, .* is there/],
    [
      "have another magic number",
      { "train-images-idx3-ubyte": idx(0x801, [3], pixels(20, 502)) },
      /magic number is 0x00000801, expected 0x00000803/,
    ],
    ["hold floats", { "train-images-idx3-ubyte": idx(0xd03, [3, 4, 5], data) }, /not an IDX file of unsigned bytes/],
    ["end in the header", { "train-images-idx3-ubyte": images.slice(0, 10) }, /takes 16 bytes, the file has 10/],
    ["end early", { "train-images-idx3-ubyte": images.slice(0, -1) }, /76 bytes in all, the file has 75/],
    [
      "have bytes too many",
      { "train-images-idx3-ubyte": Uint8Array.from([...images, 1]) },
      /76 bytes in all, the file has 77/,
    ],
    [
      "claim absurd sizes",
      { "train-images-idx3-ubyte": idx(0x803, [0xffffffff, 0xffffffff, 0xffffffff], data) },
      /bytes in all/,
    ],
    ["claim to be empty", { "train-images-idx3-ubyte": idx(0x803, [0, 28, 28], new Uint8Array()) }, /empty array/],
    [
      "are damaged archives",
      { "train-images-idx3-ubyte.gz": gzipped.subarray(0, gzipped.length - 12) },
      /gzip archive is damaged/,
    ],
    [
      "do not fit each other",
      { "train-images-idx3-ubyte": images, "train-labels-idx1-ubyte": idx(0x801, [2], Uint8Array.of(1, 2)) },
      /has 3 images, but .* has 2 labels/,
    ],
  ] as readonly [string, Record<string, Uint8Array>, RegExp][])(
    "that %s are refused",
    async (_claim, files, message) => {
      const folder = await idxFolder({ "train-labels-idx1-ubyte": labels, ...files });
      const error = await mnist(folder).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(DataError);
      expect((error as Error).message).toMatch(message);
      expect((error as Error).message).toContain(folder);
    },
  );

  it("are refused or read, whatever 300 mutations make of them", async () => {
    const random = seeded(504);
    const folder = await idxFolder({ "train-labels-idx1-ubyte": labels });
    for (let round = 0; round < 300; round++) {
      let mutant = Uint8Array.from(round % 2 === 0 ? images : gzipped);
      for (let edits = 1 + random.below(3); edits > 0; edits--) {
        mutant[random.below(Math.min(mutant.length, 24))] = random.below(256);
        if (random.below(8) === 0) mutant = mutant.slice(0, random.below(mutant.length) + 1);
      }
      await writeFile(join(folder, "train-images-idx3-ubyte"), mutant);
      await mnist(folder).catch((error: unknown) => {
        if (!(error instanceof DataError)) throw error;
      });
    }
  });
});

describe("a folder of images", () => {
  const solid = (red: number, green: number, blue: number, alpha = 1) =>
    sharp({ create: { width: 9, height: 6, channels: 4, background: { r: red, g: green, b: blue, alpha } } });

  it("has the classes of its sub-folders, in alphabetical order", async () => {
    const folder = await temporaryFolder();
    await mkdir(join(folder, "dogs/small"), { recursive: true });
    await mkdir(join(folder, "cats"));
    await solid(255, 0, 0).png().toFile(join(folder, "dogs/small/a.png"));
    await solid(0, 255, 0).webp({ lossless: true }).toFile(join(folder, "cats/b.webp"));
    await solid(0, 0, 255).png().toFile(join(folder, "cats/a.PNG"));
    await writeFile(join(folder, "cats/notes.txt"), "no image");
    await mkdir(join(folder, "cats/album.png"));
    await symlink("..", join(folder, "dogs/again"));
    const set = await imageFolder(folder, { size: 4 });
    expect([set.classes, set.length, set.shape]).toEqual([["cats", "dogs"], 3, [4, 4, 3]]);
    const first = async (index: number) => {
      const { image, label } = await set.get(index);
      return [...image.slice(0, 3), label];
    };
    expect(await Promise.all([0, 1, 2].map(first))).toEqual([
      [0, 0, 255, 0],
      [0, 255, 0, 0],
      [255, 0, 0, 1],
    ]);
  });

  it("shows white where an image is transparent, half so where it is half so", async () => {
    const folder = await temporaryFolder();
    await solid(200, 0, 100, 0).png().toFile(join(folder, "a.png"));
    await solid(200, 0, 100, 0.5).png().toFile(join(folder, "b.png"));
    const set = await imageFolder(folder, { size: 4 });
    expect([...(await set.get(0)).image.slice(0, 3)]).toEqual([255, 255, 255]);
    const half = (await set.get(1)).image;
    for (const [c, value] of [228, 127, 178].entries()) {
      expect(Math.abs((half[c] as number) - value)).toBeLessThanOrEqual(2);
    }
  });

  it("crops to the square, or shows all on white", async () => {
    const folder = await temporaryFolder();
    await solid(0, 0, 0).png().toFile(join(folder, "a.png"));
    const cover = await (await imageFolder(folder, { size: 12, channels: 1 })).get(0);
    expect(Math.max(...cover.image)).toBe(0);
    const contain = await (await imageFolder(folder, { size: 12, channels: 1, fit: "contain" })).get(0);
    expect([contain.image[0], contain.image[12 * 6]]).toEqual([255, 0]);
  });

  it("names the files that are no images, when it is opened", async () => {
    const folder = await temporaryFolder();
    await solid(1, 2, 3).png().toFile(join(folder, "good.png"));
    await writeFile(join(folder, "bad.png"), "no image");
    await writeFile(join(folder, "worse.jpg"), new Uint8Array());
    const error = await imageFolder(folder, { size: 4 }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(DataError);
    expect((error as Error).message).toMatch(/2 of 3 files cannot be read.*\n.*bad\.png: .*\n.*worse\.jpg: /);
  });

  it("names a file that breaks off in its middle, when it comes to it", async () => {
    const folder = await temporaryFolder();
    const size = 64;
    const noise = sharp(pixels(size * size * 3, 503), { raw: { width: size, height: size, channels: 3 } });
    const whole = await noise.png().toBuffer();
    await writeFile(join(folder, "cut.png"), whole.subarray(0, whole.length / 2));
    const set = await imageFolder(folder, { size: 4 });
    const run = async () => {
      for await (const _ of set.loader({ batchSize: 1 }));
    };
    await expect(run()).rejects.toThrow(DataError);
    await expect(run()).rejects.toThrow(/cut\.png: cannot be decoded/);
  });

  it("that is missing or without images is refused", async () => {
    const folder = await temporaryFolder();
    await expect(imageFolder(folder, { size: 4 })).rejects.toThrow(/no images/);
    await expect(imageFolder(join(folder, "nowhere"), { size: 4 })).rejects.toThrow(/cannot be listed/);
    await expect(openDataset(folder)).rejects.toThrow(DataError);
  });
});
