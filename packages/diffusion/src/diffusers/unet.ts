// diffusers' UNet2DModel and our UNet: the same network under other names. Which of its configurations have a counterpart,
// and the table of names.

import { GroupNorm, type TorchRules } from "@figment/nn";
import { CheckpointError, UsageError } from "@figment/tensor";
import type { UNet, UNetOptions } from "../unet.js";

/** The fields of a UNet2DModel's config.json. */
export type UNetConfig = Readonly<Record<string, unknown>>;

/**
 * Names of tensors in a UNet2DModel, and ours.
 *
 * @example
 * const net = new UNet({ inChannels: 1, channels: [8], groups: 8 });
 * torchShapes(net, { rules: unet2dNames })["conv_in.weight"]?.length; // 4
 */
export const unet2dNames: TorchRules = {
  "time_embedding.linear_1": "time.first",
  "time_embedding.linear_2": "time.second",
  class_embedding: "label",
  conv_in: "first",
  conv_norm_out: "norm",
  conv_out: "last",
  ...residual("{side}_blocks.{i}.resnets.{j}", "{side}.{i}.stages.{j}.block"),
  ...attention("{side}_blocks.{i}.attentions.{j}", "{side}.{i}.stages.{j}.attention"),
  "down_blocks.{i}.downsamplers.0.conv": "down.{i}.resample.conv",
  "up_blocks.{i}.upsamplers.0.conv": "up.{i}.resample.conv",
  ...residual("mid_block.resnets.0", "middle.0.block"),
  ...attention("mid_block.attentions.0", "middle.0.attention"),
  ...residual("mid_block.resnets.1", "middle.1"),
};

function residual(theirs: string, ours: string): TorchRules {
  return {
    [`${theirs}.time_emb_proj`]: `${ours}.time`,
    [`${theirs}.conv_shortcut`]: `${ours}.shortcut`,
    [theirs]: ours,
  };
}

/** Attention, and the names that it had before diffusers 0.15. */
function attention(theirs: string, ours: string): TorchRules {
  const projections = { to_q: "query", to_k: "key", to_v: "value", "to_out.0": "output" };
  const older = { query: "query", key: "key", value: "value", proj_attn: "output" };
  const rules = [projections, older].flatMap((names) =>
    Object.entries(names).map(([name, to]) => [`${theirs}.${name}`, `${ours}.attention.${to}`] as const),
  );
  return { [`${theirs}.group_norm`]: `${ours}.norm`, ...Object.fromEntries(rules) };
}

/** Fields whose only value with a counterpart is this one. */
const fixed: Readonly<Record<string, unknown>> = {
  center_input_sample: false,
  time_embedding_type: "positional",
  mid_block_type: "UNetMidBlock2D",
  mid_block_scale_factor: 1,
  downsample_type: "conv",
  upsample_type: "conv",
  act_fn: "silu",
  class_embed_type: null,
};

/** diffusers' defaults of the fields that are read. */
const defaults = {
  in_channels: 3,
  out_channels: 3,
  freq_shift: 0,
  flip_sin_to_cos: true,
  down_block_types: ["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"],
  up_block_types: ["AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
  block_out_channels: [224, 448, 672, 896],
  layers_per_block: 2,
  downsample_padding: 1,
  dropout: 0,
  attention_head_dim: 8 as number | null,
  norm_num_groups: 32,
  attn_norm_num_groups: null as number | null,
  norm_eps: 1e-5,
  resnet_time_scale_shift: "default",
  add_attention: true,
  time_embedding_dim: null as number | null,
  num_class_embeds: null as number | null,
  sample_size: null as number | readonly number[] | null,
};

const refuse = (field: string, value: unknown, expected: string): CheckpointError =>
  new CheckpointError(`UNet2DModel: ${field} is ${JSON.stringify(value)}; expected ${expected}`);

/** Checks that a field has the type of its default. */
function checkType(field: string, value: unknown, example: unknown): void {
  if (
    value === null &&
    ["attention_head_dim", "attn_norm_num_groups", "time_embedding_dim", "num_class_embeds", "sample_size"].includes(
      field,
    )
  )
    return;
  const list = Array.isArray(example);
  const expected = example === null ? "number" : typeof example;
  const good = list
    ? Array.isArray(value) && value.every((item) => typeof item === typeof example[0])
    : typeof value === expected || (field === "sample_size" && Array.isArray(value));
  if (!good) throw refuse(field, value, list ? `a list of ${typeof example[0]}s` : `a ${expected}`);
}

/** Whether each level has attention, from the types of blocks, the finest level first. */
function attentionOf(field: string, types: readonly string[], plain: string, attending: string): boolean[] {
  return types.map((type) => {
    if (type !== plain && type !== attending) throw refuse(field, type, `${plain} or ${attending}`);
    return type === attending;
  });
}

/**
 * The options of our U-Net for a UNet2DModel's config.json, with diffusers' defaults for what is missing.
 *
 * @throws CheckpointError naming the field whose value has no counterpart.
 * @example
 * const options = unetFromConfig({ block_out_channels: [32, 64], down_block_types: ["DownBlock2D", "AttnDownBlock2D"],
 *   up_block_types: ["AttnUpBlock2D", "UpBlock2D"], in_channels: 1, out_channels: 1 });
 * new UNet(options).inChannels; // 1
 */
export function unetFromConfig(config: UNetConfig): UNetOptions {
  for (const [field, value] of Object.entries(fixed))
    if (config[field] !== undefined && config[field] !== value)
      throw refuse(field, config[field], JSON.stringify(value));
  const fields = { ...defaults };
  for (const [field, example] of Object.entries(defaults)) {
    const value = config[field];
    if (value === undefined) continue;
    checkType(field, value, example);
    Object.assign(fields, { [field]: value });
  }
  const down = attentionOf("down_block_types", fields.down_block_types, "DownBlock2D", "AttnDownBlock2D");
  const up = attentionOf("up_block_types", fields.up_block_types, "UpBlock2D", "AttnUpBlock2D").reverse();
  const channels = fields.block_out_channels;
  if (down.length !== channels.length || up.length !== channels.length)
    throw refuse(
      "block_out_channels",
      channels,
      `as many levels as down_block_types and up_block_types (${down.length}, ${up.length})`,
    );
  if (down.join() !== up.join())
    throw refuse("up_block_types", fields.up_block_types, "attention at the levels where down_block_types has it");
  const groups = fields.norm_num_groups;
  const uneven = channels.find((count) => count % groups !== 0);
  if (uneven !== undefined) throw refuse("norm_num_groups", groups, `a divisor of all channels, ${uneven} among them`);
  const scaleShift = fields.resnet_time_scale_shift === "scale_shift";
  if (!scaleShift && fields.resnet_time_scale_shift !== "default")
    throw refuse("resnet_time_scale_shift", fields.resnet_time_scale_shift, '"default" or "scale_shift"');
  const inMiddle = fields.attn_norm_num_groups ?? (scaleShift ? null : groups);
  if (fields.add_attention && inMiddle !== groups)
    throw refuse(
      "attn_norm_num_groups",
      fields.attn_norm_num_groups,
      `${groups}, the groups of the other normalisations`,
    );
  if (fields.downsample_padding !== 0 && fields.downsample_padding !== 1)
    throw refuse("downsample_padding", fields.downsample_padding, "0 or 1");
  return {
    inChannels: fields.in_channels,
    outChannels: fields.out_channels,
    channels,
    blocks: fields.layers_per_block,
    attentionLevels: down.flatMap((attends, level) => (attends ? [level] : [])),
    middleAttention: fields.add_attention,
    ...(fields.attention_head_dim === null ? { heads: 1 } : { headDim: fields.attention_head_dim }),
    dropout: fields.dropout,
    groups,
    normEps: fields.norm_eps,
    sinusoids: { frequencyShift: fields.freq_shift, cosinesFirst: fields.flip_sin_to_cos },
    downsamplePadding: fields.downsample_padding === 0 ? "end" : "around",
    scaleShift,
    ...(fields.time_embedding_dim === null ? {} : { timeDim: fields.time_embedding_dim }),
    ...(fields.num_class_embeds === null ? {} : { classes: fields.num_class_embeds }),
  };
}

/**
 * The config.json of a UNet2DModel that is the same network as ours.
 *
 * @param sampleSize height and width of its images.
 * @throws UsageError saying what has no counterpart there.
 * @example
 * const net = new UNet({ inChannels: 1, channels: [32, 64], attentionLevels: [1], groups: 32 });
 * unetConfig(net, 28).layers_per_block; // 1
 */
export function unetConfig(unet: UNet, sampleSize: number | readonly [height: number, width: number]): UNetConfig {
  const { options } = unet;
  const { channels, scaleShift = false, sinusoids = {}, dropout = 0, timeDim, classes, nullClass = false } = options;
  const cannot = (what: string): UsageError => new UsageError(`UNet2DModel: has no counterpart of ${what}`);
  if (unet.patch !== 1) throw cannot(`patches of ${unet.patch}×${unet.patch}`);
  const groups = new Set(
    [...unet.namedModules()].flatMap(([, module]) => (module instanceof GroupNorm ? [module.groups] : [])),
  );
  if (groups.size !== 1) throw cannot(`normalisations in different numbers of groups, ${[...groups].join(", ")}`);
  if (sinusoids.maxPeriod !== undefined && sinusoids.maxPeriod !== 10_000) throw cannot("another longest period");
  const attended = unet.down.map(({ stages }) => stages.some(({ attention }) => attention !== null));
  const middle = unet.middle[0].attention !== null;
  if (scaleShift && middle && options.groups === undefined)
    throw cannot("attention in the middle without given groups");
  return {
    _class_name: "UNet2DModel",
    _diffusers_version: writtenFor,
    sample_size: sampleSize,
    in_channels: options.inChannels,
    out_channels: options.outChannels ?? options.inChannels,
    ...fixed,
    freq_shift: sinusoids.frequencyShift ?? 1,
    flip_sin_to_cos: sinusoids.cosinesFirst ?? false,
    down_block_types: attended.map((attends) => (attends ? "AttnDownBlock2D" : "DownBlock2D")),
    up_block_types: [...attended].reverse().map((attends) => (attends ? "AttnUpBlock2D" : "UpBlock2D")),
    block_out_channels: [...channels],
    layers_per_block: options.blocks ?? 1,
    downsample_padding: options.downsamplePadding === "end" ? 0 : 1,
    dropout,
    attention_head_dim: headDimOf(unet),
    norm_num_groups: [...groups][0],
    attn_norm_num_groups: scaleShift ? [...groups][0] : null,
    norm_eps: options.normEps ?? 1e-5,
    resnet_time_scale_shift: scaleShift ? "scale_shift" : "default",
    add_attention: middle,
    time_embedding_dim: timeDim ?? null,
    num_class_embeds: classes === undefined ? null : classes + Number(nullClass),
  };
}

/** The version of diffusers whose fields are written. */
export const writtenFor = "0.40.0";

/** Channels of a head: one number for all levels, or null for one head that has all. */
function headDimOf({ down, middle }: UNet): number | null {
  const attentions = [...down.flatMap(({ stages }) => stages), middle[0]].flatMap(({ attention }) => attention ?? []);
  if (attentions.every(({ attention }) => attention.heads === 1)) return null;
  const dims = new Set(attentions.map(({ attention }) => attention.dim / attention.heads));
  if (dims.size > 1)
    throw new UsageError(
      `UNet2DModel: has no counterpart of heads of different sizes, ${[...dims].join(", ")}; use headDim`,
    );
  return [...dims][0] ?? null;
}
