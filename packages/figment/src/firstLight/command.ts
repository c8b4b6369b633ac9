// figment first-light: train a diffusion model, then look at what it draws.

import { Command } from "commander";
import { defaults } from "./defaults.js";
import { type FirstLightOptions, integerOption, precisionOption } from "./options.js";
import { firstLight } from "./run.js";

/** The `first-light` subcommand. */
export function firstLightCommand(): Command {
  return new Command("first-light")
    .description(
      "train a denoising diffusion model and sample from it\n\n" +
        "Without --data it learns the embedded handwritten-like digits. Ctrl-C saves a checkpoint in the output\n" +
        "folder; --resume goes on from it, bit for bit as if it had never stopped.",
    )
    .option("--data <folder>", "MNIST's IDX files, or a folder of images")
    .option("--steps <n>", "training steps", integerOption("steps", 1), defaults.steps)
    .option("--seed <n>", "seed of weights, data order, noise and samples", integerOption("seed", 0), defaults.seed)
    .option("--out <folder>", "where the results go", defaults.out)
    .option(
      "--size <pixels>",
      "image side (default: 28 for digits, 32 for folders of images)",
      integerOption("size", 8),
    )
    .option("--batch <n>", "images per training step", integerOption("batch", 1), defaults.batch)
    .option("--sample-steps <n>", "denoising steps per sample", integerOption("sample-steps", 1), defaults.sampleSteps)
    .option("--threads <n>", "worker threads (default: one per core)", integerOption("threads", 1))
    .option(
      "--save-every <n>",
      "steps between checkpoints, for runs that are killed",
      integerOption("save-every", 1),
      defaults.saveEvery,
    )
    .option("--precision <format>", "what products multiply: f32 or bf16; sums are f32", precisionOption, "f32")
    .option("--resume", "go on from the checkpoint in the output folder", false)
    .addHelpText(
      "after",
      "\nResults: samples.png (8×8 samples), denoising.png (from noise to image), loss.svg, model.safetensors, summary.json",
    )
    .action(async (options: FirstLightOptions) => {
      await firstLight(options);
    });
}
