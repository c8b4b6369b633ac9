// Names of the tensors in diffusers' U-Nets and ours, as far as their kinds share them.

import type { TorchRules } from "@figment/nn";

/** Names of a U-Net whose blocks' attentions are called `attention` here, and of what they consist of. */
export const unetNames = (attention: string, parts: (theirs: string, ours: string) => TorchRules): TorchRules => ({
  "time_embedding.linear_1": "time.first",
  "time_embedding.linear_2": "time.second",
  conv_in: "first",
  conv_norm_out: "norm",
  conv_out: "last",
  ...residual("{side}_blocks.{i}.resnets.{j}", "{side}.{i}.stages.{j}.block"),
  ...parts("{side}_blocks.{i}.attentions.{j}", `{side}.{i}.stages.{j}.${attention}`),
  "down_blocks.{i}.downsamplers.0.conv": "down.{i}.resample.conv",
  "up_blocks.{i}.upsamplers.0.conv": "up.{i}.resample.conv",
  ...residual("mid_block.resnets.0", "middle.0.block"),
  ...parts("mid_block.attentions.0", `middle.0.${attention}`),
  ...residual("mid_block.resnets.1", "middle.1"),
});

function residual(theirs: string, ours: string): TorchRules {
  return {
    [`${theirs}.time_emb_proj`]: `${ours}.time`,
    [`${theirs}.conv_shortcut`]: `${ours}.shortcut`,
    [theirs]: ours,
  };
}

/** Names of an attention's projections. */
export const projections = { to_q: "query", to_k: "key", to_v: "value", "to_out.0": "output" } as const;
