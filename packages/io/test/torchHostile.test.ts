// PyTorch files that lie, loop or want to run something: each is refused with a CheckpointError that says where.

import { open, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { deflateRawSync } from "node:zlib";
import { readTorch } from "@figment/io";
import { assertNoLeaks, CheckpointError } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { seeded, temporaryFile, temporaryFolder } from "./support.js";
import { dictOf, global, int, lyingZip, pickle, storage, str, torchZip, tuple, view, zipBytes } from "./torchBytes.js";

afterAll(() => assertNoLeaks());

const floats = (count: number): Uint8Array => new Uint8Array(Float32Array.from({ length: count }, (_, i) => i).buffer);

const rebuilt = (...parts: readonly Uint8Array[]) =>
  pickle(global("torch._utils", "_rebuild_tensor_v2"), tuple(...parts, pickle("\x89"), pickle(")")), "R");
const storageWith = (key: Uint8Array, count: Uint8Array) =>
  pickle(tuple(str("storage"), pickle(global("torch", "FloatStorage")), key, str("cpu"), count), "Q");

async function refusal(bytes: Uint8Array, objects: "refuse" | "records" = "refuse"): Promise<string> {
  const path = await temporaryFile("x.pth", bytes);
  const error = await readTorch(path, { objects })
    .then(
      async (file) => {
        try {
          for (const tensor of file.tensors().values()) await tensor.data();
        } finally {
          await file.close();
        }
      },
      (thrown: unknown) => {
        throw thrown;
      },
    )
    .then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
  expect(error).toBeInstanceOf(CheckpointError);
  expect((error as Error).message).toContain(path);
  return (error as Error).message;
}

/** os.system("touch …") by REDUCE. */
const command = (path: string) => pickle(global("os", "system"), tuple(str(`touch ${path}`)), "R");

describe("a pickle that wants to run something", () => {
  it.each([
    ["os", "system"],
    ["builtins", "eval"],
    ["builtins", "getattr"],
    ["torch", "load"],
    ["torch.hub", "load"],
    ["numpy.testing._private.utils", "runstring"],
  ])("by importing %s.%s is refused by that name, with the byte", async (module, name) => {
    const message = await refusal(await torchZip(pickle(str("x"), "0", global(module, name), tuple(str("1")), "R")));
    expect(message).toContain(`data.pkl, byte 9: the file wants to import ${module}.${name}, which is refused`);
  });

  it("by every opcode that makes objects is refused", async () => {
    const bodies = [
      pickle(str("os"), str("system"), "\x93", tuple(str("x")), "R"),
      pickle("(", str("x"), `ios\nsystem\n`),
      pickle("(", global("os", "system"), str("x"), "o"),
      pickle(global("os", "system"), ")", "\x81"),
      pickle(global("os", "system"), ")}", "\x92"),
    ];
    for (const body of bodies)
      expect(await refusal(await torchZip(body))).toMatch(/import os\.system, which is refused/);
  });

  it("is inert when objects are kept as records", async () => {
    const folder = await temporaryFolder();
    const target = join(folder, "touched");
    const path = await temporaryFile("x.pth", await torchZip(dictOf("a", command(target))));
    await using file = await readTorch(path, { objects: "records" });
    expect(file.select("a")).toMatchObject({ type: "os.system", args: [`touch ${target}`] });
    await expect(readFile(target)).rejects.toThrow(/ENOENT/);
  });

  it("in the pickles around the object of the older form is refused", async () => {
    const start = pickle("\x80", 2, "\x8a", 10, Buffer.from("6cfc9c46f9206aa85019", "hex"), ".");
    expect(await refusal(pickle(start, "\x80", 2, global("os", "system"), "."))).toMatch(/import os\.system/);
    expect(await refusal(pickle("\x80", 2, "\x8a", 10, new Uint8Array(10), "."))).toMatch(/the magic number is 0/);
  });

  it("by extension codes or buffers from outside is refused", async () => {
    for (const opcode of ["\x82\x01", "\x97", "\x98"]) {
      expect(await refusal(await torchZip(pickle("N", opcode)))).toMatch(
        /data\.pkl, byte 3: (an extension code|a buffer outside)/,
      );
    }
  });
});

describe("a pickle that is broken", () => {
  const cases: readonly [string, Uint8Array, RegExp][] = [
    ["ends early", pickle("X", new Uint8Array(4).fill(255)), /byte 7: 4294967295 bytes are wanted here, 1 are left/],
    ["has an unknown opcode", pickle("N", 0xff), /byte 3: unknown opcode 0xff/],
    ["is of a later protocol", pickle("\x80", 9), /protocol 9; 5 is the newest/],
    ["takes from an empty stack", pickle("0"), /1 values are wanted, the stack has 0/],
    ["takes below a mark", pickle("N(R"), /1 values are wanted, the stack has 0/],
    ["asks for a mark that is not there", pickle("t"), /there is no mark/],
    ["gets what the memo lacks", pickle("h", 3), /the memo has nothing under 3/],
    ["sets items of a list", pickle("]", str("a"), "Ns"), /items are set on something that is no dict/],
    ["appends to a tuple", pickle(")Na"), /appended to something that is no list/],
    ["has a dict as a key", pickle("}}Ns"), /a dict, list or set as a key/],
    ["sets a key twice", pickle("}(", str("a"), "N", str("a"), "Nu"), /the key "a" is set twice/],
    ["has a key without a value", pickle("}(", str("a"), "u"), /a dict's key without a value/],
    ["calls with no tuple", pickle(global("collections", "OrderedDict"), "NR"), /arguments that are no tuple/],
    ["calls a number", pickle("K", 1, ")R"), /something that is no class is called/],
    ["sets the state of a list", pickle("]}b"), /state is set on something that has none/],
    ["has an integer of a gigabyte", pickle("\x8b", Buffer.of(0, 0, 0, 64)), /an integer of 1073741824 bytes/],
    ["has a string that is not UTF-8", pickle("X", Buffer.of(1, 0, 0, 0, 255)), /not valid UTF-8/],
    ["has a line without end", pickle("cabc"), /a line that does not end/],
    ["has a text integer that is none", pickle("I1e5\n"), /"1e5" is no integer/],
    ["has a text float that is none", pickle("Fabc\n"), /"abc" is no number/],
    [
      "calls a storage by an unknown class",
      pickle("(", str("storage"), global("torch", "Size"), str("0"), str("cpu"), int(1), "tQ"),
      /a storage of class torch\.Size/,
    ],
    ["has a text id", pickle("P0\n"), /an id that is no storage/],
  ];
  it.each(cases)("because it %s is refused, with the place", async (_claim, body, message) => {
    expect(await refusal(await torchZip(body))).toMatch(message);
  });

  it("that holds itself is refused when it is flattened, not when it is browsed", async () => {
    const loop = pickle("}q", 0, str("again"), "h", 0, "s");
    expect(await refusal(await torchZip(loop))).toMatch(/"again" holds itself/);
    await using file = await readTorch(await temporaryFile("x.pth", await torchZip(loop)));
    expect(file.select("again.again.again")).toBe(file.root);
  });

  it("whose shared parts multiply is refused", async () => {
    const levels = Array.from({ length: 60 }, (_, i) => pickle("](", "h", i, "h", i, "eq", i + 1));
    const laughs = pickle("]q", 0, "Na", ...levels);
    expect(await refusal(await torchZip(laughs))).toMatch(/more than 262144 names/);
  });

  it.each([
    ["a key", (deep: Uint8Array) => pickle("}", deep, view(storage("0", 4), 0, [2], [1]), "s"), undefined],
    [
      "a size",
      (deep: Uint8Array) => rebuilt(storage("0", 4), int(0), tuple(deep), tuple(int(1))),
      /not described by storage/,
    ],
    ["an offset", (deep: Uint8Array) => rebuilt(storage("0", 4), deep, tuple(), tuple()), /not described by storage/],
    ["the count of a storage", (deep: Uint8Array) => storageWith(str("0"), deep), /a storage of \(a tuple\) elements/],
    ["the name of a storage", (deep: Uint8Array) => storageWith(deep, int(1)), /no member "x\/data\/\(a tuple\)"/],
    ["a device", (deep: Uint8Array) => pickle(global("torch", "device"), tuple(str("cpu"), deep), "R"), undefined],
    [
      "a NumPy dtype",
      (deep: Uint8Array) => pickle(global("numpy", "dtype"), tuple(deep), "R"),
      /the NumPy dtype "\(a tuple\)"/,
    ],
  ] as const)(
    "with fifty thousand tuples within each other as %s is read or refused",
    async (_what, bodyOf, message) => {
      const bytes = await torchZip(bodyOf(pickle("N", "\x85".repeat(50_000))), { 0: floats(4) });
      if (message) {
        expect(await refusal(bytes)).toMatch(message);
      } else {
        await using file = await readTorch(await temporaryFile("x.pth", bytes));
        expect(file.leaves()).toHaveLength(1);
      }
    },
  );

  it("that nests a million deep is read, and refused when it is flattened", async () => {
    const deep = pickle("N", "\x85".repeat(1_000_000));
    expect(await refusal(await torchZip(deep))).toMatch(/nest more than 256 deep/);
  });
});

describe("a tensor that lies", () => {
  const cases: readonly [string, Uint8Array, RegExp][] = [
    ["has a negative size", view(storage("0", 4), 0, [-1], [1]), /a tensor has the shape \[-1\]/],
    ["has a negative stride", view(storage("0", 4), 3, [2], [-1]), /a tensor has the strides \[-1\]/],
    ["has a negative offset", view(storage("0", 4), -1, [2], [1]), /a storage offset of -1/],
    ["reaches beyond its storage", view(storage("0", 4), 0, [3], [2]), /reaches element 5 of a storage of 4/],
    ["begins beyond its storage", view(storage("0", 4), 5, [1], [1]), /reaches element 6 of a storage of 4/],
    ["has more sizes than strides", view(storage("0", 4), 0, [2, 2], [1]), /2 sizes, but 1 strides/],
    [
      "has more elements than numbers count",
      view(storage("0", 4), 0, [2 ** 30, 2 ** 30, 0], [0, 0, 0]),
      /too many elements/,
    ],
    ["repeats one element without end", view(storage("0", 1), 0, [2 ** 30], [0]), /repeats 1 elements/],
    ["has a storage that is not there", view(storage("7", 4), 0, [2], [1]), /no member "x\/data\/7"/],
    ["has a storage larger than its member", view(storage("0", 5), 0, [2], [1]), /takes 20 bytes, its member has 16/],
    ["has a storage of negative size", view(storage("0", -5), 0, [2], [1]), /a storage of -5 elements/],
    [
      "has one storage of two types",
      pickle(storage("0", 4), storage("0", 2, "DoubleStorage")),
      /of two types or sizes/,
    ],
    ["has no storage", view(pickle("N"), 0, [2], [1]), /not described by storage/],
  ];
  it.each(cases)("because it %s is refused", async (_claim, body, message) => {
    expect(await refusal(await torchZip(body, { 0: floats(4) }))).toMatch(message);
  });

  it("of the older form is refused where the storages do not fit the pickle", async () => {
    const legacy = (body: Uint8Array, keys: Uint8Array, data: Uint8Array) =>
      pickle(
        ...["\x80", 2, "\x8a", 10, Buffer.from("6cfc9c46f9206aa85019", "hex"), "."],
        ...["\x80", 2, "M", Buffer.of(0xe9, 3), "."],
        ...["\x80", 2, "}.", "\x80", 2, body, ".", "\x80", 2, keys, ".", data],
      );
    const body = dictOf(
      "a",
      view(
        pickle(
          "(",
          str("storage"),
          global("torch", "FloatStorage"),
          str("k"),
          str("cpu"),
          int(4),
          tuple(str("v"), int(1), int(2)),
          "tQ",
        ),
        0,
        [2],
        [1],
      ),
    );
    const count = (n: bigint) => new Uint8Array(BigInt64Array.of(n).buffer);
    const keys = pickle("]", str("k"), "a");
    await using file = await readTorch(await temporaryFile("x.pth", legacy(body, keys, pickle(count(4n), floats(4)))));
    expect([...(await file.tensor("a").data())]).toEqual([1, 2]);
    expect(await refusal(legacy(body, keys, pickle(count(5n), floats(5))))).toMatch(
      /has 5 elements, its tensors say 4/,
    );
    expect(await refusal(legacy(body, keys, pickle(count(4n), floats(3))))).toMatch(/takes 16 bytes; 12 are left/);
    expect(await refusal(legacy(body, keys, count(4n).subarray(0, 3)))).toMatch(/should be here; the file ends/);
    expect(await refusal(legacy(body, pickle("]"), count(4n)))).toMatch(/"k" is missing/);
    expect(await refusal(legacy(body, pickle("]", str("j"), "a"), count(4n)))).toMatch(/"j" belongs to no tensor/);
    expect(
      await refusal(legacy(body, pickle("]", str("k"), "a", str("k"), "a"), pickle(count(4n), floats(8)))),
    ).toMatch(/there twice/);
  });
});

describe("a zip archive that lies", () => {
  const body = pickle("\x80", 2, "N.");
  const members = [["x/data.pkl", body]] as const;
  it.each([
    ["is encrypted", { flags: 1 }, /"x\/data\.pkl" is encrypted/],
    ["is packed by another method", { method: 14 }, /compressed by method 14/],
    ["has another checksum", { crc: 1 }, /its checksum does not match/],
    ["is stored in fewer bytes", { bytes: 9 }, /is stored, but 9 bytes are said to take 4/],
    ["says that a member is elsewhere", { offset: 1 }, /overlaps the zip directory|no member begins here/],
    [
      "inflates to more than it can hold",
      { method: 8, bytes: 100_000 },
      /claims 100000 bytes, more than DEFLATE can hold/,
    ],
    ["is deflated, but is not", { method: 8 }, /cannot be inflated/],
  ] as const)("because it %s is refused", async (_claim, lie, message) => {
    expect(await refusal(await lyingZip(members, lie))).toMatch(message);
  });

  it("with a checksum of zero is read: torch can be told to make none", async () => {
    await using file = await readTorch(await temporaryFile("x.pth", await lyingZip(members, { crc: 0 })));
    expect(file.root).toBeNull();
  });

  it("that inflates beyond its claim is stopped there", async () => {
    const packed = deflateRawSync(new Uint8Array(1 << 20));
    const bytes = await lyingZip([["x/data.pkl", packed]], { method: 8, bytes: 4096 });
    expect(await refusal(bytes)).toMatch(/cannot be inflated to its 4096 bytes/);
  });

  it("whose members overlap, or share a name, is refused", async () => {
    const twice = [
      ["x/data.pkl", body],
      ["x/data/0", body],
    ] as const;
    expect(await refusal(await lyingZip(twice, { offset: 0 }))).toMatch(/overlaps the member/);
    expect(
      await refusal(
        await zipBytes([
          ["x/data.pkl", body],
          ["x/data.pkl", body],
        ]),
      ),
    ).toMatch(/two members are named/);
  });

  it("with no pickle, or two, or cut short is refused", async () => {
    expect(await refusal(await zipBytes([["x/y", body]]))).toMatch(/this zip archive has 0/);
    expect(
      await refusal(
        await zipBytes([
          ["x/data.pkl", body],
          ["y/data.pkl", body],
        ]),
      ),
    ).toMatch(/this zip archive has 2/);
    expect(await refusal((await zipBytes(members)).subarray(0, -3))).toMatch(/no zip directory ends here/);
  });
});

describe("reading", () => {
  it("takes only the bytes of what is loaded: a file of a terabyte is opened at once", async () => {
    const count = 2 ** 31 - 1;
    const many = Array.from({ length: 128 }, (_, i) =>
      pickle(str(`t${i}`), view(storage(`k${i}`, count), 5, [2], [count - 6])),
    );
    const start = pickle(
      ...["\x80", 2, "\x8a", 10, Buffer.from("6cfc9c46f9206aa85019", "hex"), "."],
      ...["\x80", 2, "M", Buffer.of(0xe9, 3), ".", "\x80", 2, "}."],
      ...["\x80", 2, "}(", ...many.map((one) => one), "u."],
      ...["\x80", 2, "](", ...many.map((_, i) => str(`k${i}`)), "e."],
    );
    const path = await temporaryFile("sparse.pth", start);
    const handle = await open(path, "r+");
    const place = (i: number) => start.length + i * (8 + 4 * count);
    for (let i = 0; i < many.length; i++)
      await handle.write(new Uint8Array(BigInt64Array.of(BigInt(count)).buffer), 0, 8, place(i));
    await handle.truncate(place(many.length));
    await handle.close();
    await using file = await readTorch(path);
    expect(file.tensors().size).toBe(128);
    expect(file.tensor("t127").shape).toEqual([2]);
  });

  it.each(["every.pth", "every.legacy.pth", "checkpoint.p4.pth", "every.deflated.pth"])(
    "%s fails with a CheckpointError or succeeds, whatever 300 random mutations make of it",
    async (name) => {
      const original = new Uint8Array(await readFile(new URL(`./fixtures/torch/${name}`, import.meta.url)));
      const path = join(await temporaryFolder(), "mutant.pth");
      const random = seeded(701);
      let refused = 0;
      for (let round = 0; round < 300; round++) {
        let mutant = original.slice();
        for (let edits = 1 + random.below(4); edits > 0; edits--) {
          const kind = random.below(5);
          if (kind < 3) mutant[random.below(mutant.length)] = random.below(256);
          else if (kind === 3)
            mutant.copyWithin(random.below(mutant.length), random.below(mutant.length), random.below(mutant.length));
          else if (random.below(4) === 0) mutant = mutant.slice(0, 1 + random.below(mutant.length));
        }
        await writeFile(path, mutant);
        try {
          await using file = await readTorch(path, { objects: random.below(2) === 0 ? "refuse" : "records" });
          for (const tensor of file.tensors().values()) await tensor.data();
        } catch (error) {
          if (!(error instanceof CheckpointError)) throw error;
          refused++;
        }
      }
      expect(refused).toBeGreaterThan(50);
    },
  );
});
