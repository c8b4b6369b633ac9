import { execFileSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  DataError,
  decodeImage,
  encodeImage,
  imageFolder,
  imageGrid,
  loadImage,
  lossCurve,
  readImage,
  saveGrid,
  saveImage,
  saveLossCurve,
  saveStrip,
  writeImage,
} from "@figment/io";
import { assertNoLeaks, ShapeError, tensor, UsageError } from "@figment/tensor";
import sharp from "sharp";
import { afterAll, describe, expect, it } from "vitest";
import { crc32 } from "#files/crc32";
import { seeded, temporaryFile, temporaryFolder } from "./support.js";

afterAll(() => assertNoLeaks());

const randomImage = (shape: readonly number[], seed: number) => {
  const random = seeded(seed);
  const data = Float32Array.from(
    { length: shape.reduce((a, b) => a * b, 1) },
    () => -1 + (2 * random.below(256)) / 255,
  );
  return tensor(data, { shape });
};

/** A TIFF of one grey pixel. `format`: 1 unsigned, 2 signed, 3 float. */
function tiff(sample: Uint16Array | Int16Array | Float32Array, format: 1 | 2 | 3): Uint8Array {
  const [short, long, dataAt, tagsAt, tagBytes] = [3, 4, 8, 16, 12];
  const tags = [
    ...[
      [256, 1],
      [257, 1],
      [258, 8 * sample.byteLength],
      [259, 1],
      [262, 1],
      [273, dataAt],
      [277, 1],
      [278, 1],
    ],
    ...[
      [279, sample.byteLength],
      [339, format],
    ],
  ];
  const file = Buffer.alloc(tagsAt + 2 + tagBytes * tags.length + 4);
  file.write("II*\0", "latin1");
  file.writeUInt32LE(tagsAt, 4);
  Buffer.from(sample.buffer).copy(file, dataAt);
  file.writeUInt16LE(tags.length, tagsAt);
  tags.forEach(([tag, value], i) => {
    const at = tagsAt + 2 + tagBytes * i;
    file.writeUInt16LE(tag as number, at);
    file.writeUInt16LE([258, 259, 262, 277, 339].includes(tag as number) ? short : long, at + 2);
    file.writeUInt32LE(1, at + 4);
    file.writeUInt32LE(value as number, at + 8);
  });
  return file;
}

describe("an image file", () => {
  it.each([1, 3, 4] as const)("of %i channels comes back byte for byte", async (channels) => {
    const path = join(await temporaryFolder(), "image.png");
    using image = randomImage([5, 7, channels], 600 + channels);
    await saveImage(path, image);
    using loaded = await loadImage(path, { channels });
    expect(loaded.shape).toEqual([5, 7, channels]);
    const before = await image.data();
    for (const [i, value] of (await loaded.data()).entries()) expect(value).toBeCloseTo(before[i] as number, 5);
  });

  it.each(["jpg", "webp"])("can be a .%s", async (ending) => {
    const path = join(await temporaryFolder(), `image.${ending}`);
    using image = tensor(new Float32Array(16 * 16 * 3).fill(0.25), { shape: [16, 16, 3] });
    await saveImage(path, image);
    using loaded = await loadImage(path);
    for (const value of await loaded.data()) expect(Math.abs(value - 0.25)).toBeLessThan(0.03);
  });

  it("clips values beyond the range", async () => {
    const path = join(await temporaryFolder(), "image.png");
    using image = tensor(Float32Array.of(-7, 0, 0.5, 7), { shape: [1, 4, 1] });
    await saveImage(path, image, { range: [0, 1] });
    expect([...(await readImage(path, 1)).data]).toEqual([0, 0, 128, 255]);
  });

  it("of too many pixels is refused by its header", async () => {
    using image = randomImage([4, 4, 1], 611);
    const png = await encodeImage(image, "png");
    await expect(decodeImage(png, { maxPixels: 15 })).rejects.toThrow(/4 × 4 pixels; at most 15 /);
    await expect(decodeImage(png, { maxPixels: 0 })).rejects.toThrow(UsageError);
    // The header, from its name to its checksum.
    const [name, side, end] = [12, 16, 29];
    const view = new DataView(png.buffer, png.byteOffset);
    view.setUint32(side, 16000);
    view.setUint32(side + 4, 16000);
    view.setUint32(end, crc32(png.subarray(name, end)));
    const path = await temporaryFile("x.png", png);
    for (const read of [() => decodeImage(png), () => loadImage(path), () => readImage(path)])
      await expect(read()).rejects.toThrow(/16000 × 16000 pixels; at most 67108864 /);
  });

  it.each([
    ["grey", "grey16", 2, 1],
    ["colour", "rgb16", 4, 1],
    ["colour", "rgb16", 4, 3],
  ] as const)("of 16 bits, %s and transparent, is white paper", async (_what, space, width, channels) => {
    const raw = { width: 1, height: 1, channels: width };
    const png = await sharp(new Uint16Array(width), { raw }).toColourspace(space).png().toBuffer();
    const path = await temporaryFile("x.png", png);
    expect([...(await readImage(path, channels)).data]).toEqual(Array(channels).fill(255));
    const folder = await imageFolder(dirname(path), { size: 1, channels: channels as 1 | 3 });
    expect([...(await folder.get(0)).image]).toEqual(Array(channels).fill(255));
  });

  it("whose pixels are floats, or have a sign, is refused", async () => {
    for (const [samples, format, depth] of [
      [Float32Array.of(0.5), 3, "float"],
      [Int16Array.of(100), 2, "short"],
    ] as const) {
      const path = await temporaryFile("x.tif", tiff(samples, format));
      const message = `its pixels are ${depth}; unsigned integers of 8 and 16 bits are read`;
      await expect(readImage(path)).rejects.toThrow(message);
      await expect(imageFolder(dirname(path), { size: 1 })).rejects.toThrow(message);
    }
    expect([...(await readImage(await temporaryFile("x.tif", tiff(Uint16Array.of(0x8000), 1)), 1)).data]).toEqual([
      128,
    ]);
  });

  it("that holds an SVG is refused whatever its name", async () => {
    const path = await temporaryFile("x.png", '<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"/>');
    await expect(loadImage(path)).rejects.toThrow(DataError);
    await expect(loadImage(path)).rejects.toThrow(/holds svg/);
    await expect(imageFolder(dirname(path), { size: 4 })).rejects.toThrow(/holds svg/);
  });

  it("that is none, or of an unknown ending, is refused", async () => {
    const path = await temporaryFile("x.png", "no image");
    await expect(loadImage(path)).rejects.toThrow(DataError);
    await expect(loadImage(dirname(path))).rejects.toThrow(/cannot be read as an image: it is not a file/);
    await expect(loadImage(join(path, "nothing.png"))).rejects.toThrow(DataError);
    using image = randomImage([2, 2, 1], 610);
    await expect(saveImage("image.bmp", image)).rejects.toThrow(/must end in one of \.png/);
    using odd = randomImage([2, 2, 2], 611);
    await expect(saveImage("image.png", odd)).rejects.toThrow(UsageError);
    using empty = tensor([], { shape: [0, 4, 1] });
    await expect(saveImage("image.png", empty)).rejects.toThrow(/4 × 0 pixels has none/);
    await expect(saveImage("a\0b.png", image)).rejects.toThrow(/no NUL characters/);
    await expect(readImage("a\0b.png")).rejects.toThrow(/no NUL characters/);
    await expect(readImage("")).rejects.toThrow(/readImage: expected a path as path, got ""/);
    const bytes = { width: 4, height: 4, channels: 3, data: new Uint8Array(5) };
    await expect(writeImage("image.png", bytes)).rejects.toThrow(/expected width × height × channels bytes/);
    const long = { width: 1, height: 20_000, channels: 1, data: new Uint8Array(20_000) };
    await expect(writeImage("image.webp", long)).rejects.toThrow(/1 × 20000 pixels cannot be written as webp/);
  });

  it.skipIf(process.platform === "win32")("is no pipe, which nobody may ever write to", async () => {
    const path = join(await temporaryFolder(), "pipe.png");
    execFileSync("mkfifo", [path]);
    await expect(loadImage(path)).rejects.toThrow(/it is not a file/);
    await expect(imageFolder(dirname(path), { size: 4 })).rejects.toThrow(/it is not a file/);
  });

  it("is encoded and decoded in memory, too", async () => {
    using image = randomImage([4, 6, 3], 612);
    using decoded = await decodeImage(await encodeImage(image, "png"));
    const before = await image.data();
    for (const [i, value] of (await decoded.data()).entries()) expect(value).toBeCloseTo(before[i] as number, 5);
    await expect(encodeImage(image, "bmp" as "png")).rejects.toThrow(/must be png, jpeg, webp or avif/);
    await expect(decodeImage(new Uint8Array(10))).rejects.toThrow(DataError);
  });

  it.each(["png", "jpeg", "webp"] as const)(
    "as %s is refused or decoded, whatever 150 mutations make of it",
    async (format) => {
      using image = randomImage([24, 24, 3], 613);
      const original = await encodeImage(image, format);
      const random = seeded(614);
      for (let round = 0; round < 150; round++) {
        let mutant = original.slice();
        for (let edits = 1 + random.below(4); edits > 0; edits--)
          mutant[random.below(mutant.length)] = random.below(256);
        if (random.below(4) === 0) mutant = mutant.slice(0, random.below(mutant.length));
        await decodeImage(mutant).then(
          (decoded) => decoded.dispose(),
          (error: unknown) => {
            if (!(error instanceof DataError)) throw error;
          },
        );
      }
    },
  );
});

describe("a grid", () => {
  it("lays images out in rows, with padding, scaled", async () => {
    using images = tensor(
      Float32Array.from({ length: 3 * 2 * 2 }, (_, i) => 10 * (i + 1)),
      { shape: [3, 2, 2, 1] },
    );
    const grid = await imageGrid(images, { columns: 2, padding: 1, range: [0, 255], background: 7 });
    expect([grid.width, grid.height, grid.channels]).toEqual([7, 7, 1]);
    const rows = Array.from({ length: 7 }, (_, y) => [...grid.data.slice(7 * y, 7 * y + 7)]);
    expect(rows).toEqual([
      [7, 7, 7, 7, 7, 7, 7],
      [7, 10, 20, 7, 50, 60, 7],
      [7, 30, 40, 7, 70, 80, 7],
      [7, 7, 7, 7, 7, 7, 7],
      [7, 90, 100, 7, 7, 7, 7],
      [7, 110, 120, 7, 7, 7, 7],
      [7, 7, 7, 7, 7, 7, 7],
    ]);
    const large = await imageGrid(images, { columns: 2, padding: 1, scale: 3, range: [0, 255], background: 7 });
    expect([large.width, large.height]).toEqual([21, 21]);
    for (let y = 0; y < 21; y++) {
      for (let x = 0; x < 21; x++) expect(large.data[21 * y + x]).toBe(rows[Math.floor(y / 3)]?.[Math.floor(x / 3)]);
    }
  });

  it("is saved as a picture", async () => {
    const path = join(await temporaryFolder(), "grid.png");
    using images = randomImage([6, 4, 4, 3], 620);
    await saveGrid(path, images, { columns: 3, padding: 0 });
    const saved = await readImage(path);
    expect([saved.width, saved.height]).toEqual([12, 8]);
    expect(
      Buffer.from(saved.data).equals(Buffer.from((await imageGrid(images, { columns: 3, padding: 0 })).data)),
    ).toBe(true);
  });

  it("as a strip has a column for each frame and a row for each image", async () => {
    const path = join(await temporaryFolder(), "strip.png");
    const frames = [1, 2, 3].map((t) => tensor(Float32Array.of(10 * t, 10 * t + 1), { shape: [2, 1, 1, 1] }));
    await saveStrip(path, frames, { padding: 0, range: [0, 255] });
    const saved = await readImage(path, 1);
    expect([saved.width, saved.height, ...saved.data]).toEqual([3, 2, 10, 20, 30, 11, 21, 31]);
    for (const frame of frames) frame.dispose();
  });

  it("refuses what are no images", async () => {
    using flat = randomImage([4, 4], 621);
    await expect(imageGrid(flat)).rejects.toThrow(ShapeError);
    await expect(saveStrip("strip.png", [])).rejects.toThrow(UsageError);
    using images = randomImage([2, 2, 2, 1], 622);
    await expect(imageGrid(images, { columns: 0 })).rejects.toThrow(/columns must be/);
  });
});

describe("a loss curve", () => {
  const random = seeded(630);
  const points = Array.from({ length: 3000 }, (_, step) => ({
    step,
    loss: 0.03 + Math.exp(-step / 200) + random.uniform(0, 0.02),
  }));

  it("is an SVG that an image library can draw", async () => {
    const path = join(await temporaryFolder(), "loss.svg");
    await saveLossCurve(path, points, { title: "a < b & c" });
    const { info } = await sharp(path).raw().toBuffer({ resolveWithObject: true });
    expect([info.width, info.height]).toEqual([720, 400]);
    expect(await readFile(path, "utf8")).toContain("<title>a &lt; b &amp; c</title>");
    expect(lossCurve(points, { label: "bits" })).toContain("<title>bits</title>");
  });

  it("is logarithmic when the values span more than a factor of 20, or as asked", () => {
    expect(lossCurve(points)).toContain("(log)");
    expect(lossCurve(points, { log: false })).not.toContain("(log)");
    expect(lossCurve(points.slice(500))).not.toContain("(log)");
  });

  it("stays finite whatever it is given", () => {
    const odd = [
      [],
      [{ step: 0, loss: 0 }],
      [
        { step: 1, loss: 5 },
        { step: 1, loss: 5 },
      ],
      [
        { step: 0, loss: Number.NaN },
        { step: 1, loss: Infinity },
        { step: 2, loss: -1e-30 },
      ],
      [
        { step: 0, loss: 1e308 },
        { step: 1, loss: -1e308 },
        { step: 2, loss: 1 },
      ],
    ];
    for (const input of odd) {
      for (const log of [true, false, undefined]) expect(lossCurve(input, { log })).not.toMatch(/NaN|Infinity/);
    }
  });
});
