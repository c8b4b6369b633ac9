import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { loadTensors, openSafetensors, saveTensors } from "@figment/io";
import { assertNoLeaks, CheckpointError, type Tensor, tensor } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { temporaryFolder } from "./support.js";

afterAll(() => assertNoLeaks());

/** Two shards, x and y in the first and z in the second, and an index. */
async function shards(
  weightMap?: unknown,
  wrap: (map: unknown) => string = (map) => JSON.stringify({ metadata: { total_size: 1 }, weight_map: map }),
) {
  const folder = await temporaryFolder();
  const [x, y, z] = [[1, 2], [3], [4, 5, 6]].map((values) => tensor(Float32Array.from(values))) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  await saveTensors(join(folder, "m-1.safetensors"), { x, y }, { from: "first" });
  await saveTensors(join(folder, "m-2.safetensors"), { z });
  for (const each of [x, y, z]) each.dispose();
  const path = join(folder, "m.safetensors.index.json");
  await writeFile(path, wrap(weightMap ?? { x: "m-1.safetensors", y: "m-1.safetensors", z: "m-2.safetensors" }));
  return path;
}

describe("an index of safetensors files", () => {
  it("is read as if its tensors were in one file", async () => {
    const path = await shards();
    const loaded = await loadTensors(path);
    expect(Object.keys(loaded)).toEqual(["x", "y", "z"]);
    expect(await Promise.all(Object.values(loaded).map(async (each) => [...(await each.data())]))).toEqual([
      [1, 2],
      [3],
      [4, 5, 6],
    ]);
    for (const each of Object.values(loaded)) each.dispose();
    await using file = await openSafetensors(path);
    expect(file.tensors.get("z")).toEqual({ type: "F32", shape: [3] });
    expect(file.metadata.get("from")).toBe("first");
    expect([...(await file.readData("z"))]).toEqual([4, 5, 6]);
    expect((await file.readBytes("y")).byteLength).toBe(4);
    expect(() => file.readBytes("w")).toThrow(/has no tensor "w"; it has x, y, z/);
  });

  const places = { x: "m-1.safetensors", y: "m-1.safetensors", z: "m-2.safetensors" };
  it.each([
    [
      "puts a tensor into a file that lacks it",
      { ...places, y: "m-2.safetensors" },
      /says that "y" is in .*m-2\.safetensors, which does not have it/,
    ],
    ["forgets a tensor", { x: places.x, z: places.z }, /does not say that .*m-1\.safetensors has y/],
    ["names a file that is not there", { ...places, w: "m-3.safetensors" }, /m-3\.safetensors: cannot be opened/],
    ["leaves its folder", { ...places, x: "../m-1.safetensors" }, /"x" is said to be in "\.\.\/m-1\.safetensors"/],
    ["names an absolute path", { ...places, x: "/etc/passwd" }, /expected the name of a file beside the index/],
    ["names a path of Windows", { ...places, x: "..\\m" }, /expected the name of a file beside the index/],
    ["names no string", { ...places, x: 3 }, /expected the name of a file beside the index/],
    ["has no map", [], /has an object "weight_map"/],
  ])("that %s is refused", async (_claim, map, message) => {
    const error = await loadTensors(await shards(map)).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message).toMatch(message);
  });

  it("that names a tensor twice, or is no JSON, is refused with the place", async () => {
    const twice = await shards({}, () => '{"weight_map":{"x":"m-1.safetensors","x":"m-2.safetensors"}}');
    await expect(loadTensors(twice)).rejects.toThrow(/character 37: the index is not valid JSON: duplicate key "x"/);
    const broken = await shards({}, () => '{"weight_map":');
    await expect(loadTensors(broken)).rejects.toThrow(CheckpointError);
    await expect(loadTensors(`${broken}.nowhere.json`)).rejects.toThrow(/cannot be read/);
  });
});
