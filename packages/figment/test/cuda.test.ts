// The command and the server on the GPU of the tests: where they compute, what they say of it, and what they refuse.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { assertNoLeaks, ModelServer, openModel, type Tensor, withDevice } from "figment";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { expectNear, hasGpu, onBoth } from "../../tensor/test/support/onDevices.ts";
import { figment } from "./support/command.js";
import { flatRecipe } from "./support/flatRecipe.js";

const folder = mkdtempSync(path.join(os.tmpdir(), "figment-cuda-"));
const recipe = path.join(folder, "flat.ts");
writeFileSync(recipe, flatRecipe("ts"));
afterEach(() => vi.unstubAllEnvs());
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
  assertNoLeaks();
});

const summaryOf = (out: string) => JSON.parse(readFileSync(path.join(out, "summary.json"), "utf8"));

describe("--device", () => {
  it("says why a GPU cannot be used, and how to get one", async () => {
    vi.stubEnv("FIGMENT_CUDA", "0");
    const { code, stderr } = await figment(["train", recipe, "--out", path.join(folder, "none"), "--device", "cuda"]);
    expect(code).not.toBe(0);
    expect(stderr).toContain('"cuda" cannot be used: turned off by FIGMENT_CUDA=0');
  });

  it("is the CPU by itself where there is no GPU, and says so", async () => {
    vi.stubEnv("FIGMENT_CUDA", "0");
    const out = path.join(folder, "cpu");
    const { code, stderr } = await figment(["train", recipe, "--out", out]);
    expect([code, stderr]).toEqual([0, expect.stringMatching(/^Computing on cpu \(.*\)\.$/m)]);
    expect(summaryOf(out)).toMatchObject({ device: "cpu", threads: expect.any(Number) });
  });

  it("names a device that there is", async () => {
    const { code, stderr } = await figment(["train", recipe, "--out", path.join(folder, "gpu9"), "--device", "gpu"]);
    expect([code, stderr]).toEqual([
      2,
      expect.stringContaining("--device: expected cpu, cuda, a GPU such as cuda:1, or auto, got"),
    ]);
  });
});

describe.skipIf(!hasGpu)("on a GPU the command", () => {
  const out = path.join(folder, "gpu");

  it("trains, by itself, and writes down where", async () => {
    const { code, stderr } = await figment(["train", recipe, "--out", out, "--json"]);
    expect([code, stderr]).toEqual([0, expect.stringMatching(/^Computing on cuda:0 \(.*\)\.$/m)]);
    expect(summaryOf(out)).toMatchObject({ device: "cuda:0", deviceName: expect.any(String) });
    expect(JSON.parse(readFileSync(path.join(out, "config.json"), "utf8"))).toMatchObject({ device: "cuda:0" });
  });

  it("draws from a model of either device on either", async () => {
    for (const device of ["cpu", "cuda"]) {
      const file = path.join(folder, `${device}.safetensors`);
      const { code, stderr } = await figment([
        "sample",
        out,
        "--recipe",
        recipe,
        "--count",
        "2",
        "--device",
        device,
        "--out",
        file,
      ]);
      expect([code, stderr]).toEqual([
        0,
        expect.stringContaining(`Computing on ${device === "cpu" ? "cpu" : "cuda:0"} (`),
      ]);
    }
  });

  it("lists it in doctor", async () => {
    const { code, stdout } = await figment(["doctor"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^cuda:0 +\S.*GiB of memory, \d+ multiprocessors, compute capability \d+\.\d, kernels sm\w+$/m,
    );
  });

  it("serves a model where it lies, whatever the device of whoever asks", async () => {
    const { cpu, cuda } = await onBoth(async () => {
      const server = new ModelServer(await openModel(out, { recipe }));
      const images = await withDevice("cpu", () => server.sample(2, { seed: 3 }));
      const [place, data] = [images.device, await images.data()];
      using asked = cpuImages(images);
      const back = await server.reconstruct(asked);
      const served = { device: server.device, place, data, back: back.device };
      for (const x of [images, back]) x.dispose();
      await server.close();
      return served;
    });
    expect([cpu.device, cpu.place, cpu.back]).toEqual(["cpu", "cpu", "cpu"]);
    expect([cuda.device, cuda.place, cuda.back]).toEqual(["cuda:0", "cuda:0", "cuda:0"]);
    expectNear(cuda.data, cpu.data);
  });
});

/** Images that whoever asks has on the CPU, within the model's range. */
function cpuImages(images: Tensor): Tensor {
  using clipped = images.clamp(0, 1);
  return clipped.to("cpu");
}
