// The network of Stable Diffusion: what diffusers recorded of its own, its size, and what it refuses.

import { readFileSync } from "node:fs";
import {
  UNet2DConditionModel,
  type UNet2DConditionOptions,
  type UNetConfig,
  unet2dConditionFromConfig,
  unet2dConditionNames,
} from "@figment/diffusion";
import { exportTorch, importTorch, summary } from "@figment/nn";
import {
  assertNoLeaks,
  CheckpointError,
  compile,
  rng,
  ShapeError,
  scope,
  type Tensor,
  UsageError,
  valueAndGrad,
  zeros,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { goldenFile } from "../../tensor/test/support/golden.js";
import { times } from "./support.js";

const folder = new URL("./golden/", import.meta.url);
const golden = goldenFile("conditional", folder);
const configs = JSON.parse(readFileSync(new URL("conditional.json", folder), "utf8")) as Record<string, UNetConfig>;
const names = Object.keys(configs);
const random = rng(41);
afterAll(() => {
  random.dispose();
  assertNoLeaks();
});

const small: UNet2DConditionOptions = { channels: [4, 8], blocks: 1, heads: 2, contextDim: 6, groups: 4 };
const last = (x: Tensor): Tensor => x.transpose([0, 2, 3, 1]);
const first = (x: Tensor): Tensor => x.transpose([0, 3, 1, 2]);

/** The recorded network. */
function recorded(name: string): UNet2DConditionModel {
  const net = new UNet2DConditionModel(unet2dConditionFromConfig(configs[name] as UNetConfig)).eval();
  scope(() => {
    const weights = golden
      .keys(`${name}.weights`)
      .map((key) => [key, golden.tensor(`${name}.weights/${key}`)] as const);
    importTorch(net, Object.fromEntries(weights), { rules: unet2dConditionNames });
  });
  return net;
}

const recordedInputs = (name: string): [Tensor, Tensor, Tensor] => [
  last(golden.tensor(`${name}/x`)),
  golden.tensor(`${name}/t`),
  golden.tensor(`${name}/context`),
];

it("was recorded by the script beside it, from PyTorch 2", () => {
  expect(golden.metadata.script_sha256).toBe(golden.scriptHash());
  expect(golden.metadata.torch).toMatch(/^2\./);
});

describe("UNet2DConditionModel", () => {
  it.each(names)("is diffusers' network, with its weights and its configuration: %s", (name) => {
    using net = recorded(name);
    scope(() => golden.expect(first(net.forward(...recordedInputs(name))), `${name}/y`));
  });

  it.each(names)("gives the same from a compiled function, and nearly the same in bf16: %s", (name) => {
    using net = recorded(name);
    scope(() => {
      const inputs = recordedInputs(name);
      for (const [precision, tolerance] of [["highest", 1e-5] as const, ["bf16", 3e-2] as const]) {
        const run = compile((x: Tensor, t: Tensor, context: Tensor) => net.forward(x, t, context), { precision });
        const ours = first(run(...inputs)).dataSync();
        run.dispose();
        const { array } = golden.read(`${name}/y`);
        const distance = Math.hypot(...array.map((y, i) => y - (ours[i] as number))) / Math.hypot(...array);
        expect(distance).toBeLessThan(tolerance);
      }
    });
  });

  it.each(names)("gives its weights back under diffusers' names: %s", (name) => {
    using net = recorded(name);
    const weights = exportTorch(net, { rules: unet2dConditionNames });
    expect(Object.keys(weights).sort()).toEqual(golden.keys(`${name}.weights`).sort());
    for (const [key, tensor] of Object.entries(weights)) {
      golden.expect(tensor, `${name}.weights/${key}`);
      tensor.dispose();
    }
  });

  it("has the parameters of Stable Diffusion 1.5 without options", () => {
    expect(new UNet2DConditionModel().parameterCount).toBe(859_520_964);
    expect(new UNet2DConditionModel(unet2dConditionFromConfig({ cross_attention_dim: 768 })).parameterCount).toBe(
      859_520_964,
    );
  });

  it("has those of Stable Diffusion 2.1 with its configuration", () => {
    const config = { attention_head_dim: [5, 10, 20, 20], cross_attention_dim: 1024, use_linear_projection: true };
    expect(new UNet2DConditionModel(unet2dConditionFromConfig(config)).parameterCount).toBe(865_910_724);
  });

  it("gives every parameter a derivative", () => {
    using net = new UNet2DConditionModel(small).init(random);
    scope(() => {
      for (const [path, parameter] of net.namedParameters())
        if (path.includes("conv2")) parameter.set(random.normal(parameter.shape));
      const [x, context] = [random.normal([2, 6, 6, 4]), random.normal([2, 3, 6])];
      const loss = (): Tensor => net.forward(x, times(2, 40), context).square().mean();
      const { grads } = valueAndGrad(loss, { wrt: net })();
      const silent = [...net.namedParameters()].filter(([, parameter]) =>
        grads
          .get(parameter)
          .dataSync()
          .every((value) => value === 0),
      );
      expect(silent.map(([path]) => path)).toEqual([]);
    });
  });

  it("sees the context, and each sample its own", () => {
    using net = new UNet2DConditionModel(small).init(random);
    scope(() => {
      const x = random.normal([1, 4, 4, 4]).broadcastTo([2, 4, 4, 4]);
      const context = random.normal([2, 3, 6]);
      const [a, b] = [0, 1].map((i) => [...net.forward(x, times(2, 5), context).at(i).dataSync()]);
      expect(a).not.toEqual(b);
    });
  });

  it("has the FLOPs of its attention and its perceptrons in its summary", () => {
    using net = new UNet2DConditionModel(small).init(random);
    const { rows } = scope(() => summary(net, zeros([1, 4, 4, 4]), times(1, 0), zeros([1, 3, 6])));
    const flopsOf = (path: string): number | undefined => rows.find((row) => row.path === path)?.flops;
    const block = "down.0.stages.0.transformer.blocks.0";
    // Scores and mixing of 16 pixels with 3 words; four projections, two of them of the words.
    expect(flopsOf(`${block}.contextAttention`)).toBe(4 * 16 * 3 * 4 + 2 * (2 * 16 * 4 * 4) + 2 * (2 * 3 * 6 * 4));
    expect(flopsOf(`${block}.mlp.0`)).toBe(2 * 16 * 4 * 32);
  });

  it("refuses operands that do not fit", () => {
    using net = new UNet2DConditionModel(small).init(random);
    scope(() => {
      const [x, context] = [zeros([2, 4, 4, 4]), zeros([2, 3, 6])];
      expect(() => net.forward(zeros([2, 4, 4, 3]), times(2, 0), context)).toThrow(ShapeError);
      expect(() => net.forward(x, times(1, 0), context)).toThrow(ShapeError);
      expect(() => net.forward(x, times(2, 0), zeros([2, 3, 5]))).toThrow(/context \[N, K, 6\], got .*\[2, 3, 5\]/);
      expect(() => net.forward(x, times(2, 0), zeros([1, 3, 6]))).toThrow(ShapeError);
      expect(() => net.forward(x, times(2, 0), undefined as unknown as Tensor)).toThrow(
        /expected a tensor for context/,
      );
    });
  });

  it.each<UNet2DConditionOptions>([
    { channels: [] },
    { channels: [4, 0] },
    { blocks: 0 },
    { heads: [2] },
    { heads: [2, 3] },
    { attentionLevels: [2] },
    { contextDim: 0 },
    { transformerLayers: 0 },
    { groups: 0 },
    { dropout: 1 },
  ])("refuses %o when it is made", (options) => {
    expect(() => new UNet2DConditionModel({ ...small, ...options })).toThrow(UsageError);
  });

  it.each([
    [{ class_embed_type: "timestep" }, /class_embed_type is "timestep"/],
    [{ addition_embed_type: "text_time" }, /addition_embed_type/],
    [{ mid_block_type: "UNetMidBlock2D" }, /mid_block_type/],
    [{ attention_head_dim: [8, 8] }, /attention_head_dim/],
    [{ cross_attention_dim: [768, 768] }, /cross_attention_dim is \[768,768\]; expected a number/],
    [
      { down_block_types: ["AttnDownBlock2D", "DownBlock2D", "DownBlock2D", "DownBlock2D"] },
      /expected DownBlock2D or CrossAttnDownBlock2D/,
    ],
  ])("has no counterpart of %j", (config, message) => {
    expect(() => unet2dConditionFromConfig(config)).toThrow(CheckpointError);
    expect(() => unet2dConditionFromConfig(config)).toThrow(message);
  });
});
