import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type FileType, loadTorch, PickleRecord, readTorch, type TorchFile } from "@figment/io";
import { assertNoLeaks, CheckpointError, type Tensor, UsageError } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { decodeElements } from "#elements/decode";
import { temporaryFile, temporaryFolder } from "./support.js";
import { pickle, zipBytes } from "./torchBytes.js";

afterAll(() => assertNoLeaks());

const fixture = (name: string): string => new URL(`./fixtures/torch/${name}`, import.meta.url).pathname;

interface Expected {
  readonly type: string;
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

/** What torch itself read from what it wrote; see fixtures/torch/make.py. */
const expected = JSON.parse(readFileSync(fixture("expected.json"), "utf8")) as Record<
  "every" | "views" | "newer" | "state" | "moment",
  Record<string, Expected>
> & { readonly float8: Record<string, readonly (string | null)[]> };

async function contents(file: TorchFile, select?: string): Promise<Record<string, Expected>> {
  const found: Record<string, Expected> = {};
  for (const [name, tensor] of file.tensors(select)) {
    found[name] = { type: tensor.type, shape: tensor.shape, values: [...(await tensor.data())] };
  }
  return found;
}

describe("a PyTorch file", () => {
  it.each([
    ["every.pth", "zip", "every"],
    ["every.deflated.pth", "zip", "every"],
    ["every.legacy.pth", "legacy", "every"],
    ["views.pth", "zip", "views"],
    ["views.legacy.pth", "legacy", "views"],
    ["newer.pth", "zip", "newer"],
  ] as const)("%s has the names, types, shapes and values that torch reads from it", async (name, form, what) => {
    await using file = await readTorch(fixture(name));
    expect(file.form).toBe(form);
    expect(await contents(file)).toEqual(expected[what]);
  });

  it("loads as tensors of its types, or as f32", async () => {
    const kept = await loadTorch(fixture("every.pth"));
    const floats = await loadTorch(fixture("every.pth"), { floats: "f32" });
    for (const [name, { shape, values }] of Object.entries(expected.every)) {
      expect([...(await (kept[name] as Tensor).data())]).toEqual(values);
      expect(kept[name]?.shape).toEqual(shape);
    }
    const types = (tensors: Record<string, Tensor>) =>
      ["f64", "f32", "f16", "bf16", "i64", "u8", "bool"].map((name) => tensors[name]?.dtype);
    expect(types(kept)).toEqual(["f64", "f32", "f16", "bf16", "i32", "u8", "bool"]);
    expect(types(floats)).toEqual(["f32", "f32", "f32", "f32", "i32", "u8", "bool"]);
    for (const tensor of [...Object.values(kept), ...Object.values(floats)]) tensor.dispose();
  });

  it("keeps 16-bit floats bit for bit, and loads a view of a view's storage right", async () => {
    await using file = await readTorch(fixture("views.pth"));
    const halves = file.tensor("halves");
    expect(halves.strides).toEqual([1, 4]);
    using tensor = await halves.tensor();
    expect([tensor.dtype, tensor.shape]).toEqual(["f16", [4, 6]]);
    expect([...(await tensor.data())]).toEqual(expected.views.halves?.values);
    expect(file.tensor("row").storage).toBe(file.tensor("base").storage);
  });

  it.each(["checkpoint.pth", "checkpoint.p4.pth"])("%s is browsed as nested dicts, lists and numbers", async (name) => {
    await using file = await readTorch(fixture(name));
    const root = file.root as ReadonlyMap<string, unknown>;
    expect(root.get("epoch")).toBe(12);
    expect(root.get("big")).toBe(2n ** 70n);
    expect(root.get("best")).toBe(0.125);
    expect(root.get("count")).toBe(77);
    expect(root.get("name")).toBe("größer");
    expect([root.get("done"), root.get("none")]).toEqual([false, null]);
    expect(root.get("betas")).toEqual([0.5, 0.999]);
    expect(root.get("history")).toEqual([1.5, [2, "x"]]);
    expect(root.get("classes")).toEqual(new Set(["a", "b"]));
    expect(root.get("size")).toEqual([2, 3]);
    expect([root.get("dtype"), root.get("device")]).toEqual(["torch.float32", "cpu"]);
    expect(root.get("bytes")).toEqual(Uint8Array.of(0, 255));
    expect(root.get("buffer")).toEqual(Uint8Array.of(97, 98, 255));
    expect(root.get("milestones")).toEqual(new Map([30, 80].map((step, i) => [step, 2 - i])));
    expect(file.select("optimizer.param_groups.0.lr")).toBe(0.01);
    expect(await contents(file, "params_ema")).toEqual(expected.state);
    expect(await contents(file, "state_dict")).toEqual(expected.state);
    expect([...(await file.tensor("optimizer.state.0.exp_avg").data())]).toEqual(expected.moment.exp_avg?.values);
    expect([...(await file.tensor("mean").data())]).toEqual([0, 1, 2, 3, 4, 5]);
    expect([...(await file.tensor("fortran").data())]).toEqual([0, 1, 2, 3, 4, 5]);
    expect([...(await file.tensor("parameter").data())]).toEqual([1, 1]);
    expect(file.tensor("params_ema.3.weight").name).toBe("params_ema.3.weight");
  });

  it("has parts by the beginnings of names, too", async () => {
    await using file = await readTorch(fixture("checkpoint.pth"));
    expect([...file.tensors("params_ema.0").keys()]).toEqual(["weight", "bias"]);
    expect(file.tensor("params_ema.0.bias").shape).toEqual([2]);
  });

  it("says what there is instead of a part that it lacks", async () => {
    await using file = await readTorch(fixture("checkpoint.pth"));
    expect(() => file.select("params")).toThrow(/no "params"; the file has params_ema, state_dict, optimizer/);
    expect(() => file.select("optimizer.state.9")).toThrow(/"optimizer.state" has 0, 1, 2, 3, 4, 5/);
    expect(() => file.tensor("epoch")).toThrow(/"epoch" is no tensor/);
  });

  it.each(["module.pth", "module.legacy.pth"])(
    "%s, a whole module, is refused by the name of its class",
    async (name) => {
      const error = await readTorch(fixture(name)).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(CheckpointError);
      expect((error as Error).message).toMatch(
        /byte \d+: the file wants to import (torch\.nn\.modules\.container\.Sequential|__main__\.Scale), which is refused/,
      );
    },
  );

  it("of a whole module can be walked as records, under the names of its state dict", async () => {
    await using file = await readTorch(fixture("module.pth"), { objects: "records" });
    expect(file.root).toBeInstanceOf(PickleRecord);
    expect((file.root as PickleRecord).type).toBe("torch.nn.modules.container.Sequential");
    expect(await contents(file)).toEqual(expected.state);
    expect(file.select("3.out_features")).toBe(3);
    await using legacy = await readTorch(fixture("module.legacy.pth"), { objects: "records" });
    expect(Object.keys(await contents(legacy))).toEqual(["weight", "seen"]);
    expect([...(await legacy.tensor("weight").data())]).toEqual([1, 2]);
  });

  it("with numbers that no tensor has shows them, gives their bytes, and refuses to load them by name", async () => {
    await using complex = await readTorch(fixture("complex.pth"));
    const z = complex.tensor("z");
    expect([z.type, z.dtype, z.shape]).toEqual(["C64", undefined, [2, 2]]);
    expect((await z.bytes()).byteLength).toBe(32);
    await expect(z.tensor()).rejects.toThrow(/tensor "z": C64 cannot be loaded/);
    await expect(loadTorch(fixture("wide.pth"))).rejects.toThrow(
      /tensor "big": the integer 1099511627776 at element 1 does not fit i32/,
    );
  });

  it("from a big-endian machine is refused", async () => {
    const zip = await zipBytes([
      ["x/data.pkl", pickle("\x80", 2, "N.")],
      ["x/byteorder", Buffer.from("big")],
    ]);
    await expect(readTorch(await temporaryFile("x.pth", zip))).rejects.toThrow(/byte order is "big"/);
    const legacy = Buffer.from(await readFile(fixture("every.legacy.pth")));
    const at = legacy.indexOf("little_endian") + "little_endian".length;
    const flag = legacy.indexOf(0x88, at);
    legacy[flag] = 0x89;
    await expect(readTorch(await temporaryFile("y.pth", legacy))).rejects.toThrow(/big-endian machine/);
  });

  it("of the tar form, of no form, or missing is refused, saying so", async () => {
    const tar = new Uint8Array(1024);
    tar.set(Buffer.from("ustar"), 257);
    await expect(readTorch(await temporaryFile("x.pth", tar))).rejects.toThrow(
      /tar archive, as PyTorch wrote before version 0\.1\.10/,
    );
    await expect(readTorch(await temporaryFile("x.pth", "hello"))).rejects.toThrow(/not a PyTorch file/);
    await expect(readTorch(await temporaryFile("x.pth", ""))).rejects.toThrow(CheckpointError);
    await expect(readTorch(join(await temporaryFolder(), "nowhere.pth"))).rejects.toThrow(/cannot be opened/);
    await expect(readTorch("x.pth", { objects: "run" as "refuse" })).rejects.toThrow(UsageError);
  });
});

describe("8-bit floats", () => {
  it.each(Object.keys(expected.float8) as FileType[])("%s: all 256 patterns have torch's values", (type) => {
    const values = [...decodeElements(Uint8Array.from({ length: 256 }, (_, i) => i).buffer, type)];
    const numbers: Record<string, number> = { inf: Infinity, "-inf": -Infinity };
    const theirs = (expected.float8[type] ?? []).map((text) =>
      text === null ? Number.NaN : (numbers[text] ?? Number(text)),
    );
    expect(values.map((value) => Object.is(value, -0))).toEqual(theirs.map((value) => Object.is(value, -0)));
    expect(values).toEqual(theirs);
  });
});
