import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  convertCheckpoint,
  inspectFile,
  loadCheckpoint,
  loadModel,
  loadTensors,
  SafetensorsFile,
  saveCheckpoint,
  saveModel,
  saveTensors,
} from "@figment/io";
import {
  assertNoLeaks,
  Cell,
  CheckpointError,
  type DType,
  type Json,
  restoreCells,
  type Stateful,
  tensor,
  UsageError,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import type { CounterRandom } from "#data/counterRandom";
import { randomFloats, seeded, temporaryFolder } from "./support.js";

/** Cells of given shapes with some JSON: the least that can be saved. */
class Part implements Stateful {
  readonly cells: Record<string, Cell>;
  json: Json;
  constructor(shapes: Record<string, readonly number[]>, json: Json = null, dtype: DType = "f32") {
    this.cells = Object.fromEntries(
      Object.entries(shapes).map(([name, shape]) => [name, new Cell({ shape, dtype, name })]),
    );
    this.json = json;
    parts.push(this);
  }
  fill(random: CounterRandom): this {
    for (const cell of Object.values(this.cells)) {
      using value = tensor(
        randomFloats(
          cell.shape.reduce((a, b) => a * b, 1),
          random,
        ),
        { shape: cell.shape, dtype: cell.dtype },
      );
      cell.set(value);
    }
    return this;
  }
  async values(): Promise<Record<string, number[]>> {
    const read = async (cell: Cell) => {
      using value = cell.value;
      return [...(await value.data())];
    };
    return Object.fromEntries(
      await Promise.all(Object.entries(this.cells).map(async ([name, cell]) => [name, await read(cell)])),
    );
  }
  captureState() {
    return { cells: this.cells, json: this.json };
  }
  restoreState({ tensors, json }: Parameters<Stateful["restoreState"]>[0]) {
    restoreCells("part", this.cells, tensors);
    this.json = json;
  }
}

const parts: Part[] = [];
afterAll(() => {
  for (const part of parts) for (const cell of Object.values(part.cells)) cell.dispose();
  assertNoLeaks();
});

const shapes = { "a.weight": [3, 4], "a.bias": [3], step: [] };
const build = () => ({ model: new Part(shapes), optimizer: new Part({ "m.a": [2, 2] }, { steps: 0 }) });

describe("a checkpoint", () => {
  it("restores cells and JSON bit for bit, and gives the extra back", async () => {
    const path = join(await temporaryFolder(), "run.safetensors");
    const random = seeded(201);
    const before = build();
    before.model.fill(random);
    before.optimizer.fill(random).json = { steps: 17, nested: [1.5, null, "x"] };
    await saveCheckpoint(path, before, { epoch: 3 });
    const after = build();
    after.model.fill(random);
    expect(await loadCheckpoint(path, after)).toEqual({ epoch: 3 });
    expect(await after.model.values()).toEqual(await before.model.values());
    expect(await after.optimizer.values()).toEqual(await before.optimizer.values());
    expect(after.optimizer.json).toEqual(before.optimizer.json);
  });

  it("holds the state at the moment of the call, though it is overwritten at once", async () => {
    const path = join(await temporaryFolder(), "run.safetensors");
    const random = seeded(202);
    const part = new Part(shapes).fill(random);
    const then = await part.values();
    const saving = saveCheckpoint(path, { part });
    part.fill(random);
    await saving;
    expect(await part.values()).not.toEqual(then);
    await loadCheckpoint(path, { part });
    expect(await part.values()).toEqual(then);
  });

  it("that does not fit lists missing, unexpected and mis-shaped tensors of all parts, and changes nothing", async () => {
    const path = join(await temporaryFolder(), "run.safetensors");
    const random = seeded(203);
    await saveCheckpoint(path, {
      good: new Part({ x: [2] }).fill(random),
      model: new Part({ same: [2], gone: [1], other: [2, 3] }).fill(random),
    });
    const good = new Part({ x: [2] }).fill(random);
    const model = new Part({ same: [2], fresh: [1], other: [3, 2] }).fill(random);
    const before = [await good.values(), await model.values()];
    const error = await loadCheckpoint(path, { good, model }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message).toMatch(/model: .*\n +missing: fresh\n +unexpected: gone\n +mis-shaped: other/);
    expect([await good.values(), await model.values()]).toEqual(before);
  });

  it("reports every part that does not fit", async () => {
    const path = join(await temporaryFolder(), "run.safetensors");
    const random = seeded(208);
    await saveCheckpoint(path, { a: new Part({ x: [2] }).fill(random), b: new Part({ y: [2] }).fill(random) });
    const parts = { a: new Part({ x: [3] }).fill(random), b: new Part({ z: [2] }) };
    await expect(loadCheckpoint(path, parts)).rejects.toThrow(/\na: [\s\S]*mis-shaped: x[\s\S]*\nb: [\s\S]*missing: z/);
  });

  it("is not written over another by what has no values yet, or no longer", async () => {
    const path = join(await temporaryFolder(), "run.safetensors");
    const part = new Part({ x: [1], y: [2] }).fill(seeded(210));
    await saveModel(path, part);
    for (const cell of Object.values(part.captureState().cells)) cell.dispose();
    for (const empty of [part, new Part({ x: [1], y: [2] })]) {
      await expect(saveModel(path, empty)).rejects.toThrow(
        /saveModel: no value yet, or no longer, have x, y; save after/,
      );
      await expect(saveCheckpoint(path, { empty })).rejects.toThrow(UsageError);
    }
    const loaded = new Part({ x: [1], y: [2] });
    await loadModel(path, loaded);
    expect((await loaded.values()).x).toHaveLength(1);
  });

  it("fills parts that had no values yet", async () => {
    const path = join(await temporaryFolder(), "run.safetensors");
    const before = new Part(shapes).fill(seeded(209));
    await saveCheckpoint(path, { part: before });
    const part = new Part(shapes);
    await loadCheckpoint(path, { part });
    expect(await part.values()).toEqual(await before.values());
  });

  it("names parts that are missing or too many", async () => {
    const path = join(await temporaryFolder(), "run.safetensors");
    await saveCheckpoint(path, { model: new Part({ x: [1] }).fill(seeded(204)) });
    await expect(loadCheckpoint(path, { net: new Part({ x: [1] }) })).rejects.toThrow(
      /missing: 1 part\(s\): net\n.*unexpected: 1 part\(s\): model/,
    );
  });

  it("refuses part names with dots, and files of plain weights", async () => {
    const path = join(await temporaryFolder(), "weights.safetensors");
    const part = new Part({ x: [1] }).fill(seeded(205));
    await expect(saveCheckpoint(path, { "a.b": part })).rejects.toThrow(/without dots/);
    await saveModel(path, part);
    await expect(loadCheckpoint(path, { part })).rejects.toThrow(/not a Figment checkpoint/);
  });

  it("is refused, and nothing restored, where a bit of its data or its state has turned", async () => {
    const path = join(await temporaryFolder(), "run.safetensors");
    const part = new Part({ x: [16], y: [3], z: [0] }).fill(seeded(207));
    await saveCheckpoint(path, { part }, { step: 3 });
    const whole = await readFile(path);
    const restored = new Part({ x: [16], y: [3], z: [0] }).fill(seeded(208));
    const before = await restored.values();
    // The last byte and the first of the data, and the digit of the step.
    for (const at of [whole.length - 1, whole.length - 19 * 4, whole.indexOf("3}")]) {
      const damaged = Uint8Array.from(whole);
      damaged[at] = (damaged[at] as number) ^ 4;
      await writeFile(path, damaged);
      const loading = loadCheckpoint(path, { part: restored });
      await expect(loading).rejects.toThrow(CheckpointError);
      await expect(loading).rejects.toThrow(/it is damaged: its checksum is [0-9a-f]{8}, not [0-9a-f]{8} as/);
      expect(await restored.values()).toEqual(before);
    }
    await writeFile(path, whole);
    await loadCheckpoint(path, { part: restored });
    expect(await restored.values()).toEqual(await part.values());
  });

  it("that has lost its checksum, by a bit of the key, is refused", async () => {
    const path = join(await temporaryFolder(), "run.safetensors");
    const part = new Part({ x: [4] }).fill(seeded(209));
    await saveCheckpoint(path, { part });
    const text = (await readFile(path)).toString("latin1");
    await writeFile(path, text.replace("figment.checksum", "figment.checksul"), "latin1");
    const loading = loadCheckpoint(path, { part: new Part({ x: [4] }) });
    await expect(loading).rejects.toThrow(
      /it is damaged: the metadata have "figment.checkpoint", but no "figment.checksum"/,
    );
  });

  it("cut short is refused and changes nothing", async () => {
    const path = join(await temporaryFolder(), "run.safetensors");
    const part = new Part(shapes).fill(seeded(206));
    await saveCheckpoint(path, { part });
    const before = await part.values();
    const bytes = await readFile(path);
    await writeFile(path, bytes.subarray(0, bytes.length - 3));
    await expect(loadCheckpoint(path, { part })).rejects.toThrow(CheckpointError);
    expect(await part.values()).toEqual(before);
  });
});

describe("a model file", () => {
  it("is refused where any bit of it has turned, the checksum's own among them", async () => {
    const path = join(await temporaryFolder(), "model.safetensors");
    const part = new Part({ x: [4], y: [1] }).fill(seeded(230));
    await saveModel(path, part, { metadata: { trainedOn: "digits" } });
    const whole = await readFile(path);
    const restored = new Part({ x: [4], y: [1] }).fill(seeded(231));
    const before = await restored.values();
    for (let at = 0; at < whole.length; at++) {
      const damaged = Uint8Array.from(whole);
      damaged[at] = (damaged[at] as number) ^ 1;
      await writeFile(path, damaged);
      await expect(loadModel(path, restored), `byte ${at}`).rejects.toThrow(CheckpointError);
    }
    expect(await restored.values()).toEqual(before);
    for (const open of [loadTensors, inspectFile, (at: string) => convertCheckpoint(at, `${at}.npz`)])
      await expect(open(path)).rejects.toThrow(CheckpointError);
    await writeFile(path, whole);
    await loadModel(path, restored);
    expect(await restored.values()).toEqual(await part.values());
  });

  it("is not blamed for what is wrong with the machine", async () => {
    const path = join(await temporaryFolder(), "model.safetensors");
    const part = new Part({ weight: [2] }).fill(seeded(3));
    await saveModel(path, part);
    const wrong = new UsageError("FIGMENT_TUNE is wrong");
    part.restoreState = () => {
      throw wrong;
    };
    await expect(loadModel(path, part)).rejects.toBe(wrong);
  });

  it("is named where a module takes other states than it holds", async () => {
    const path = join(await temporaryFolder(), "model.safetensors");
    const part = new Part({ weight: [2] }).fill(seeded(3));
    await saveModel(path, part);
    part.restoreState = () => {
      throw new UsageError("SGD: the saved state is that of Adam");
    };
    const refused = loadModel(path, part);
    await expect(refused).rejects.toThrow(CheckpointError);
    await expect(refused).rejects.toThrow(`${path}: SGD: the saved state is that of Adam`);
  });

  it("of others, which has no checksum, is loaded as it is", async () => {
    const path = join(await temporaryFolder(), "foreign.safetensors");
    const weight = tensor([1, 2]);
    await saveTensors(path, { x: weight }, { format: "pt" });
    weight.dispose();
    const restored = new Part({ x: [2] });
    await loadModel(path, restored);
    expect(Object.values(await restored.values())).toHaveLength(1);
  });

  it("takes no metadata under keys that Figment writes", async () => {
    const part = new Part({ x: [1] }).fill(seeded(232));
    for (const key of ["figment.checksum", "figment.model", "figment.state"])
      await expect(saveModel("unwritten.safetensors", part, { metadata: { [key]: "1" } })).rejects.toThrow(UsageError);
  });

  it("holds the weights under their own names", async () => {
    const path = join(await temporaryFolder(), "model.safetensors");
    const model = new Part(shapes).fill(seeded(207));
    await saveModel(path, model);
    const tensors = await loadTensors(path);
    expect(Object.keys(tensors).sort()).toEqual(Object.keys(shapes).sort());
    for (const x of Object.values(tensors)) x.dispose();
    const other = new Part(shapes);
    await loadModel(path, other);
    expect(await other.values()).toEqual(await model.values());
  });

  it("keeps the metadata that it is given, and refuses its own key", async () => {
    const path = join(await temporaryFolder(), "model.safetensors");
    const model = new Part(shapes).fill(seeded(210));
    await saveModel(path, model, { metadata: { recipe: "vae", config: '{"latents":2}' } });
    await using file = await SafetensorsFile.open(path);
    expect(Object.fromEntries(file.metadata)).toMatchObject({ recipe: "vae", config: '{"latents":2}' });
    await expect(saveModel(path, model, { metadata: { "figment.state": "x" } })).rejects.toThrow(/is taken/);
  });

  it("of f16 or f64 is converted to the f32 of the module", async () => {
    const path = join(await temporaryFolder(), "half.safetensors");
    using half = tensor(Float32Array.of(0.5, -1.25), { dtype: "f16" });
    using wide = tensor(Float64Array.of(3.5), { dtype: "f64" });
    await saveTensors(path, { half, wide });
    const model = new Part({ half: [2], wide: [1] });
    await loadModel(path, model);
    expect(await model.values()).toEqual({ half: [0.5, -1.25], wide: [3.5] });
  });
});
