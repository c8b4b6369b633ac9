// The loop that runs a sampler: coefficients on the device, at most two steps queued, frames handed out as
// they are computed, and an abort that stops the network in the middle of a kernel.

import { setImmediate as breathe } from "node:timers/promises";
import {
  type Precision,
  Rng,
  type Shape,
  scalar,
  type Tensor,
  tensor,
  throwIfAborted,
  UsageError,
} from "@figment/tensor";
import type { Denoiser, DenoiseStep, StepStatics } from "./diffusion.js";
import { ddim, type Process, type Sampler, type SamplerRow } from "./samplers.js";

/** Coefficients of a step, as many as the kernel takes for its six tensors. */
const coefficientCount = 12;
/** Steps that may be queued at once: one runs while the next is prepared. */
const inFlight = 2;

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
  /** Keeps the prediction of x₀ within these bounds; true is [-1, 1], false none. Default true. */
  readonly clip?: boolean | readonly [lo: number, hi: number];
  /** Whether frames carry the prediction of x₀. Default false. */
  readonly predictions?: boolean;
  /** Where to start. Default: standard normal noise from `rng`. Stays the caller's. */
  readonly start?: Tensor;
  /** Classes to draw, i32 [N], for a network that has classes. */
  readonly label?: Tensor;
  /** "bf16" rounds the factors of the network's products to bf16. Default "highest". */
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

/** Runs a sampler step by step. A frame is yielded when its step has been computed. */
export async function* runSampler(
  process: Process,
  denoiser: (precision?: Precision) => DenoiseStep,
  net: Denoiser,
  options: SampleStepsOptions,
): AsyncGenerator<Frame, void, void> {
  const { shape, rng, sampler = ddim(), signal, start, label, predictions = false } = options ?? {};
  if (!Array.isArray(shape) || !(rng instanceof Rng))
    throw new UsageError("sample: expected options { shape: [N, H, W, C], rng }, and others that may be left out");
  if (start && start.shape.join() !== shape.join()) {
    throw new UsageError(`sample: start has shape [${start.shape.join(", ")}], expected [${shape.join(", ")}]`);
  }
  const denoise = denoiser(options.precision);
  throwIfAborted(signal);
  // Leaves the scope of a caller that does not wait: what is made from here on outlives it.
  await breathe();
  const rows = sampler.rows(process);
  const total = rows.length;
  const [lo, hi] = clampBounds(options.clip ?? true);
  const statics: StepStatics = { noise: rows.some(({ onNoise }) => onNoise !== 0), lo, hi, predictions };
  // Stops queued steps when the signal is aborted, and when the loop over the frames is left.
  const stop = new AbortController();
  const abort = abortPromise(signal, stop);

  // Steps queued and not yet yielded, oldest first; `latest` is what the next step starts from.
  const queue: { step: number; x: Tensor; x0?: Tensor; done: Promise<void> }[] = [];
  let latest = start ? start.clone() : rng.normal(shape);
  let lent: { x: Tensor; x0?: Tensor } | undefined;
  let next = 0;
  const enqueue = (): void => {
    const row = rows[next] as SamplerRow;
    const timestep = scalar(row.timestep, "i32");
    const coef = tensor(coefficientsOf(row));
    let made: { x: Tensor; x0?: Tensor };
    try {
      made = denoise.run({ signal: stop.signal }, net, latest, timestep, coef, rng, statics, label);
    } finally {
      for (const used of [timestep, coef]) used.dispose();
    }
    const { x, x0 } = made;
    latest.dispose();
    latest = x.clone();
    const done = x.ready();
    // A failure is reported when the frame's turn comes; until then it is not unhandled.
    done.catch(() => {});
    queue.push({ step: ++next, x, x0, done });
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
      const { timestep } = rows[frame.step - 1] as SamplerRow;
      yield { step: frame.step, total, timestep, x: frame.x, ...(frame.x0 ? { x0: frame.x0 } : {}) };
      dispose(lent);
      lent = undefined;
    }
  } finally {
    abort.forget();
    stop.abort();
    for (const held of [...queue, ...(lent ? [lent] : [])]) dispose(held);
    latest.dispose();
  }
}

function dispose({ x, x0 }: { readonly x: Tensor; readonly x0?: Tensor }): void {
  x.dispose();
  x0?.dispose();
}

/** What the kernel takes: x₀ from (x, output); x₀ and noise in the result; then (x, output) in the result. */
function coefficientsOf({ x0FromX, x0FromModel, onX0, onNoise, onX }: SamplerRow): Float32Array {
  const coefficients = new Float32Array(coefficientCount);
  coefficients.set([x0FromX, x0FromModel, onX0, onNoise, onX]);
  return coefficients;
}

/** Bounds of x₀; equal ones stand for none. */
function clampBounds(clip: NonNullable<SampleStepsOptions["clip"]>): readonly [number, number] {
  if (typeof clip === "boolean") return clip ? [-1, 1] : [0, 0];
  const [lo, hi] = clip;
  if (!(lo < hi)) throw new UsageError(`sample: clip must be [lo, hi] with lo < hi, got [${clip.join(", ")}]`);
  return clip;
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
