// Folders of diffusers' DDPMPipeline and DDIMPipeline: model_index.json, unet/config.json beside its weights, and
// scheduler/scheduler_config.json.

import { access, readFile } from "node:fs/promises";
import { join } from "node:path";
import { checkPath, loadTensors, loadTorch, makeFolder, saveTensors, writeJson } from "@figment/io";
import { exportTorch, importTorch } from "@figment/nn";
import { CheckpointError, checkObject, rng as makeStream, type Rng, type Tensor, UsageError } from "@figment/tensor";
import { Diffusion } from "../diffusion.js";
import type { SampleOptions } from "../sampling.js";
import { UNet } from "../unet.js";
import { type Scheduler, type SchedulerConfig, type SchedulerRun, schedulerFromConfig } from "./scheduler.js";
import { unet2dNames, unetConfig, unetFromConfig, writtenFor } from "./unet.js";

/** Names of the weights' files, the preferred first. */
const weightFiles = ["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"] as const;
/** A configuration larger than this is none. */
const mostJsonBytes = 1 << 20;

/** Images of more pixels a side than this are not drawn. */
const mostSide = 65536;

/** Options of {@link Pipeline.sample}. */
export interface PipelineSampleOptions extends SchedulerRun, Omit<SampleOptions, "shape" | "sampler" | "rng"> {
  /** Where noise comes from; may be left out when `noise` is given. */
  readonly rng?: Rng;
}

/**
 * A U-Net with its process and sampler, as a folder of diffusers holds them.
 *
 * @example
 * const model = new UNet({ inChannels: 1, channels: [8, 8], groups: 8 }).init(rng(0));
 * const pipeline = new Pipeline(model, { _class_name: "DDIMScheduler" }, 8);
 * const images = await pipeline.sample(2, { steps: 3, noise: torchNoise(0) });
 * images; // [2, 8, 8, 1]
 */
export class Pipeline {
  readonly diffusion: Diffusion;
  private readonly scheduler: Scheduler;

  /** @throws CheckpointError when the scheduler has no counterpart. */
  constructor(
    readonly model: UNet,
    /** The fields of scheduler_config.json. */
    readonly schedulerConfig: SchedulerConfig,
    /** Height and width of the images. */
    readonly imageSize: number | readonly [height: number, width: number],
  ) {
    this.scheduler = schedulerFromConfig(schedulerConfig);
    this.diffusion = new Diffusion(this.scheduler.process);
  }

  /**
   * Draws images [count,H,W,C], in [-1, 1] but for what the last step adds. With `noise: torchNoise(seed)` they are those
   * that diffusers draws with `torch.Generator().manual_seed(seed)` on the CPU.
   *
   * @throws UsageError when neither `rng` nor `noise` is given.
   */
  async sample(count: number, options: PipelineSampleOptions): Promise<Tensor> {
    const { steps, eta, rng, ...rest } = options ?? {};
    if (!rng && !rest.noise) throw new UsageError("Pipeline.sample: expected { rng } or { noise }");
    const [height, width] = typeof this.imageSize === "number" ? [this.imageSize, this.imageSize] : this.imageSize;
    const { inChannels } = this.model.options;
    const shape = [count, height, width, inChannels];
    const run = { shape, sampler: this.scheduler.sampler({ steps, eta }), ...rest };
    if (rng) return this.diffusion.sample(this.model, { ...run, rng });
    // All noise is given: the stream is there for the step's sake and never drawn from.
    const unused = makeStream(0);
    try {
      return await this.diffusion.sample(this.model, { ...run, rng: unused });
    } finally {
      unused.dispose();
    }
  }

  dispose(): void {
    this.model.dispose();
    this.diffusion.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** An object of a JSON file. */
async function readObject(path: string): Promise<Record<string, unknown>> {
  let text: string;
  try {
    const bytes = await readFile(path);
    if (bytes.length > mostJsonBytes)
      throw new CheckpointError(`${path}: ${bytes.length} bytes are too many for a configuration`);
    text = bytes.toString("utf8");
  } catch (error) {
    if (error instanceof CheckpointError) throw error;
    throw new CheckpointError(`${path}: cannot be read: ${(error as Error).message}`, { cause: error });
  }
  try {
    const value: unknown = JSON.parse(withoutInfinities(text));
    if (value !== null && typeof value === "object" && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch (error) {
    throw new CheckpointError(`${path}: is no JSON: ${(error as Error).message}`, { cause: error });
  }
  throw new CheckpointError(`${path}: expected an object`);
}

/**
 * Python writes infinities and NaN as words that JSON does not have; here they are null. A string that does not end is passed
 * over as a whole: to look again from each of its quotes would take for ever.
 */
const withoutInfinities = (text: string): string =>
  text.replace(/("(?:[^"\\]|\\.)*"?)|-?Infinity|NaN/gs, (_word, quoted: string | undefined) => quoted ?? "null");

/** The weights of a folder, whichever of its files there is. */
async function readWeights(folder: string): Promise<Record<string, Tensor>> {
  for (const name of weightFiles) {
    const path = join(folder, name);
    const there = await access(path).then(
      () => true,
      () => false,
    );
    if (there) return name.endsWith(".bin") ? loadTorch(path) : loadTensors(path);
  }
  throw new CheckpointError(`${folder}: has neither ${weightFiles.join(" nor ")}`);
}

/** A part that model_index.json names: the class must be one of diffusers' that we have. */
function checkPart(path: string, index: Readonly<Record<string, unknown>>, part: string, wanted?: string): void {
  const named = index[part];
  const className = Array.isArray(named) ? named[1] : undefined;
  if (typeof className !== "string" || (wanted !== undefined && className !== wanted))
    throw new CheckpointError(
      `${path}: ${part} is ${JSON.stringify(named)}; expected ["diffusers", ${JSON.stringify(wanted ?? "a scheduler")}]`,
    );
}

/**
 * Reads the folder of a DDPMPipeline or DDIMPipeline of diffusers.
 *
 * @throws CheckpointError naming the file, and the field or tensors at fault.
 * @example
 * const draw = async (folder: string) => {
 *   const pipeline = await loadPipeline(folder);
 *   return pipeline.sample(4, { noise: torchNoise(0), steps: 50 });
 * };
 */
export async function loadPipeline(folder: string): Promise<Pipeline> {
  checkPath("loadPipeline", "folder", folder);
  const indexPath = join(folder, "model_index.json");
  const index = await readObject(indexPath);
  checkPart(indexPath, index, "unet", "UNet2DModel");
  checkPart(indexPath, index, "scheduler");
  const config = await readObject(join(folder, "unet", "config.json"));
  const scheduler = await readObject(join(folder, "scheduler", "scheduler_config.json"));
  // Before the weights are read: what the configurations get wrong costs no memory.
  const model = new UNet(unetFromConfig(config)).eval();
  const pipeline = new Pipeline(model, scheduler, imageSizeOf(config.sample_size));
  try {
    const weights = await readWeights(join(folder, "unet"));
    try {
      importTorch(model, weights, { rules: unet2dNames });
    } finally {
      for (const tensor of Object.values(weights)) tensor.dispose();
    }
  } catch (error) {
    pipeline.dispose();
    throw error;
  }
  return pipeline;
}

function imageSizeOf(size: unknown): number | readonly [number, number] {
  const sides = Array.isArray(size) ? size : [size];
  const valid = sides.every((side) => Number.isInteger(side) && side >= 1 && side <= mostSide);
  if (valid && sides.length === 1) return sides[0];
  if (valid && sides.length === 2) return [sides[0], sides[1]];
  throw new CheckpointError(
    `UNet2DModel: sample_size is ${JSON.stringify(size)}; expected one or two integers from 1 to ${mostSide}`,
  );
}

/** What {@link savePipeline} writes. */
export interface PipelineToSave {
  readonly model: UNet;
  /** Height and width of the images. */
  readonly imageSize: number | readonly [height: number, width: number];
  /** The process, written as a DDPMScheduler with its βs. */
  readonly diffusion?: Diffusion;
  /** The fields of scheduler_config.json, in place of `diffusion`. */
  readonly scheduler?: SchedulerConfig;
}

/** The scheduler_config.json of a process: every β by itself. */
function configOf({ betas, predict, variance }: Diffusion): SchedulerConfig {
  if (variance === "learned")
    throw new UsageError(
      'savePipeline: diffusers has no counterpart of variances that are "learned"; "learned-range" has',
    );
  const names = { epsilon: "epsilon", x0: "sample", v: "v_prediction" } as const;
  return {
    _class_name: "DDPMScheduler",
    _diffusers_version: writtenFor,
    num_train_timesteps: betas.length,
    trained_betas: [...betas],
    prediction_type: names[predict],
    variance_type: variance === "fixed" ? "fixed_small" : "learned_range",
    clip_sample: true,
    timestep_spacing: "trailing",
  };
}

/**
 * Writes a folder that diffusers' `DDPMPipeline.from_pretrained` reads.
 *
 * @throws UsageError when the network has no counterpart there.
 * @example
 * const write = (folder: string): Promise<void> => savePipeline(folder, { model, diffusion, imageSize: 28 });
 */
export async function savePipeline(folder: string, parts: PipelineToSave): Promise<void> {
  checkPath("savePipeline", "folder", folder);
  const { model, imageSize, diffusion, scheduler } = checkObject("savePipeline", "parts", parts, "model", "imageSize");
  const schedulerConfig = scheduler ?? (diffusion && configOf(diffusion));
  if (!schedulerConfig) throw new UsageError("savePipeline: expected { diffusion } or { scheduler }");
  const config = unetConfig(model, imageSize);
  const className = String(schedulerConfig._class_name);
  const weights = exportTorch(model, { rules: unet2dNames });
  try {
    for (const part of ["unet", "scheduler"]) await makeFolder(join(folder, part));
    await saveTensors(join(folder, "unet", weightFiles[0]), weights, { format: "pt" });
  } finally {
    for (const tensor of Object.values(weights)) tensor.dispose();
  }
  await writeJson(join(folder, "unet", "config.json"), config);
  await writeJson(join(folder, "scheduler", "scheduler_config.json"), schedulerConfig);
  await writeJson(join(folder, "model_index.json"), {
    _class_name: className === "DDIMScheduler" ? "DDIMPipeline" : "DDPMPipeline",
    _diffusers_version: writtenFor,
    scheduler: ["diffusers", className],
    unet: ["diffusers", "UNet2DModel"],
  });
}
