// What foreign files call the weights of this package's networks: tables for nn's importTorch and exportTorch.

import type { TorchRules } from "@figment/nn";
import { checkObject } from "@figment/tensor";
import type { DcganGenerator } from "../networks/dcganGenerator.js";
import type { ResizeGenerator } from "../networks/resizeGenerator.js";
import type { CompactUpscaler } from "../restoration/compactUpscaler.js";
import type { DnCnn } from "../restoration/dncnn.js";

/** A table of foreign modules and ours, in the order of the network. */
const table = (...parts: readonly (readonly [theirs: string, ours: string])[]): TorchRules => Object.fromEntries(parts);

/**
 * The names of the DCGAN among PyTorch's examples: `main.{0,3,6,…}` are transposed convolutions, the batch norms between them.
 *
 * @example
 * const generator = new DcganGenerator({ latents: 8, channels: [8, 4] });
 * torchShapes(generator, { rules: dcganNames(generator) })["main.3.weight"]?.[0]; // 8
 */
export const dcganNames = (generator: DcganGenerator): TorchRules => {
  const { ups } = checkObject("dcganNames", "generator", generator, "ups");
  return table(
    ["main.0", "stem"],
    ...ups.flatMap((_, i): [string, string][] => [
      [`main.${3 * i + 1}`, `norms.${i}`],
      [`main.${3 * i + 3}`, `ups.${i}`],
    ]),
  );
};

/**
 * The names of the public conditional WGAN-GP generator: `label_emb`, `l1.0`, and a list `conv_blocks` that counts norms,
 * upsamplings, convolutions and activations alike.
 *
 * @example
 * const generator = new ResizeGenerator({ channels: [8, 4], classes: 10 });
 * torchShapes(generator, { rules: resizeGeneratorNames(generator) })["conv_blocks.6.weight"]?.[0]; // 4
 */
export const resizeGeneratorNames = (generator: ResizeGenerator): TorchRules => {
  const { convs } = checkObject("resizeGeneratorNames", "generator", generator, "convs");
  return table(
    ["label_emb", "label"],
    ["l1.0", "stem"],
    ["conv_blocks.0", "stemNorm"],
    ...convs.flatMap((_, i): [string, string][] => [
      [`conv_blocks.${4 * i + 2}`, `convs.${i}`],
      [`conv_blocks.${4 * i + 3}`, `norms.${i}`],
    ]),
    [`conv_blocks.${4 * convs.length + 1}`, "last"],
  );
};

/**
 * The names of DnCNN's public weights: `model.{0,2,4,…}` are convolutions, activations are counted between them.
 *
 * @example
 * const denoiser = new DnCnn({ channels: 8 });
 * torchShapes(denoiser, { rules: dnCnnNames(denoiser) })["model.32.weight"]?.[0]; // 1
 */
export const dnCnnNames = (denoiser: DnCnn): TorchRules => {
  const { convs } = checkObject("dnCnnNames", "denoiser", denoiser, "convs");
  return table(...convs.map((_, i): [string, string] => [`model.${2 * i}`, `convs.${i}`]));
};

/**
 * The names of the compact Real-ESRGAN's public weights: `body.{0,2,4,…}` are convolutions, `body.{1,3,5,…}` parametric ReLUs.
 *
 * @example
 * const upscaler = new CompactUpscaler({ channels: 8 });
 * torchShapes(upscaler, { rules: compactUpscalerNames(upscaler) })["body.34.weight"]?.[0]; // 48
 */
export const compactUpscalerNames = (upscaler: CompactUpscaler): TorchRules => {
  const { stages } = checkObject("compactUpscalerNames", "upscaler", upscaler, "stages");
  return table(
    ...stages.flatMap((_, i): [string, string][] => [
      [`body.${2 * i}`, `stages.${i}.conv`],
      [`body.${2 * i + 1}`, `stages.${i}.activation`],
    ]),
    [`body.${2 * stages.length}`, "last"],
  );
};
