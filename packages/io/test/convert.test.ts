import { execFileSync } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import {
  convertCheckpoint,
  inspectFile,
  loadNpz,
  openTensors,
  readTorch,
  SafetensorsFile,
  saveTensors,
  showBytes,
  showInspection,
  writeImage,
} from "@figment/io";
import { assertNoLeaks, CheckpointError, DTypeError, tensor, UsageError } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { temporaryFile, temporaryFolder } from "./support.js";

afterAll(() => assertNoLeaks());

const torch = (name: string): string => new URL(`./fixtures/torch/${name}`, import.meta.url).pathname;
const numpy = (name: string): string => new URL(`./fixtures/numpy/${name}`, import.meta.url).pathname;

describe("converting", () => {
  it.each(["every.pth", "every.legacy.pth", "views.pth", "newer.pth", "complex.pth"])(
    "%s to safetensors keeps names, types, shapes and bits",
    async (name) => {
      const path = join(await temporaryFolder(), "out.safetensors");
      await convertCheckpoint(torch(name), path);
      await using from = await readTorch(torch(name));
      await using to = await SafetensorsFile.open(path);
      expect(to.tensors.size).toBe(from.tensors().size);
      for (const [key, source] of from.tensors()) {
        expect(to.tensors.get(key)).toEqual({ type: source.type, shape: source.shape });
        expect(new Uint8Array(await to.readBytes(key))).toEqual(new Uint8Array(await source.bytes()));
      }
    },
  );

  it("takes numbers and strings beside the tensors along as metadata", async () => {
    const path = join(await temporaryFolder(), "out.safetensors");
    await convertCheckpoint(torch("checkpoint.pth"), path);
    await using file = await SafetensorsFile.open(path);
    expect([file.metadata.get("epoch"), file.metadata.get("name"), file.metadata.get("best")]).toEqual([
      "12",
      "größer",
      "0.125",
    ]);
    expect(file.tensors.get("optimizer.state.0.exp_avg")?.shape).toEqual([2, 1, 3, 3]);
  });

  it("goes from NumPy to safetensors to NumPy and back to the same arrays", async () => {
    const folder = await temporaryFolder();
    await convertCheckpoint(numpy("packed.npz"), join(folder, "a.safetensors"));
    await convertCheckpoint(join(folder, "a.safetensors"), join(folder, "b.npz"));
    const [before, after] = [await loadNpz(numpy("packed.npz")), await loadNpz(join(folder, "b.npz"))];
    for (const [name, array] of Object.entries(before)) {
      expect([after[name]?.shape, await after[name]?.data()]).toEqual([array.shape, await array.data()]);
    }
    for (const array of [...Object.values(before), ...Object.values(after)]) array.dispose();
    await convertCheckpoint(numpy("f4.npy"), join(folder, "c.npy"));
    await expect(convertCheckpoint(numpy("packed.npz"), join(folder, "d.npy"))).rejects.toThrow(
      /has 17 tensors; a \.npy file holds one/,
    );
  });

  it("refuses outputs of no format, types that the output lacks, and parts that are not there", async () => {
    const folder = await temporaryFolder();
    await expect(convertCheckpoint(torch("every.pth"), join(folder, "x.pth"))).rejects.toThrow(UsageError);
    await expect(convertCheckpoint(torch("every.pth"), join(folder, "x.npz"))).rejects.toThrow(DTypeError);
    await expect(convertCheckpoint(torch("every.pth"), join(folder, "x.npz"), { select: "ema" })).rejects.toThrow(
      /has no "ema"/,
    );
    await expect(convertCheckpoint(numpy("f4.npy"), join(folder, "x.npz"), { select: "ema" })).rejects.toThrow(
      /no parts to select/,
    );
  });
});

describe("a file of tensors", () => {
  it("is known by its contents, whatever its name", async () => {
    const { readFile } = await import("node:fs/promises");
    for (const [file, name] of [
      [torch("every.pth"), "f64"],
      [torch("every.legacy.pth"), "f64"],
      [numpy("packed.npz"), "f8"],
      [numpy("f4.npy"), "array"],
    ] as const) {
      await using opened = await openTensors(await temporaryFile("weights.bin", await readFile(file)));
      expect(opened.tensors.has(name)).toBe(true);
    }
    await expect(openTensors(await temporaryFile("weights.bin", "hello, this is no file of weights"))).rejects.toThrow(
      CheckpointError,
    );
    await expect(openTensors(await temporaryFile("weights.bin", ""))).rejects.toThrow(CheckpointError);
  });
});

describe("inspecting", () => {
  it("lists a safetensors file with its metadata, as a tree", async () => {
    const path = join(await temporaryFolder(), "m.safetensors");
    using weight = tensor(new Float32Array(300), { shape: [100, 3] });
    using bias = tensor(new Float32Array(3), { dtype: "bf16" });
    await saveTensors(path, { "net.0.weight": weight, "net.0.bias": bias }, { trainedOn: "digits" });
    const inspection = await inspectFile(path);
    expect(inspection).toMatchObject({ format: "safetensors", tensors: 2, parameters: 303, tensorBytes: 1206 });
    expect(showInspection(inspection).split("\n").slice(1)).toEqual([
      "  net.0",
      "    weight  F32   [100, 3]  1.2 KB",
      "    bias    BF16  [3]  6 B",
      "2 tensors, 303 elements, 1.2 KB",
      "metadata",
      "  trainedOn: digits",
    ]);
  });

  it.skipIf(process.platform === "win32")("refuses a pipe at once, whatever its name says", async () => {
    const pipe = join(await temporaryFolder(), "m.safetensors");
    execFileSync("mkfifo", [pipe, `${pipe}.index.json`]);
    await expect(inspectFile(pipe)).rejects.toThrow(new CheckpointError(`${pipe}: is not a file`));
    await expect(inspectFile(`${pipe}.index.json`)).rejects.toThrow(CheckpointError);
  });

  it("shows what would steer a terminal, in names and metadata, as its code", async () => {
    const path = join(await temporaryFolder(), "m.safetensors");
    using weight = tensor([1]);
    await saveTensors(path, { "w\u001b[31m\nx": weight }, { by: "a\u009bb" });
    expect(
      showInspection(await inspectFile(path))
        .split("\n")
        .slice(1),
    ).toEqual(["  w\\u001b[31m\\u000ax  F32  [1]  4 B", "1 tensors, 1 elements, 4 B", "metadata", "  by: a\\u009bb"]);
  });

  it("describes whole modules and names their classes", async () => {
    const inspection = await inspectFile(torch("module.pth"));
    expect(inspection.classes).toContain("torch.nn.modules.conv.Conv2d");
    expect(inspection.entries).toContainEqual({ name: "3.out_features", value: "3" });
    expect(showInspection(inspection)).toMatch(
      /objects of .*torch\.nn\.modules\.linear\.Linear.* \(described, never run\)$/,
    );
  });

  it("tells of NumPy's files and of folders of images", async () => {
    expect((await inspectFile(numpy("packed.npz"))).entries).toContainEqual({
      name: "fortran",
      type: "F32",
      shape: [2, 3, 4],
      bytes: 96,
    });
    const folder = await temporaryFolder();
    await mkdir(join(folder, "cats"));
    await writeImage(join(folder, "cats/a.png"), { width: 2, height: 2, channels: 1, data: new Uint8Array(4) });
    expect(await inspectFile(folder)).toMatchObject({
      format: "data set",
      tensors: 0,
      entries: [{ name: "images", value: "1" }, { name: "shape" }, { name: "classes", value: "1: cats" }],
    });
    await expect(inspectFile(join(folder, "nowhere"))).rejects.toThrow(/cannot be opened/);
  });

  it("says sizes as people do", () => {
    expect([0, 1023, 1024, 1536, 20 * 2 ** 20, 2 ** 40 * 3].map(showBytes)).toEqual([
      "0 B",
      "1023 B",
      "1.0 KB",
      "1.5 KB",
      "20 MB",
      "3.0 TB",
    ]);
  });
});
