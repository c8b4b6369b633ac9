// Drawing samples from a trained generator.

import { checkCounts } from "@figment/nn";
import {
  checkObject,
  checkTensor,
  compile,
  concat,
  type Rng,
  ShapeError,
  scope,
  showShape,
  type Tensor,
  throwIfAborted,
} from "@figment/tensor";
import { checkLabel, checkLatents } from "./networks/checks.js";
import type { Generator } from "./networks/network.js";

/** Options of {@link generateFrom}. */
export interface GenerateFromOptions {
  /** i32 [count], for a generator with classes. */
  readonly label?: Tensor;
  /** Samples in one native call. Default 100. The samples do not depend on it. */
  readonly batchSize?: number;
  /** Ends the work by rejecting with its reason. */
  readonly signal?: AbortSignal;
}

/** Options of {@link generate}. */
export interface GenerateOptions extends GenerateFromOptions {
  /** How many samples. */
  readonly count: number;
  /** Where the latents come from. */
  readonly rng: Rng;
}

/**
 * Draws samples: latents from N(0, I), then the generator in evaluation mode, compiled once for the call.
 *
 * @returns [count, ...], the caller's own.
 * @throws as {@link generateFrom}.
 * @example
 * const generator = new DcganGenerator({ latents: 8, channels: [8, 4] }).init(random.fork("weights"));
 * const images = await generate(generator, { count: 3, rng: rng(0) });
 * images; // [3, 28, 28, 1]
 */
export async function generate(generator: Generator, given: GenerateOptions): Promise<Tensor> {
  const { count, rng, ...options } = checkObject("generate", "options", given, "count", "rng");
  checkObject("generate", "rng", rng, "normal");
  checkCounts("generate", { count });
  const latents = rng.normal([count, generator.latents]);
  try {
    return await generateFrom(generator, latents, options);
  } finally {
    latents.dispose();
  }
}

/**
 * The samples of given latents, such as those on a way from one to another: {@link generate} without the draw.
 *
 * @param latents f32 [count, latents].
 * @returns [count, ...], the caller's own.
 * @throws UsageError when labels are missing or given to a generator without classes; ShapeError unless latents are
 * [count, latents] and labels [count]; the signal's reason when it is aborted.
 * @example
 * const generator = new DcganGenerator({ latents: 8, channels: [8, 4] }).init(random.fork("weights"));
 * const images = await generateFrom(generator, zeros([2, 8]));
 * images; // [2, 28, 28, 1]
 */
export async function generateFrom(
  generator: Generator,
  latents: Tensor,
  options: GenerateFromOptions = {},
): Promise<Tensor> {
  checkTensor("generate", "latents", latents);
  const { label, batchSize = 100, signal } = checkObject("generate", "options", options);
  checkCounts("generate", { batchSize });
  checkObject("generate", "generator", generator, "latents", "classes", "forward");
  checkLatents("generate", generator.latents, latents);
  const count = latents.dim(0);
  checkLabel("generate", generator.classes, label);
  if (label && (label.rank !== 1 || label.dim(0) !== count))
    throw new ShapeError(`generate: expected labels [${count}], got ${showShape(label.shape)}`);
  throwIfAborted(signal);
  const forward = compile((net: Generator, z: Tensor, labels?: Tensor) => net.forward(z, labels), {
    mode: "eval",
    name: "generator",
  });
  const parts: Tensor[] = [];
  try {
    for (let from = 0; from < count; from += batchSize) {
      const size = Math.min(batchSize, count - from);
      const [z, labels] = [latents.slice([from, 0], [size, generator.latents]), label?.slice([from], [size])];
      const part = labels ? forward.run({ signal }, generator, z, labels) : forward.run({ signal }, generator, z);
      parts.push(part);
      z.dispose();
      labels?.dispose();
      // Waiting for each part keeps the event loop free and lets the signal in.
      await part.ready();
      throwIfAborted(signal);
    }
    return parts.length === 1 ? (parts.pop() as Tensor) : scope(() => concat(parts, 0));
  } finally {
    for (const part of parts) part.dispose();
    forward.dispose();
  }
}
