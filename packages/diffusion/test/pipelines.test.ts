// Folders of diffusers, read and written: what diffusers recorded of its own, and what it makes of ours where it is at hand.

import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  Diffusion,
  linearBetas,
  loadPipeline,
  savePipeline,
  torchNoise,
  UNet,
  unetConfig,
  unetFromConfig,
} from "@figment/diffusion";
import { assertNoLeaks, CheckpointError, rng, scope, type Tensor, UsageError } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { goldenFile } from "../../tensor/test/support/golden.js";

const golden = goldenFile("pipelines", new URL("./golden/", import.meta.url));
const recorded = fileURLToPath(new URL("./golden/pipelines", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "figment-pipelines-"));
const random = rng(31);
afterAll(() => {
  rmSync(folder, { recursive: true });
  random.dispose();
  assertNoLeaks();
});

const last = (x: Tensor): Tensor => x.transpose([0, 2, 3, 1]);
const first = (x: Tensor): Tensor => x.transpose([0, 3, 1, 2]);
const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Math.hypot(...Array.from(a, (x, i) => x - (b[i] as number))) / Math.hypot(...Array.from(b));

/** What keeps diffusers from being used here, or null. */
const noDiffusers = ((): string | null => {
  const { status, error, stderr } = spawnSync("python3", ["-c", "from diffusers import DDPMPipeline"], {
    encoding: "utf8",
  });
  return status === 0 ? null : (error?.message ?? stderr.trim().split("\n").at(-1) ?? "python3 failed");
})();

it("the folders were recorded by the script beside them, from PyTorch 2", () => {
  expect(golden.metadata.script_sha256).toBe(golden.scriptHash());
  expect(golden.metadata.torch).toMatch(/^2\./);
});

describe("a folder of diffusers", () => {
  it("with the options of google/ddpm-cifar10-32 is the same network here", async () => {
    using pipeline = await loadPipeline(join(recorded, "cifar"));
    scope(() => {
      const y = pipeline.model.forward(last(golden.tensor("cifar/x")), golden.tensor("cifar/t"));
      golden.expect(first(y), "cifar/y");
    });
  });

  it("with classes, other defaults and an old file of weights is the same network here", async () => {
    using pipeline = await loadPipeline(join(recorded, "classes"));
    expect(pipeline.imageSize).toEqual([8, 12]);
    scope(() => {
      const [x, t, label] = ["x", "t", "label"].map((name) => golden.tensor(`classes/${name}`)) as [
        Tensor,
        Tensor,
        Tensor,
      ];
      golden.expect(first(pipeline.model.forward(last(x), t, label)), "classes/y");
    });
  });

  it.each([
    ["ddpm", { _class_name: "DDPMScheduler", variance_type: "fixed_large" }],
    ["ddim", { _class_name: "DDIMScheduler" }],
  ])("draws the images here that diffusers draws for the seed, %s", async (name, scheduler) => {
    const copy = join(folder, `seed-${name}`);
    cpSync(join(recorded, "cifar"), copy, { recursive: true });
    writeFileSync(join(copy, "scheduler", "scheduler_config.json"), JSON.stringify(scheduler));
    using pipeline = await loadPipeline(copy);
    using x = await pipeline.sample(2, { steps: 10, noise: torchNoise(3) });
    using back = first(x);
    expect(distance(await back.data(), golden.read(`cifar/${name}`).array)).toBeLessThan(1e-4);
  });

  it("comes back from us with the same configuration and weights", async () => {
    for (const name of ["cifar", "classes"]) {
      const copy = join(folder, `again-${name}`);
      using pipeline = await loadPipeline(join(recorded, name));
      await savePipeline(copy, {
        model: pipeline.model,
        scheduler: pipeline.schedulerConfig,
        imageSize: pipeline.imageSize,
      });
      const read = (path: string): Record<string, unknown> =>
        JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
      const [theirs, ours] = [recorded, folder].map((root) =>
        read(join(root, root === recorded ? name : `again-${name}`, "unet", "config.json")),
      ) as [Record<string, unknown>, Record<string, unknown>];
      for (const [field, value] of Object.entries(ours))
        if (!field.startsWith("_")) {
          // Where time and attention are as the defaults say, they may be written or left out.
          const written = theirs[field] ?? null;
          if (field !== "attn_norm_num_groups" && field !== "time_embedding_dim") expect(value, field).toEqual(written);
        }
      using again = await loadPipeline(copy);
      const [before, after] = [pipeline.model.stateDict(), again.model.stateDict()];
      for (const [path, cell] of Object.entries(before)) {
        using a = cell.value;
        using b = (after[path] as typeof cell).value;
        expect(b.dataSync(), path).toEqual(a.dataSync());
      }
    }
  });
});

describe("a folder of ours", () => {
  it.skipIf(noDiffusers !== null)(
    `is read by diffusers, which draws the same images${noDiffusers ? ` (${noDiffusers})` : ""}`,
    async () => {
      const model = new UNet({
        inChannels: 2,
        channels: [8, 16],
        blocks: 2,
        attention: [4],
        imageSize: 8,
        headDim: 4,
        groups: 8,
      }).init(random);
      scope(() => {
        // Layers that start at zero would hide what comes before them.
        for (const parameter of model.parameters())
          parameter.set(parameter.value.add(random.normal(parameter.shape).mul(0.05)));
      });
      using diffusion = new Diffusion({ betas: linearBetas(100, 1e-3, 0.1), predict: "v" });
      const out = join(folder, "ours");
      await savePipeline(out, { model, diffusion, imageSize: 8 });
      const file = join(folder, "theirs.safetensors");
      const script = fileURLToPath(new URL("./golden/pipelines.py", import.meta.url));
      const { status, stderr } = spawnSync("python3", ["-B", script, out, file], { encoding: "utf8" });
      expect(status, stderr).toBe(0);
      using pipeline = await loadPipeline(out);
      using x = await pipeline.sample(2, { steps: 5, noise: torchNoise(7) });
      using back = first(x);
      const bytes = readFileSync(file);
      const data = bytes.subarray(8 + Number(bytes.readBigUInt64LE(0)));
      const theirs = new Float32Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength));
      expect(distance(await back.data(), theirs)).toBeLessThan(1e-4);
      model.dispose();
    },
    120_000,
  );

  it("is refused where there is no counterpart, saying why", async () => {
    using diffusion = new Diffusion({ betas: linearBetas(10) });
    const refuses = (options: ConstructorParameters<typeof UNet>[0], message: RegExp): void =>
      expect(() => unetConfig(new UNet(options), 8)).toThrow(message);
    refuses({ inChannels: 1, channels: [8], patch: 2 }, /patches of 2×2/);
    refuses({ inChannels: 1, channels: [8, 12] }, /different numbers of groups/);
    refuses({ inChannels: 1, channels: [8, 16], heads: 2, attentionLevels: [0, 1] }, /heads of different sizes/);
    const model = new UNet({ inChannels: 1, channels: [8] });
    await expect(savePipeline(join(folder, "none"), { model, imageSize: 8 })).rejects.toThrow(UsageError);
    using learned = new Diffusion({ betas: linearBetas(10), variance: "learned" });
    const told = savePipeline(join(folder, "none"), { model, imageSize: 8, diffusion: learned });
    await expect(told).rejects.toThrow(/variances that are "learned"/);
    expect(diffusion.steps).toBe(10);
  });
});

describe("configurations without a counterpart", () => {
  const base = {
    block_out_channels: [8, 16],
    down_block_types: ["DownBlock2D", "AttnDownBlock2D"],
    up_block_types: ["AttnUpBlock2D", "UpBlock2D"],
    norm_num_groups: 8,
  };

  it("are read when they have one", () => {
    expect(unetFromConfig(base)).toMatchObject({ channels: [8, 16], attentionLevels: [1], headDim: 8, groups: 8 });
  });

  it.each([
    [
      { down_block_types: ["DownBlock2D", "SkipDownBlock2D"] },
      /down_block_types is "SkipDownBlock2D"; expected DownBlock2D or AttnDownBlock2D/,
    ],
    [{ up_block_types: ["UpBlock2D", "AttnUpBlock2D"] }, /up_block_types.*attention at the levels/],
    [{ block_out_channels: [8] }, /block_out_channels/],
    [{ norm_num_groups: 5 }, /norm_num_groups is 5; expected a divisor of all channels, 8/],
    [{ time_embedding_type: "fourier" }, /time_embedding_type is "fourier"/],
    [{ act_fn: "gelu" }, /act_fn/],
    [{ resnet_time_scale_shift: "scale_shift" }, /attn_norm_num_groups/],
    [{ downsample_padding: 2 }, /downsample_padding/],
    [{ layers_per_block: "two" }, /layers_per_block is "two"; expected a number/],
    [{ layers_per_block: 20_000 }, /layers_per_block is 20000; expected an integer from 1 to 64/],
    [
      {
        block_out_channels: new Array(33).fill(8),
        down_block_types: new Array(33).fill("DownBlock2D"),
        up_block_types: new Array(33).fill("UpBlock2D"),
      },
      /block_out_channels is 33; expected at most 32 levels/,
    ],
    [{ center_input_sample: true }, /center_input_sample/],
  ])("%j", (change, message) => {
    expect(() => unetFromConfig({ ...base, ...change })).toThrow(CheckpointError);
    expect(() => unetFromConfig({ ...base, ...change })).toThrow(message);
  });

  it("of whole folders are told by the file", async () => {
    const copy = (name: string): string => {
      const to = join(folder, name);
      cpSync(join(recorded, "cifar"), to, { recursive: true });
      return to;
    };
    await expect(loadPipeline(join(folder, "nothing"))).rejects.toThrow(/model_index.json: cannot be read/);
    const other = copy("other");
    writeFileSync(join(other, "model_index.json"), JSON.stringify({ unet: ["diffusers", "UNet2DConditionModel"] }));
    await expect(loadPipeline(other)).rejects.toThrow(/unet is \["diffusers","UNet2DConditionModel"\]/);
    const broken = copy("broken");
    writeFileSync(join(broken, "scheduler", "scheduler_config.json"), "{");
    await expect(loadPipeline(broken)).rejects.toThrow(/scheduler_config.json: is no JSON/);
    // A string without an end in which every quote might begin one: hours, were each of them tried.
    writeFileSync(join(broken, "scheduler", "scheduler_config.json"), `{"a": "${'\\"'.repeat(400_000)}`);
    await expect(loadPipeline(broken)).rejects.toThrow(/scheduler_config.json: is no JSON/);
    const sized = copy("sized");
    const unet = JSON.parse(readFileSync(join(sized, "unet", "config.json"), "utf8")) as object;
    for (const size of [-3, [8, "a"], 1e9]) {
      writeFileSync(join(sized, "unet", "config.json"), JSON.stringify({ ...unet, sample_size: size }));
      await expect(loadPipeline(sized)).rejects.toThrow(/sample_size is .*; expected (a number|one or two integers)/);
    }
    writeFileSync(
      join(broken, "scheduler", "scheduler_config.json"),
      '{"_class_name": "DDPMScheduler", "limit": -Infinity}',
    );
    (await loadPipeline(broken)).dispose();
    const bare = copy("bare");
    rmSync(join(bare, "unet", "diffusion_pytorch_model.safetensors"));
    await expect(loadPipeline(bare)).rejects.toThrow(/has neither diffusion_pytorch_model.safetensors/);
    const deeper = copy("deeper");
    const config = JSON.parse(readFileSync(join(deeper, "unet", "config.json"), "utf8")) as object;
    writeFileSync(join(deeper, "unet", "config.json"), JSON.stringify({ ...config, layers_per_block: 2 }));
    await expect(loadPipeline(deeper)).rejects.toThrow(/missing: down_blocks.0.resnets.1.norm1.weight/);
  });
});
