import { readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { loadNpy, loadNpz, openTensors, saveNpy, saveNpz } from "@figment/io";
import { assertNoLeaks, CheckpointError, DTypeError, fromBits, ones, type Tensor, tensor } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { seeded, temporaryFile, temporaryFolder } from "./support.js";
import { zipBytes } from "./torchBytes.js";

afterAll(() => assertNoLeaks());

const fixture = (name: string): string => new URL(`./fixtures/numpy/${name}`, import.meta.url).pathname;

/** What NumPy itself read from what it wrote; see fixtures/numpy/make.py. */
const expected = JSON.parse(readFileSync(fixture("expected.json"), "utf8")) as Record<
  string,
  { readonly shape: readonly number[]; readonly values: readonly number[] }
>;

const npy = (dict: string, data: Uint8Array = new Uint8Array(), version = 1): Uint8Array => {
  const length = version === 1 ? Buffer.alloc(2) : Buffer.alloc(4);
  if (version === 1) length.writeUInt16LE(dict.length);
  else length.writeUInt32LE(dict.length);
  return Buffer.concat([Buffer.from("\x93NUMPY", "latin1"), Buffer.of(version, 0), length, Buffer.from(dict), data]);
};

describe("NumPy's files", () => {
  it.each(["arrays.npz", "packed.npz"])("%s, of all types, orders and ranks, is loaded", async (name) => {
    const arrays = await loadNpz(fixture(name));
    expect(Object.keys(arrays)).toEqual(Object.keys(expected));
    for (const [key, array] of Object.entries(arrays)) {
      expect([key, array.shape, [...(await array.data())]]).toEqual([key, expected[key]?.shape, expected[key]?.values]);
      array.dispose();
    }
  });

  it.each(["f4.npy", "v2.npy", "v3.npy"])("%s is loaded", async (name) => {
    using array = await loadNpy(fixture(name));
    expect([array.dtype, array.shape, [...(await array.data())]]).toEqual(["f32", [2, 3], expected.f4?.values]);
  });

  it("are written as NumPy writes them, byte for byte", async () => {
    const path = join(await temporaryFolder(), "f4.npy");
    using array = tensor(Float32Array.from(expected.f4?.values ?? []), { shape: [2, 3] });
    await saveNpy(path, array);
    expect((await readFile(path)).equals(await readFile(fixture("f4.npy")))).toBe(true);
  });

  it("give back what was saved", async () => {
    const path = join(await temporaryFolder(), "all.npz");
    const tensors: Record<string, Tensor> = {
      "a.b/c": tensor(Float32Array.of(1, 2, 3, 4), { shape: [2, 1, 2] }),
      double: tensor(Float64Array.of(0.1)),
      half: tensor(Float32Array.of(0.5, -2), { dtype: "f16" }),
      int: tensor(Int32Array.of(-7, 8)),
      byte: tensor(Uint8Array.of(255)),
      flag: tensor(Uint8Array.of(1, 0), { dtype: "bool" }),
      scalar: tensor(Float32Array.of(3), { shape: [] }),
    };
    await saveNpz(path, tensors);
    const loaded = await loadNpz(path);
    for (const [name, written] of Object.entries(tensors)) {
      const read = loaded[name] as Tensor;
      expect([name, read.dtype, read.shape, await read.data()]).toEqual([
        name,
        written.dtype,
        written.shape,
        await written.data(),
      ]);
      read.dispose();
      written.dispose();
    }
  });

  it("keep the bits of f16 NaNs, signs and payloads included", async () => {
    const path = join(await temporaryFolder(), "nans.npy");
    const bits = Uint16Array.of(0x7e00, 0xfe01, 0x7d55, 0x3c00);
    using half = fromBits(bits, [4], "f16");
    await saveNpy(path, half);
    await using file = await openTensors(path);
    expect([...new Uint16Array(await file.readBytes("array"))]).toEqual([...bits]);
  });

  it("cannot hold bf16, and say so", async () => {
    using half = tensor(Float32Array.of(1), { dtype: "bf16" });
    await expect(saveNpy("x.npy", half)).rejects.toThrow(DTypeError);
    await expect(saveNpz("x.npz", { half })).rejects.toThrow(/have no BF16, which "half" is of/);
  });

  it("with complex numbers are listed, and refused by name when they are loaded", async () => {
    await using file = await openTensors(fixture("complex.npy"));
    expect([...file.tensors]).toEqual([["array", { type: "C64", shape: [2] }]]);
    await expect(file.read("array")).rejects.toThrow(/C64 cannot be loaded/);
    await expect(file.read("other")).rejects.toThrow(/has no array "other"; it has array/);
    await expect(loadNpy(fixture("arrays.npz"))).rejects.toThrow(/has 17 arrays/);
  });
});

describe("a NumPy file that is refused", () => {
  const plain = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n";
  const four = new Uint8Array(4);
  const cases: readonly [string, Uint8Array | string, RegExp][] = [
    ["has Python objects", "objects.npy", /Python objects, which would have to be unpickled/],
    ["has fields", "fields.npy", /a structured array/],
    ["has strings", "strings.npy", /elements of type "<U2"/],
    ["is something else", new Uint8Array(20), /does not begin with/],
    ["is empty", new Uint8Array(), /does not begin with/],
    ["is of another version", npy(plain, four, 4), /version 4 of NumPy's format/],
    [
      "claims a header of a gigabyte",
      Buffer.concat([Buffer.from("\x93NUMPY\x02\x00\x00\x00\x00\x40", "latin1"), four]),
      /a header of 1073741824 bytes/,
    ],
    ["ends in its header", npy(plain).subarray(0, 30), /the file ends here/],
    ["has too little data", npy(plain, new Uint8Array(3)), /takes 4 bytes; 3 follow/],
    ["has too much data", npy(plain, new Uint8Array(5)), /takes 4 bytes; 5 follow/],
    ["has a negative size", npy(plain.replace("(1,)", "(-1,)"), four), /the header has/],
    ["has two numbers without a comma", npy(plain.replace("(1,)", "(1 2)"), four), /the header has|no tuple/],
    ["has endless sizes", npy(plain.replace("(1,)", "(4294967296, 4294967296, 0)")), /too many elements/],
    ["lacks its shape", npy("{'descr': '<f4', 'fortran_order': False, }", four), /lacks descr, fortran_order or shape/],
    ["has its shape twice", npy(plain.replace("'shape'", "'shape': (1,), 'shape'"), four), /has shape twice/],
    ["has code in its header", npy("{'descr': __import__('os'), }", four), /the header has/],
    ["is no dict", npy("[]", four), /the header is no dict/],
  ];
  it.each(cases)("because it %s", async (_claim, bytes, message) => {
    const path = typeof bytes === "string" ? fixture(bytes) : await temporaryFile("x.npy", bytes);
    const error = await loadNpy(path).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message).toMatch(message);
    expect((error as Error).message).toContain(path);
  });

  it("because two arrays have one name, or a member is no array", async () => {
    const bytes = npy(plain, four);
    const twice = await temporaryFile(
      "x.npz",
      await zipBytes([
        ["a", bytes],
        ["a.npy", bytes],
      ]),
    );
    await expect(loadNpz(twice)).rejects.toThrow(/two arrays are named "a"/);
    const other = await temporaryFile("x.npz", await zipBytes([["a.txt", Buffer.from("hello, you")]]));
    await expect(loadNpz(other)).rejects.toThrow(/a\.txt, byte 0: not an array file/);
  });

  it("because a bit of an array in an archive has turned", async () => {
    const path = join(await temporaryFolder(), "x.npz");
    using x = ones([1000]);
    await saveNpz(path, { x });
    const whole = new Uint8Array(await readFile(path));
    const data = Buffer.from(whole.buffer).indexOf(new Uint8Array(Float32Array.of(1, 1).buffer));
    for (const at of [data, data + 2001, data + 3999]) {
      const damaged = whole.slice();
      damaged[at] = (damaged[at] as number) ^ 4;
      await writeFile(path, damaged);
      await expect(loadNpz(path)).rejects.toThrow(/x\.npz, byte 0: the member "x.npy" is damaged: its checksum/);
    }
  });

  it.each(["arrays.npz", "packed.npz", "f4.npy"])(
    "%s, or loaded, whatever 300 random mutations make of it",
    async (name) => {
      const original = new Uint8Array(await readFile(fixture(name)));
      const path = join(await temporaryFolder(), "mutant");
      const random = seeded(711);
      let refused = 0;
      for (let round = 0; round < 300; round++) {
        let mutant = original.slice();
        for (let edits = 1 + random.below(4); edits > 0; edits--) {
          if (random.below(8) === 0) mutant = mutant.slice(0, 1 + random.below(mutant.length));
          else mutant[random.below(Math.min(mutant.length, random.below(2) === 0 ? 128 : 1e9))] = random.below(256);
        }
        await writeFile(path, mutant);
        try {
          for (const array of Object.values(await loadNpz(path))) array.dispose();
        } catch (error) {
          if (!(error instanceof CheckpointError)) throw error;
          refused++;
        }
      }
      expect(refused).toBeGreaterThan(30);
    },
  );
});
