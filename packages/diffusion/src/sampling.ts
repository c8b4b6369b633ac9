// The loop that runs a sampler: coefficients on the device, at most two steps queued, frames handed out as
// they are computed, and an abort that stops the network in the middle of a kernel.

import { setImmediate as breathe } from "node:timers/promises";
import { checkFlags } from "@figment/nn";
import {
  checkObject,
  checkTensor,
  defaultDevice,
  type Precision,
  Rng,
  type Shape,
  ShapeError,
  scalar,
  show,
  showShape,
  type Tensor,
  tensor,
  throwIfAborted,
  UsageError,
  withDevice,
} from "@figment/tensor";
import {
  type FromImage,
  type Inpainting,
  inpaintingSteps,
  levelBefore,
  type PlannedStep,
  rowsFrom,
} from "./editing.js";
import type { NoiseSource } from "./noise.js";
import { ddim } from "./samplers/ddpm.js";
import type { Process, Sampler, SamplerRow } from "./samplers/row.js";
import {
  coefficientsOf,
  type Denoiser,
  type DenoiseStep,
  type LearnedVariance,
  type StepNumbers,
  type StepResult,
  type StepStatics,
} from "./step.js";

/** Steps that may be queued at once: one runs while the next is prepared. */
const inFlight = 2;

/** How much a class is asked for. */
export interface Guidance {
  /** s of u + s·(c − u) (Ho & Salimans 2022, eq. 6, with s = 1 + w): 1 is the plain conditional network. */
  readonly scale: number;
  /** How far the result is brought back to the conditional prediction's deviation (Lin et al. 2024, eq. 16). Default 0. */
  readonly rescale?: number;
}

/** How images are drawn. */
export interface SampleStepsOptions {
  /** Of the result: [N,H,W,C]. */
  readonly shape: Shape;
  /**
   * Where the noise comes from; the same stream gives the same images. When the work is stopped, the stream has
   * advanced past the draws of the steps that were computed and no further: a fork for each set of images keeps the
   * others independent of that.
   */
  readonly rng: Rng;
  /** Default `ddim()`. */
  readonly sampler?: Sampler;
  /** Stops the work: the step that is running too, within a few milliseconds. */
  readonly signal?: AbortSignal;
  /** Keeps the prediction of x₀ within these bounds; true is [-1, 1], false none. Default the sampler's, or true. */
  readonly clip?: boolean | readonly [lo: number, hi: number];
  /** Whether frames carry the prediction of x₀. Default false. */
  readonly predictions?: boolean;
  /** Where to start. Default: standard normal noise from `rng`. Stays the caller's. */
  readonly start?: Tensor;
  /** Classes to draw, i32 [N], for a network that has classes. */
  readonly label?: Tensor;
  /**
   * Classifier-free guidance (Ho & Salimans 2022): a scale above 1 draws images that are more of their class. The network
   * must have been trained to do without classes too (`labelDropout`) and is asked for both in one call.
   */
  readonly guidance?: number | Guidance;
  /** Channels [N,H,W,K] that the network sees beside x, such as an image of low resolution, enlarged (Saharia et al. 2022). */
  readonly condition?: Tensor;
  /** Starts from a noised image, part of the way down. */
  readonly from?: FromImage;
  /** Draws only what is not known. */
  readonly inpaint?: Inpainting;
  /** Gives the noise in place of `rng`: that of the start, and that of each step that has any. */
  readonly noise?: NoiseSource;
  /** "bf16" and "f16" round the factors of the network's products to it; see {@link Precision}. Default "highest". */
  readonly precision?: Precision;
}

/** Progress of sampling: `step` of `total` steps are done. */
export interface SampleProgress {
  readonly step: number;
  readonly total: number;
}

/** {@link SampleStepsOptions}, and a callback. */
export interface SampleOptions extends Omit<SampleStepsOptions, "predictions"> {
  /** Told after each step. */
  readonly onProgress?: (progress: SampleProgress) => void;
}

/** What a sampler has after a step. */
export interface Frame extends SampleProgress {
  /** The time that the network was told. */
  readonly timestep: number;
  /** The images so far; borrowed until the next frame. */
  readonly x: Tensor;
  /** The prediction of the clean images, with `predictions`; borrowed too. */
  readonly x0?: Tensor;
}

/** A process and what its network says of variances. */
export interface SampledProcess extends Process {
  readonly variance: "fixed" | LearnedVariance;
}

/** Runs a sampler step by step. A frame is yielded when its step has been computed. */
export async function* runSampler(
  process: SampledProcess,
  denoiser: (precision?: Precision) => DenoiseStep,
  net: Denoiser,
  options: SampleStepsOptions,
): AsyncGenerator<Frame, void, void> {
  const { rng, signal } = options ?? {};
  if (!Array.isArray(options?.shape) || !(rng instanceof Rng))
    throw new UsageError("sample: expected options { shape: [N, H, W, C], rng }, and others that may be left out");
  checkTensors(options);
  const { sampler = ddim(), noise } = options;
  checkObject("sample", "sampler", sampler, "rows");
  if (noise !== undefined) checkObject("sample", "noise", noise, "normal");
  const denoise = denoiser(options.precision);
  throwIfAborted(signal);
  // Leaves the scope of a caller that does not wait: what is made from here on outlives it.
  await breathe();
  const steps = plan(process, sampler, options);
  const total = steps.length;
  const statics = staticsOf(process, net, options, steps);
  const guidance = guidanceOf(options.guidance);
  const timeType = sampler.continuous ? "f32" : "i32";
  const uses = steps.map(({ row }) => usedBy(row));
  const most = Math.max(0, ...uses.map((names) => names.length));
  // Stops queued steps when the signal is aborted, and when the loop over the frames is left.
  const stop = new AbortController();
  const abort = abortPromise(signal, stop);

  // Steps queued and not yet yielded, oldest first; `latest` is what the next step starts from.
  const queue: { step: number; x: Tensor; x0?: Tensor; done: Promise<void> }[] = [];
  const kept = new Map<string, Tensor>();
  let latest = startOf(process, sampler, steps, options);
  let lent: { x: Tensor; x0?: Tensor } | undefined;
  let next = 0;
  const enqueue = (): void => {
    const { row, ...numbers } = steps[next] as PlannedStep;
    const keeps = Object.entries(row.keep ?? {});
    const names = uses[next] as readonly string[];
    const padded = Array.from({ length: statics.keeps }, (_, i) => keeps[i]?.[1]);
    const timestep = scalar(row.timestep, timeType);
    const coef = beside(
      latest,
      coefficientsOf(
        row,
        Array.from({ length: most }, (_, i) => names[i] ?? ""),
        padded,
        { ...guidance, ...numbers },
      ),
    );
    const drawn = statics.noise ? options.noise?.normal(options.shape) : undefined;
    let made: StepResult;
    try {
      made = denoise.run({ signal: stop.signal }, net, latest, timestep, coef, rng, statics, {
        // Steps that use fewer are given x, with the weight 0.
        kept: Array.from({ length: most }, (_, i) => kept.get(names[i] ?? "") ?? latest),
        drawn,
        label: options.label,
        condition: options.condition,
        known: options.inpaint && { image: options.inpaint.image, mask: options.inpaint.mask },
      });
    } finally {
      for (const used of [timestep, coef, drawn]) used?.dispose();
    }
    latest.dispose();
    latest = made.x.clone();
    made.kept.forEach((tensor, i) => {
      const name = keeps[i]?.[0];
      if (name === undefined) tensor.dispose();
      else {
        kept.get(name)?.dispose();
        kept.set(name, tensor);
      }
    });
    const done = made.x.ready();
    // A failure is reported when the frame's turn comes; until then it is not unhandled.
    done.catch(() => {});
    queue.push({ step: ++next, x: made.x, x0: made.x0, done });
  };

  try {
    while (next < total || queue.length > 0) {
      throwIfAborted(signal);
      while (next < total && queue.length < inFlight) enqueue();
      const frame = queue[0] as (typeof queue)[number];
      await Promise.race([frame.done, abort.promise]);
      // Small networks finish at once; timers and signals must have their turn all the same.
      await breathe();
      throwIfAborted(signal);
      queue.shift();
      lent = frame;
      const { timestep } = (steps[frame.step - 1] as PlannedStep).row;
      yield { step: frame.step, total, timestep, x: frame.x, ...(frame.x0 ? { x0: frame.x0 } : {}) };
      dispose(lent);
      lent = undefined;
    }
  } finally {
    abort.forget();
    stop.abort();
    for (const held of [...queue, ...(lent ? [lent] : [])]) dispose(held);
    for (const tensor of kept.values()) tensor.dispose();
    latest.dispose();
  }
}

function dispose({ x, x0 }: { readonly x: Tensor; readonly x0?: Tensor }): void {
  x.dispose();
  x0?.dispose();
}

/** @throws ShapeError when a tensor does not fit the shape to be drawn. */
function checkTensors({ shape, start, condition, inpaint, label, from }: SampleStepsOptions): void {
  for (const [name, given] of Object.entries({ start, condition, label }))
    if (given !== undefined) checkTensor("sample", name, given);
  if (inpaint !== undefined) {
    checkObject("sample", "inpaint", inpaint);
    for (const name of ["image", "mask"] as const) checkTensor("sample", `inpaint.${name}`, inpaint[name]);
  }
  if (from !== undefined) checkTensor("sample", "from.image", checkObject("sample", "from", from).image);
  if (start && from) throw new UsageError("sample: give start or from, not both");
  for (const [name, given] of Object.entries({ start, "inpaint.image": inpaint?.image }))
    if (given && given.shape.join() !== shape.join())
      throw new ShapeError(`sample: ${name} has shape ${showShape(given.shape)}, expected ${showShape(shape)}`);
  if (condition && condition.shape.slice(0, -1).join() !== shape.slice(0, -1).join())
    throw new ShapeError(
      `sample: condition has shape ${showShape(condition.shape)}, expected [${[...shape.slice(0, -1), "K"].join(", ")}]`,
    );
  if (label && label.shape.join() !== String(shape[0]))
    throw new ShapeError(`sample: label has shape ${showShape(label.shape)}, expected [${shape[0]}]`);
}

/** The steps to be taken. */
function plan(
  process: Process,
  sampler: Sampler,
  { shape, from, inpaint }: SampleStepsOptions,
): readonly PlannedStep[] {
  const all = sampler.rows(process);
  if (!Array.isArray(all) || all.length === 0)
    throw new UsageError(`sample: rows() of the sampler "${sampler.name}" must give steps, got ${show(all)}`);
  const isTime = (t: number) => (sampler.continuous ? Number.isFinite(t) : Number.isInteger(t) && t >= 0);
  const wrong = all.find(({ timestep }) => !isTime(timestep));
  if (wrong)
    throw new UsageError(
      `sample: the sampler "${sampler.name}" tells the network the time ${wrong.timestep}; ${sampler.continuous ? "expected a finite number" : "without continuous: true, times are whole training steps"}`,
    );
  const rows = from ? rowsFrom(all, from, shape) : all;
  return inpaint ? inpaintingSteps(rows, process, inpaint) : rows.map((row) => ({ row }));
}

/** What a step asks for of what earlier ones kept. */
function usedBy(row: SamplerRow): readonly string[] {
  const mixes = [row, ...Object.values(row.keep ?? {})];
  const weights = mixes.flatMap(({ onKept = {} }) => Object.entries(onKept));
  return [...new Set(weights.flatMap(([name, weight]) => (weight === 0 ? [] : [name])))];
}

/** What the first step starts from. */
function startOf(
  process: Process,
  sampler: Sampler,
  steps: readonly PlannedStep[],
  options: SampleStepsOptions,
): Tensor {
  const { shape, rng, start, from, noise } = options;
  if (start) return start.clone();
  const drawn = noise ? noise.normal(shape) : rng.normal(shape);
  const [first] = steps;
  const scale = sampler.startScale?.(process) ?? 1;
  if (!from || !first) return scale === 1 ? drawn : replace(drawn, (z) => z.mul(scale));
  const [signal, level] = levelBefore(first.row, process);
  return replace(drawn, (z) => {
    const [clean, noised] = [from.image.mul(signal), z.mul(level)];
    const sum = clean.add(noised);
    for (const part of [clean, noised]) part.dispose();
    return sum;
  });
}

function replace(x: Tensor, by: (x: Tensor) => Tensor): Tensor {
  try {
    return by(x);
  } finally {
    x.dispose();
  }
}

const guidanceOf = (guidance: SampleStepsOptions["guidance"]): Required<Pick<StepNumbers, "guidance" | "rescale">> => {
  const { scale, rescale = 0 } =
    typeof guidance === "object" ? checkObject("sample", "guidance", guidance, "scale") : { scale: guidance ?? 1 };
  if (!(scale >= 0 && Number.isFinite(scale)) || !(rescale >= 0 && rescale <= 1))
    throw new UsageError(
      `sample: guidance must be a number ≥ 0, rescaled by a share in [0, 1], got ${scale} and ${rescale}`,
    );
  return { guidance: scale, rescale };
};

/** Which parts the compiled step has. */
function staticsOf(
  process: SampledProcess,
  net: Denoiser,
  options: SampleStepsOptions,
  steps: readonly PlannedStep[],
): StepStatics {
  const rows = steps.map(({ row }) => row);
  const { clip = options.sampler?.clip ?? true, predictions = false } = options;
  const [lo, hi] = clampBounds(clip);
  checkFlags("sample", { predictions });
  const { guidance, rescale } = guidanceOf(options.guidance);
  const nullLabel = net.nullLabel ?? null;
  if (guidance !== 1 && (nullLabel === null || !options.label))
    throw new UsageError(
      nullLabel === null
        ? "sample: guidance needs a network that was trained to do without classes too (classes and labelDropout)"
        : "sample: guidance needs the labels to guide to",
    );
  const learned = rows.some((row) => row.logVariance) ? process.variance : "unused";
  if (process.variance === "fixed" && rows.some((row) => row.logVariance))
    throw new UsageError('sample: the process has no learned variance; ddpm takes variance "small" or "large"');
  return {
    noise: rows.some(({ onNoise }) => onNoise !== 0),
    lo,
    hi,
    predictions,
    scaled: rows.some((row) => row.inputScale !== undefined),
    keeps: Math.max(0, ...rows.map((row) => Object.keys(row.keep ?? {}).length)),
    variance: process.variance === "fixed" || learned === "fixed" ? "none" : learned,
    guidance: guidance === 1 ? "none" : rescale > 0 ? "rescaled" : "plain",
    nullLabel: nullLabel ?? 0,
  };
}

/** Bounds of x₀; equal ones stand for none. */
function clampBounds(clip: NonNullable<SampleStepsOptions["clip"]>): readonly [number, number] {
  if (typeof clip === "boolean") return clip ? [-1, 1] : [0, 0];
  if (!Array.isArray(clip) || clip.length !== 2 || !clip.every(Number.isFinite) || !(clip[0] < clip[1]))
    throw new UsageError(`sample: clip must be true, false or [lo, hi] of finite lo < hi, got ${show(clip)}`);
  return [clip[0], clip[1]];
}

/** Numbers as a tensor, on the device of another. */
function beside({ device }: Tensor, numbers: Float32Array): Tensor {
  return device === defaultDevice() ? tensor(numbers) : withDevice(device, () => tensor(numbers));
}

/** A promise that rejects with the signal's reason when it is aborted, which stops `work` too; and a way to stop listening. */
function abortPromise(
  signal: AbortSignal | undefined,
  work: AbortController,
): { promise: Promise<never>; forget: () => void } {
  let forget = (): void => {};
  const promise = new Promise<never>((_resolve, reject) => {
    if (!signal) return;
    const listener = (): void => {
      work.abort(signal.reason);
      reject(signal.reason);
    };
    signal.addEventListener("abort", listener, { once: true });
    forget = () => signal.removeEventListener("abort", listener);
  });
  promise.catch(() => {});
  return { promise, forget: () => forget() };
}
