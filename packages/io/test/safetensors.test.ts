import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type FileType, loadTensors, SafetensorsFile, saveTensors } from "@figment/io";
import { assertNoLeaks, CheckpointError, type DType, type Tensor, tensor } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { decodeElements } from "#elements/decode";
import { encodeElements } from "#elements/encode";
import { randomFloats, safetensorsBytes, seeded, temporaryFile, temporaryFolder } from "./support.js";

afterAll(() => assertNoLeaks());

const disposeAll = (tensors: Record<string, Tensor>) => {
  for (const x of Object.values(tensors)) x.dispose();
};

function sampleTensors(seed: number): Record<string, Tensor> {
  const random = seeded(seed);
  const types: readonly DType[] = ["f32", "f64", "bf16", "f16"];
  return {
    ...Object.fromEntries(
      types.map((dtype) => [`float.${dtype}`, tensor(randomFloats(15, random), { shape: [3, 5], dtype })]),
    ),
    int: tensor(Int32Array.from({ length: 7 }, () => random.word() | 0)),
    byte: tensor(Uint8Array.from({ length: 5 }, () => random.below(256))),
    flag: tensor(
      Uint8Array.from({ length: 3 }, () => random.below(2)),
      { dtype: "bool" },
    ),
    empty: tensor(new Float32Array(), { shape: [0, 4] }),
    scalar: tensor(Float32Array.of(random.uniform()), { shape: [] }),
    'odd "name" é\u2028': tensor(randomFloats(2, random)),
  };
}

describe("a written file", () => {
  it("gives back every dtype, shape, name and metadata bit for bit", async () => {
    const path = join(await temporaryFolder(), "all.safetensors");
    const tensors = sampleTensors(101);
    await saveTensors(path, tensors, { note: "für später", a: "" });
    const loaded = await loadTensors(path);
    expect(Object.keys(loaded).sort()).toEqual(Object.keys(tensors).sort());
    for (const [name, written] of Object.entries(tensors)) {
      const read = loaded[name] as Tensor;
      expect([name, read.shape, read.dtype]).toEqual([name, written.shape, written.dtype]);
      expect(await read.data()).toEqual(await written.data());
    }
    await using file = await SafetensorsFile.open(path);
    expect(Object.fromEntries(file.metadata)).toEqual({ note: "für später", a: "" });
    disposeAll(tensors);
    disposeAll(loaded);
  });

  it("does not depend on the order in which tensors are given", async () => {
    const folder = await temporaryFolder();
    const tensors = sampleTensors(102);
    const reversed = Object.fromEntries(Object.entries(tensors).reverse());
    await saveTensors(join(folder, "a"), tensors, { x: "1", y: "2" });
    await saveTensors(join(folder, "b"), reversed, { y: "2", x: "1" });
    expect((await readFile(join(folder, "a"))).equals(await readFile(join(folder, "b")))).toBe(true);
    disposeAll(tensors);
  });

  it("starts its data at a multiple of 8 and aligns every tensor to its elements", async () => {
    const path = join(await temporaryFolder(), "aligned");
    const tensors = sampleTensors(103);
    await saveTensors(path, tensors);
    const bytes = await readFile(path);
    const headerBytes = Number(bytes.readBigUInt64LE(0));
    expect(headerBytes % 8).toBe(0);
    const header = JSON.parse(bytes.toString("utf8", 8, 8 + headerBytes)) as Record<
      string,
      { dtype: string; data_offsets: number[] }
    >;
    const itemBytes: Record<string, number> = { F64: 8, F32: 4, I32: 4, F16: 2, BF16: 2, U8: 1, BOOL: 1 };
    for (const { dtype, data_offsets } of Object.values(header)) {
      expect((data_offsets[0] as number) % (itemBytes[dtype] as number)).toBe(0);
    }
    disposeAll(tensors);
  });

  it("is not written with metadata that could not be read back", async () => {
    const metadata = { nested: { key: "text" } } as unknown as Record<string, string>;
    await expect(saveTensors(join(await temporaryFolder(), "x.safetensors"), {}, metadata)).rejects.toThrow(
      'saveTensors: the metadata "nested" must be a string, got an object',
    );
  });

  it("can be empty", async () => {
    const path = join(await temporaryFolder(), "empty");
    await saveTensors(path, {});
    expect(await loadTensors(path)).toEqual({});
  });
});

describe("a foreign file", () => {
  const cases: readonly [FileType, ArrayBufferView, DType, number[]][] = [
    ["F64", Float64Array.of(1.1, -2.5), "f64", [1.1, -2.5]],
    ["I64", BigInt64Array.of(-5n, 2147483647n), "i32", [-5, 2147483647]],
    ["U64", BigUint64Array.of(7n, 9n), "i32", [7, 9]],
    ["U32", Uint32Array.of(7, 11), "i32", [7, 11]],
    ["I16", Int16Array.of(-300, 77), "i32", [-300, 77]],
    ["U16", Uint16Array.of(65535, 3), "i32", [65535, 3]],
    ["I8", Int8Array.of(-128, 5), "i32", [-128, 5]],
    ["U8", Uint8Array.of(255, 5), "u8", [255, 5]],
    ["BOOL", Uint8Array.of(1, 0), "bool", [1, 0]],
    ["F16", Uint16Array.of(0x3c00, 0xc100), "f16", [1, -2.5]],
    ["BF16", Uint16Array.of(0x3f80, 0xc020), "bf16", [1, -2.5]],
  ];

  it.each(cases)("with %s is loaded", async (type, data, dtype, expected) => {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const header = `{"x":{"dtype":"${type}","shape":[2],"data_offsets":[0,${bytes.byteLength}],"unknown":[{}]}}  `;
    const path = await temporaryFile("x", safetensorsBytes(header, bytes));
    const { x } = (await loadTensors(path)) as { x: Tensor };
    expect(x.dtype).toBe(dtype);
    expect([...(await x.data())]).toEqual(expected);
    x.dispose();
  });

  it.each(["F16", "BF16", "F64"] as const)("with %s is loaded as f32 when asked to", async (type) => {
    const data =
      type === "F64"
        ? Float64Array.of(1.5, -2)
        : type === "F16"
          ? Uint16Array.of(0x3e00, 0xc000)
          : Uint16Array.of(0x3fc0, 0xc000);
    const bytes = new Uint8Array(data.buffer);
    const path = await temporaryFile(
      "x",
      safetensorsBytes(`{"x":{"dtype":"${type}","shape":[2],"data_offsets":[0,${bytes.length}]}}`, bytes),
    );
    const { x } = (await loadTensors(path, { floats: "f32" })) as { x: Tensor };
    expect(x.dtype).toBe("f32");
    expect([...(await x.data())]).toEqual([1.5, -2]);
    x.dispose();
  });

  it("with 8-bit floats is loaded as f32", async () => {
    const header = '{"x":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}';
    const { x } = await loadTensors(await temporaryFile("x", safetensorsBytes(header, Uint8Array.of(0x38, 0xc4))));
    expect([x?.dtype, ...(await (x as Tensor).data())]).toEqual(["f32", 1, -3]);
    x?.dispose();
  });

  it.each([
    ["C64", 1, 8],
    ["F4", 4, 2],
    ["F6_E2M3", 4, 3],
    ["F6_E3M2", 4, 3],
  ] as const)(
    "tells names and shapes of %s, which no tensor has, and refuses to load it",
    async (type, count, bytes) => {
      const header = `{"x":{"dtype":"${type}","shape":[${count}],"data_offsets":[0,${bytes}]}}`;
      const data = new Uint8Array(bytes).fill(3);
      await using file = await SafetensorsFile.open(await temporaryFile("x", safetensorsBytes(header, data)));
      expect(file.tensors.get("x")).toEqual({ type, shape: [count] });
      expect(new Uint8Array(await file.readBytes("x"))).toEqual(data);
      await expect(file.read("x")).rejects.toThrow(`${type} cannot be loaded`);
    },
  );

  it("with 4-bit floats that fill no whole bytes is refused", async () => {
    const header = '{"x":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}';
    const path = await temporaryFile("x", safetensorsBytes(header, new Uint8Array(2)));
    await expect(SafetensorsFile.open(path)).rejects.toThrow(/takes 1.5 bytes, its data offsets hold 2/);
  });

  it("with an integer beyond i32 is refused, naming it", async () => {
    const data = new Uint8Array(BigInt64Array.of(1n, 2147483648n).buffer);
    const path = await temporaryFile(
      "x",
      safetensorsBytes('{"x":{"dtype":"I64","shape":[2],"data_offsets":[0,16]}}', data),
    );
    await expect(loadTensors(path)).rejects.toThrow(/2147483648 at element 1 does not fit i32/);
  });

  it.each([
    ["of more dimensions than tensors have", Array(9).fill(1), 4, /9 dimensions; at most 8 are supported/],
    ["with an extent that no tensor has", [2 ** 31, 0], 0, /every extent must be below 2³¹/],
  ])("with a tensor %s is refused, naming it", async (_what, shape, bytes, message) => {
    for (const [type, size] of [
      ["F32", bytes],
      ["BF16", bytes / 2],
    ]) {
      const header = JSON.stringify({ x: { dtype: type, shape, data_offsets: [0, size] } });
      const path = await temporaryFile("x.safetensors", safetensorsBytes(header, new Uint8Array(size as number)));
      const failure = await loadTensors(path).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(CheckpointError);
      expect(String(failure)).toMatch(message);
      expect(String(failure)).toContain('tensor "x"');
    }
  });

  it("is read lazily: opening one with a terabyte of data costs nothing", async () => {
    const { open } = await import("node:fs/promises");
    const terabyte = 2 ** 40;
    const header = `{"big":{"dtype":"U8","shape":[${terabyte - 4}],"data_offsets":[0,${terabyte - 4}]},"small":{"dtype":"U8","shape":[4],"data_offsets":[${terabyte - 4},${terabyte}]}}`;
    const path = await temporaryFile("sparse", safetensorsBytes(header));
    const handle = await open(path, "r+");
    const end = (await handle.stat()).size + terabyte;
    await handle.write(Uint8Array.of(9, 8, 7, 6), 0, 4, end - 4);
    await handle.close();
    await using file = await SafetensorsFile.open(path);
    expect(file.tensors.get("big")?.shape).toEqual([terabyte - 4]);
    expect([...(await file.readData("small"))]).toEqual([9, 8, 7, 6]);
    await expect(file.read("big")).rejects.toThrow(CheckpointError);
    await expect(file.read("big")).rejects.toThrow(/the 1099511627772 bytes from here on do not fit into memory/);
  });
});

describe("16-bit floats", () => {
  it.each(["F16", "BF16"] as const)("%s: all 65,536 patterns survive decoding and encoding", (type) => {
    const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const values = decodeElements(bits.slice().buffer, type);
    const back = new Uint16Array(encodeElements(values, type === "F16" ? "f16" : "bf16").slice().buffer);
    const wrong = [...bits].filter((pattern) => back[pattern] !== pattern && !Number.isNaN(values[pattern]));
    expect(wrong).toEqual([]);
    expect([...bits].every((pattern) => !Number.isNaN(values[pattern]) || (back[pattern] as number) > 0)).toBe(true);
  });
});

describe("a damaged or hostile file", () => {
  const entry = (fields: string) => `{"x":{${fields}}}`;
  const four = new Uint8Array(4);
  const one = '"dtype":"F32","shape":[1],"data_offsets":[0,4]';
  const two = (a: string, b: string) => `{"a":{"dtype":"U8",${a}},"b":{"dtype":"U8",${b}}}`;

  const cases: readonly [claim: string, bytes: Uint8Array, byte: number, message: RegExp][] = [
    ["is empty", new Uint8Array(), 0, /8 bytes of header length/],
    ["ends in the length", Uint8Array.of(1, 2, 3), 3, /the file ends here/],
    [
      "claims a header longer than the file",
      safetensorsBytes("{}", four, 100n),
      0,
      /claims 100 bytes, but only 6 follow/,
    ],
    [
      "claims a header of 2^64 - 1 bytes",
      safetensorsBytes("{}", four, 2n ** 64n - 1n),
      0,
      /more than the 100000000 allowed/,
    ],
    ["has an empty header", safetensorsBytes(""), 8, /does not start with '\{'/],
    ["is not JSON", safetensorsBytes("PK\u0003\u0004"), 8, /does not start with '\{'/],
    ["has a header that ends early", safetensorsBytes('{"x":'), 13, /not valid JSON/],
    ["has a header with an open string", safetensorsBytes('{"x'), 9, /malformed or not closed/],
    ["has text after the header", safetensorsBytes("{} {}"), 11, /unexpected text/],
    ["nests without end", safetensorsBytes(`{"x":${"[".repeat(1e6)}`), 8 + 5 + 32, /nest more than 32 deep/],
    ["is not UTF-8", safetensorsBytes(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d)), 10, /not valid UTF-8/],
    ["has a duplicate key", safetensorsBytes(`{"x":{${one}},"x":{${one}}}`, four), 62, /duplicate key "x"/],
    [
      "has a key that two escapes spell alike",
      safetensorsBytes(`{"x":{${one}},"\\u0078":{${one}}}`, four),
      62,
      /duplicate key "x"/,
    ],
    ["has a tensor that is no object", safetensorsBytes('{"x":3}'), 13, /expected an object/],
    ["lacks a field", safetensorsBytes(entry('"dtype":"F32","shape":[1]'), four), 13, /"data_offsets" is missing/],
    [
      "has an unknown dtype",
      safetensorsBytes(entry('"dtype":"F31","shape":[1],"data_offsets":[0,4]'), four),
      22,
      /unknown dtype "F31"/,
    ],
    [
      "has a dtype that is no string",
      safetensorsBytes(entry('"dtype":{},"shape":[1],"data_offsets":[0,4]'), four),
      22,
      /unknown dtype \(a structure\)/,
    ],
    [
      "has a negative extent",
      safetensorsBytes(entry('"dtype":"F32","shape":[-1],"data_offsets":[0,4]'), four),
      37,
      /expected an integer from 0/,
    ],
    [
      "has a fractional extent",
      safetensorsBytes(entry('"dtype":"F32","shape":[0.5],"data_offsets":[0,4]'), four),
      37,
      /expected an integer from 0/,
    ],
    [
      "has an extent beyond 2^53",
      safetensorsBytes(entry('"dtype":"F32","shape":[1e300],"data_offsets":[0,4]'), four),
      37,
      /expected an integer from 0/,
    ],
    [
      "has extents whose product overflows",
      safetensorsBytes(entry('"dtype":"F32","shape":[4294967296,4294967296,0],"data_offsets":[0,0]')),
      36,
      /too many elements/,
    ],
    [
      "has three offsets",
      safetensorsBytes(entry('"dtype":"F32","shape":[1],"data_offsets":[0,4,8]'), four),
      55,
      /has 3 numbers/,
    ],
    [
      "has backward offsets",
      safetensorsBytes(entry('"dtype":"F32","shape":[1],"data_offsets":[4,0]'), four),
      55,
      /run backwards/,
    ],
    [
      "overruns the data",
      safetensorsBytes(entry('"dtype":"F32","shape":[2],"data_offsets":[0,8]'), four),
      55,
      /overrun the 4 bytes/,
    ],
    [
      "has a shape that does not fit its offsets",
      safetensorsBytes(entry('"dtype":"F32","shape":[2],"data_offsets":[0,4]'), four),
      55,
      /takes 8 bytes, its data offsets hold 4/,
    ],
    [
      "overlaps",
      safetensorsBytes(two('"shape":[3],"data_offsets":[0,3]', '"shape":[2],"data_offsets":[2,4]'), four),
      106,
      /"b" overlaps tensor "a"/,
    ],
    [
      "has a gap",
      safetensorsBytes(two('"shape":[1],"data_offsets":[0,1]', '"shape":[1],"data_offsets":[3,4]'), four),
      106,
      /2 bytes between tensor "a" and tensor "b"/,
    ],
    [
      "has a gap at the start",
      safetensorsBytes(entry('"dtype":"U8","shape":[2],"data_offsets":[2,4]'), four),
      54,
      /2 bytes between the header and/,
    ],
    [
      "has bytes at the end",
      safetensorsBytes(entry('"dtype":"U8","shape":[2],"data_offsets":[0,2]'), four),
      8,
      /last 2 bytes of the file/,
    ],
    ["has metadata that are no strings", safetensorsBytes('{"__metadata__":{"a":1}}'), 29, /"a" is not a string/],
  ];

  it.each(cases)("that %s is refused, with the place", async (_claim, bytes, byte, message) => {
    const path = await temporaryFile("bad.safetensors", bytes);
    const error: unknown = await SafetensorsFile.open(path).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message).toMatch(message);
    expect((error as Error).message).toContain(`${path}, byte ${byte}:`);
  });

  it("is refused when it does not exist or is a folder", async () => {
    const folder = await temporaryFolder();
    await expect(SafetensorsFile.open(join(folder, "nowhere"))).rejects.toThrow(CheckpointError);
    await expect(SafetensorsFile.open(folder)).rejects.toThrow(CheckpointError);
  });

  it("cannot put anything into Object.prototype", async () => {
    const header = '{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}';
    const loaded = await loadTensors(await temporaryFile("x", safetensorsBytes(header, Uint8Array.of(1))));
    expect(Object.keys(loaded)).toEqual(["__proto__"]);
    expect(Object.getPrototypeOf({})).toBe(Object.prototype);
    disposeAll(loaded);
  });

  it("fails with a CheckpointError or loads, whatever 1,000 random mutations make of it", async () => {
    const folder = await temporaryFolder();
    const path = join(folder, "mutant");
    const tensors = sampleTensors(104);
    await saveTensors(path, tensors, { a: "b" });
    disposeAll(tensors);
    const original = new Uint8Array(await readFile(path));
    const headerEnd = 8 + Number(Buffer.from(original).readBigUInt64LE(0));
    const random = seeded(105);
    const { writeFile } = await import("node:fs/promises");
    const alphabet = new TextEncoder().encode('{}[]",:0123456789-eE.\\ \u00ff');
    let refused = 0;
    for (let round = 0; round < 1000; round++) {
      let mutant = original.slice();
      for (let edits = 1 + random.below(3); edits > 0; edits--) {
        const at = random.below(Math.min(headerEnd, mutant.length));
        const kind = random.below(4);
        if (kind === 0) mutant[at] = random.below(256);
        else if (kind === 1) mutant[at] = alphabet[random.below(alphabet.length)] as number;
        else if (kind === 2) mutant = mutant.slice(0, random.below(mutant.length));
        else mutant.copyWithin(at, random.below(mutant.length), random.below(mutant.length));
        if (mutant.length === 0) break;
      }
      await writeFile(path, mutant);
      try {
        disposeAll(await loadTensors(path));
      } catch (error) {
        if (!(error instanceof CheckpointError)) throw error;
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(500);
  });
});
