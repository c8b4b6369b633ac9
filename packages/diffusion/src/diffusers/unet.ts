// diffusers' UNet2DModel and our UNet: the same network under other names. Which of its configurations have a counterpart,
// and the table of names.

import { GroupNorm, type TorchRules } from "@figment/nn";
import { checkObject, UsageError } from "@figment/tensor";
import type { UNet, UNetOptions } from "../unet.js";
import { attendedLevels, type Fields, readFields, refuse as refuseFor, type UNetConfig } from "./fields.js";
import { projections, unetNames } from "./names.js";

/**
 * Names of tensors in a UNet2DModel, and ours.
 *
 * @example
 * const net = new UNet({ inChannels: 1, channels: [8], groups: 8 });
 * torchShapes(net, { rules: unet2dNames })["conv_in.weight"]?.length; // 4
 */
export const unet2dNames: TorchRules = { class_embedding: "label", ...unetNames("attention", attention) };

/** Attention, and the names that it had before diffusers 0.15. */
function attention(theirs: string, ours: string): TorchRules {
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

const owner = "UNet2DModel";

const fields: Fields<typeof defaults> = {
  owner,
  fixed,
  defaults,
  nullable: ["attention_head_dim", "attn_norm_num_groups", "time_embedding_dim", "num_class_embeds", "sample_size"],
  numberOrList: ["sample_size"],
};

const refuse = (field: string, value: unknown, expected: string) => refuseFor(owner, field, value, expected);

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
  const read = readFields(config, fields);
  const attentionLevels = attendedLevels(owner, read, "{}Block2D", "Attn{}Block2D");
  const { block_out_channels: channels, norm_num_groups: groups } = read;
  const scaleShift = read.resnet_time_scale_shift === "scale_shift";
  if (!scaleShift && read.resnet_time_scale_shift !== "default")
    throw refuse("resnet_time_scale_shift", read.resnet_time_scale_shift, '"default" or "scale_shift"');
  const inMiddle = read.attn_norm_num_groups ?? (scaleShift ? null : groups);
  if (read.add_attention && inMiddle !== groups)
    throw refuse(
      "attn_norm_num_groups",
      read.attn_norm_num_groups,
      `${groups}, the groups of the other normalisations`,
    );
  if (read.downsample_padding !== 0 && read.downsample_padding !== 1)
    throw refuse("downsample_padding", read.downsample_padding, "0 or 1");
  return {
    inChannels: read.in_channels,
    outChannels: read.out_channels,
    channels,
    blocks: read.layers_per_block,
    attentionLevels,
    middleAttention: read.add_attention,
    ...(read.attention_head_dim === null ? { heads: 1 } : { headDim: read.attention_head_dim }),
    dropout: read.dropout,
    groups,
    normEps: read.norm_eps,
    sinusoids: { frequencyShift: read.freq_shift, cosinesFirst: read.flip_sin_to_cos },
    downsamplePadding: read.downsample_padding === 0 ? "end" : "around",
    scaleShift,
    ...(read.time_embedding_dim === null ? {} : { timeDim: read.time_embedding_dim }),
    ...(read.num_class_embeds === null ? {} : { classes: read.num_class_embeds }),
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
  const { options } = checkObject("unetConfig", "unet", unet, "options");
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
