// Generated samples beside real ones: distances to the test images, with those of as many training images as the floor that a
// perfect generator would reach.

import type { Dataset } from "@figment/io";
import { checkCounts } from "@figment/nn";
import { checkFunction, checkObject, show, throwIfAborted, UsageError } from "@figment/tensor";
import { extractFeatures, type FeatureExtractor } from "../features/extract.js";
import type { FeatureSet } from "../features/featureSet.js";
import { bootstrap, type Interval } from "../resampling/bootstrap.js";
import { frechetDistance } from "../sets/frechet.js";
import { kernelDistance } from "../sets/kernel.js";
import { densityCoverage, precisionRecall } from "../sets/manifold.js";
import { gaussianStatistics } from "../sets/statistics.js";
import { realImages, type SampleSource } from "./sources.js";

/** Options of {@link evaluateSamples}. */
export interface EvaluationOptions {
  /** Distances are taken to the test images; training images give the floor. */
  readonly data: { readonly train: Dataset; readonly test: Dataset };
  /** What looks at the images, such as the features of an {@link MnistClassifier}. */
  readonly features: FeatureExtractor;
  /** Samplers by the name of their row. */
  readonly sources: Readonly<Record<string, SampleSource>>;
  /** Images of each: of the test set, of the training set and of every source. Default: all test images. */
  readonly count?: number;
  /** Images that are drawn and looked at together. Default 250. */
  readonly batchSize?: number;
  /** Values of the real images' bytes 0 and 255, as the extractor wants them. Default [-1, 1]. */
  readonly range?: readonly [low: number, high: number];
  /** Chooses the training images, and the subsets of the kernel distance. Default 0. */
  readonly seed?: number;
  /** How often to resample for intervals of the Fréchet distances (see {@link bootstrap}). Default 0: no intervals. */
  readonly resamples?: number;
  /** Ends the work by rejecting with its reason. */
  readonly signal?: AbortSignal;
  /** Told how many images of a row have been drawn. */
  readonly progress?: (progress: { readonly name: string; readonly done: number; readonly total: number }) => void;
}

/** One source beside the test images. */
export interface EvaluationRow {
  readonly name: string;
  /** The Fréchet distance, in squared units of the features. */
  readonly frechet: number;
  /** The Fréchet distance as a multiple of the floor's: 1 is as near as training images. */
  readonly ratio: number;
  /** 95 % interval of the Fréchet distance, its bias taken off, where resamples were asked for. */
  readonly interval: Interval | null;
  /** The kernel distance. */
  readonly kernel: number;
  readonly precision: number;
  readonly recall: number;
  readonly density: number;
  readonly coverage: number;
}

/** What {@link evaluateSamples} found: plain JSON. */
export interface Evaluation {
  /** What distances were taken to. */
  readonly reference: string;
  /** Images of each row. */
  readonly count: number;
  readonly dims: number;
  /** Real training images: what is left where nothing is generated. */
  readonly floor: EvaluationRow;
  readonly rows: readonly EvaluationRow[];
}

/**
 * Draws from samplers and sets them beside real images. Distances are taken to test images, and so is that of as many
 * training images, the floor, which few samples and what the extractor remembers of its training keep above zero; the ratio
 * to it says more than the distance.
 *
 * @throws UsageError when there are fewer real images than asked for; what the extractor and the metrics throw.
 * @example
 * const evaluation = await evaluateSamples({
 *   data: { train, test },
 *   features: classifier.features,
 *   sources: {
 *     blurred: realImages(train, { seed: 1, transform: (images) => gaussianBlur(images, 0.7) }),
 *     noise: (count) => random.normal([count, 28, 28, 1]),
 *   },
 * });
 * console.log(evaluationTable(evaluation));
 */
export async function evaluateSamples(options: EvaluationOptions): Promise<Evaluation> {
  const {
    data,
    features,
    sources,
    range,
    seed = 0,
    signal,
    batchSize = 250,
    progress,
  } = checkObject("evaluateSamples", "options", options, "data", "features", "sources");
  if (!data?.train || !data.test)
    throw new UsageError(`evaluateSamples: expected { data: { train, test } }, got ${show(data)}`);
  const { count = data.test.length } = options;
  checkCounts("evaluateSamples", { count }, 2);
  checkCounts("evaluateSamples", { resamples: options.resamples ?? 0 }, 0);
  for (const [name, source] of Object.entries(checkObject("evaluateSamples", "sources", sources)))
    checkFunction("evaluateSamples", name, source);
  checkCounts("evaluateSamples", { batchSize });
  const most = Math.min(data.test.length, data.train.length);
  if (count > most) throw new UsageError(`evaluateSamples: ${count} images asked for, the data sets have ${most}`);
  const draw = (name: string, source: SampleSource): Promise<FeatureSet> =>
    extractFeatures(drawn(source, count, batchSize), features, {
      signal,
      onProgress: (done) => progress?.({ name, done, total: count }),
    });
  const reference = await draw("test images", realImages(data.test, { range }));
  const rowOf = async (name: string, source: SampleSource, floor: number | null) =>
    compare(name, reference, await draw(name, source), floor, options);
  const floor = await rowOf("training images", realImages(data.train, { seed, range }), null);
  const rows: EvaluationRow[] = [];
  for (const [name, source] of Object.entries(sources)) rows.push(await rowOf(name, source, floor.frechet));
  return { reference: data.test.name, count, dims: reference.dims, floor, rows };
}

/** Batches of a source, freed after use. */
async function* drawn(source: SampleSource, count: number, batchSize: number) {
  for (let first = 0; first < count; first += batchSize) {
    const asked = Math.min(batchSize, count - first);
    const images = await source(asked, first);
    try {
      if (images.dim(0) !== asked)
        throw new UsageError(`evaluateSamples: a source gave ${images.dim(0)} images where ${asked} were asked for`);
      yield images;
    } finally {
      images.dispose();
    }
  }
}

async function compare(
  name: string,
  reference: FeatureSet,
  samples: FeatureSet,
  floor: number | null,
  { seed = 0, resamples = 0, signal }: EvaluationOptions,
): Promise<EvaluationRow> {
  const frechet = frechetDistance(gaussianStatistics(reference), gaussianStatistics(samples));
  const resampled = (a: Int32Array, b: Int32Array) => frechetDistance(reference.select(a), samples.select(b));
  const counts = [reference.count, samples.count];
  const interval =
    resamples > 0 ? await bootstrap(counts, resampled, { resamples, method: "basic", seed, signal }) : null;
  throwIfAborted(signal);
  const { mean: kernel } = await kernelDistance(reference, samples, { seed });
  throwIfAborted(signal);
  const overlap = await precisionRecall(reference, samples);
  throwIfAborted(signal);
  const neighbourhoods = await densityCoverage(reference, samples);
  const ratio = floor === null ? 1 : frechet / floor;
  return { name, frechet, ratio, interval, kernel, ...overlap, ...neighbourhoods };
}
