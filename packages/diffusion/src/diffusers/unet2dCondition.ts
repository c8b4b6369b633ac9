// diffusers' UNet2DConditionModel and ours: the same network under other names. Which of its configurations have a
// counterpart, and the table of names.

import type { TorchRules } from "@figment/nn";
import type { UNet2DConditionOptions } from "../conditional/unet2dCondition.js";
import { attendedLevels, checkDepth, type Fields, readFields, refuse, type UNetConfig } from "./fields.js";
import { projections, unetNames } from "./names.js";

/**
 * Names of tensors in a UNet2DConditionModel, and ours.
 *
 * @example
 * const net = new UNet2DConditionModel({ channels: [8], heads: 2, contextDim: 12, groups: 4 });
 * torchShapes(net, { rules: unet2dConditionNames })["conv_in.weight"]?.length; // 4
 */
export const unet2dConditionNames: TorchRules = unetNames("transformer", transformer);

function transformer(theirs: string, ours: string): TorchRules {
  const [block, ourBlock] = [`${theirs}.transformer_blocks.{k}`, `${ours}.blocks.{k}`];
  const attention = (to: string, from: string): TorchRules =>
    Object.fromEntries(
      Object.entries(projections).map(([name, our]) => [`${block}.${to}.${name}`, `${ourBlock}.${from}.${our}`]),
    );
  return {
    [`${block}.norm1`]: `${ourBlock}.attentionNorm`,
    ...attention("attn1", "attention"),
    [`${block}.norm2`]: `${ourBlock}.contextNorm`,
    ...attention("attn2", "contextAttention"),
    [`${block}.norm3`]: `${ourBlock}.mlpNorm`,
    [`${block}.ff.net.0.proj`]: `${ourBlock}.mlp.0`,
    [`${block}.ff.net.2`]: `${ourBlock}.mlp.1`,
    [`${theirs}.norm`]: `${ours}.norm`,
    [`${theirs}.proj_in`]: `${ours}.projectIn`,
    [`${theirs}.proj_out`]: `${ours}.projectOut`,
  };
}

/** diffusers' defaults of the fields that are read. */
const defaults = {
  in_channels: 4,
  out_channels: 4,
  flip_sin_to_cos: true,
  freq_shift: 0,
  down_block_types: ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
  up_block_types: ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
  block_out_channels: [320, 640, 1280, 1280],
  layers_per_block: 2,
  dropout: 0,
  norm_num_groups: 32,
  norm_eps: 1e-5,
  cross_attention_dim: 1280,
  transformer_layers_per_block: 1,
  attention_head_dim: 8 as number | readonly number[],
  use_linear_projection: false,
};

const owner = "UNet2DConditionModel";

const fields: Fields<typeof defaults> = {
  owner,
  fixed: {
    center_input_sample: false,
    mid_block_type: "UNetMidBlock2DCrossAttn",
    only_cross_attention: false,
    downsample_padding: 1,
    mid_block_scale_factor: 1,
    act_fn: "silu",
    reverse_transformer_layers_per_block: null,
    encoder_hid_dim: null,
    encoder_hid_dim_type: null,
    num_attention_heads: null,
    dual_cross_attention: false,
    class_embed_type: null,
    addition_embed_type: null,
    num_class_embeds: null,
    resnet_time_scale_shift: "default",
    resnet_skip_time_act: false,
    resnet_out_scale_factor: 1,
    time_embedding_type: "positional",
    time_embedding_dim: null,
    time_embedding_act_fn: null,
    timestep_post_act: null,
    time_cond_proj_dim: null,
    conv_in_kernel: 3,
    conv_out_kernel: 3,
    attention_type: "default",
    cross_attention_norm: null,
  },
  defaults,
  nullable: [],
  numberOrList: ["attention_head_dim"],
};

/**
 * The options of our network for a UNet2DConditionModel's config.json, with diffusers' defaults for what is missing.
 *
 * @throws CheckpointError naming the field whose value has no counterpart.
 * @example
 * const options = unet2dConditionFromConfig({ cross_attention_dim: 768 }); // Stable Diffusion 1.5
 * new UNet2DConditionModel(options).parameterCount; // 859520964
 */
export function unet2dConditionFromConfig(config: UNetConfig): UNet2DConditionOptions {
  const read = readFields(config, fields);
  const attentionLevels = attendedLevels(owner, read, "{}Block2D", "CrossAttn{}Block2D");
  checkDepth(owner, "transformer_layers_per_block", read.transformer_layers_per_block);
  const { block_out_channels: channels, attention_head_dim: heads } = read;
  if (Array.isArray(heads) && heads.length !== channels.length)
    throw refuse(owner, "attention_head_dim", heads, `a number, or one for each of ${channels.length} levels`);
  return {
    inChannels: read.in_channels,
    outChannels: read.out_channels,
    channels,
    blocks: read.layers_per_block,
    attentionLevels,
    // The field's name is a mistake of theirs that their files keep: it is the number of heads.
    heads,
    contextDim: read.cross_attention_dim,
    transformerLayers: read.transformer_layers_per_block,
    linearProjection: read.use_linear_projection,
    groups: read.norm_num_groups,
    normEps: read.norm_eps,
    sinusoids: { frequencyShift: read.freq_shift, cosinesFirst: read.flip_sin_to_cos },
    dropout: read.dropout,
  };
}
