// A classifier of digits as the judge of generated ones: trained once, on demand, and kept.

import path from "node:path";
import { DataError, type Dataset, loadModel, mnist, SafetensorsFile, saveModel } from "@figment/io";
import {
  CheckpointError,
  type Compiled,
  cacheFolder,
  checkObject,
  compile,
  ShapeError,
  show,
  showShape,
  Tensor,
  UsageError,
} from "@figment/tensor";
import { checkFiniteNumbers } from "../checks.js";
import { classCount, DigitNetwork } from "./network.js";
import { keyOf } from "./recipe.js";
import { type TrainingControl, trainNetwork } from "./train.js";

/** Options of {@link mnistClassifier}. */
export interface MnistClassifierOptions extends TrainingControl {
  /** A folder with MNIST's files (or those of a set in its format with ten classes), or two data sets of 28×28×1 images. */
  readonly data: string | { readonly train: Dataset; readonly test: Dataset };
  /**
   * A folder for trained classifiers; false keeps none. Default: `figment/classifiers` in $XDG_CACHE_HOME, or in .cache of the
   * user's folder.
   */
  readonly cache?: string | false;
  /** Of the weights, the order and the augmentation. Default 0. */
  readonly seed?: number;
  /** The share of test images that it must read rightly. Default 0.99. */
  readonly minAccuracy?: number;
}

/**
 * A trained classifier of digits. Images are f32 [N,28,28,1] in [-1, 1], as loaders give them; any number at once.
 *
 * @example
 * const features = await extractFeatures(digitImages, classifier.features);
 * features.dims; // 500
 */
export class MnistClassifier {
  /** The last hidden layer after its ReLU, as it is: [N, 500], numbers from 0. The tensor is the caller's. */
  readonly features: (images: Tensor) => Tensor;
  /** [N, 10]. The tensor is the caller's. */
  readonly logits: (images: Tensor) => Tensor;
  private readonly programs: readonly Compiled<[DigitNetwork, Tensor], Tensor>[];

  /** @internal Use {@link mnistClassifier}. */
  constructor(
    private readonly network: DigitNetwork,
    /** The share of the test images that it reads rightly. */
    readonly accuracy: number,
    readonly seed: number,
    /** Whether it was found in the cache. */
    readonly cached: boolean,
  ) {
    const features = compile((net: DigitNetwork, x: Tensor) => net.features(x), { mode: "eval", name: "features" });
    const logits = compile((net: DigitNetwork, x: Tensor) => net.forward(x), { mode: "eval", name: "logits" });
    this.programs = [features, logits];
    this.features = (images) => features(this.network, checkImages(images));
    this.logits = (images) => logits(this.network, checkImages(images));
  }

  /**
   * The most probable digit of each image.
   *
   * @throws ShapeError for images that are not [N,28,28,1]; NonFiniteError when an image makes the logits NaN or infinite.
   * @example
   * const labels = await classifier.classify(digitImages);
   * labels.length; // 8
   */
  async classify(images: Tensor): Promise<Int32Array> {
    const logits = this.logits(images);
    try {
      const data = (await logits.data()) as Float32Array;
      checkFiniteNumbers("classify", data, (i) => `a logit of image ${Math.floor(i / classCount)}`);
      return Int32Array.from({ length: images.dim(0) }, (_, row) => {
        const scores = data.subarray(row * classCount, (row + 1) * classCount);
        return scores.indexOf(scores.reduce((most, x) => Math.max(most, x), -Infinity));
      });
    } finally {
      logits.dispose();
    }
  }

  /** Frees the weights and programs. */
  dispose(): void {
    for (const program of this.programs) program.dispose();
    this.network.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

function checkImages(images: Tensor): Tensor {
  if (!(images instanceof Tensor) || images.rank !== 4 || String(images.shape.slice(1)) !== "28,28,1")
    throw new ShapeError(
      `MnistClassifier: expected images [N,28,28,1], got ${images instanceof Tensor ? showShape(images.shape) : show(images)}`,
    );
  return images;
}

/** Under what name files keep the accuracy. */
const accuracyKey = "figment.accuracy";

/**
 * A classifier of MNIST's digits, whose features are what distances between real and generated digits are taken over. The
 * first call trains it on the training images — LeNet (LeCun et al. 1998) as Caffe has it, some 100 seconds of processor time
 * with AVX2 — and later ones read it from the cache: one file for each recipe, seed and set of training images. The same
 * weights follow from the same seed on any number of threads.
 *
 * @throws DataError when the data is missing or no digits; UsageError when the classifier reads fewer test images than
 * `minAccuracy`; the signal's reason when it is aborted, and then nothing is kept.
 * @example
 * const judge = await mnistClassifier({ data: { train, test }, cache: "classifiers", minAccuracy: 0 });
 * console.log(judge.accuracy);
 * judge.dispose();
 */
export async function mnistClassifier(options: MnistClassifierOptions): Promise<MnistClassifier> {
  const {
    data,
    cache = cacheFolder("classifiers"),
    seed = 0,
    minAccuracy = 0.99,
    signal,
  } = checkObject("mnistClassifier", "options", options, "data");
  if (!Number.isSafeInteger(seed)) throw new UsageError(`mnistClassifier: seed must be an integer, got ${show(seed)}`);
  if (!(minAccuracy >= 0 && minAccuracy <= 1))
    throw new UsageError(`mnistClassifier: minAccuracy must be within [0, 1], got ${show(minAccuracy)}`);
  signal?.throwIfAborted();
  const { train, test } = await openSplits(data);
  const file = cache === false ? null : path.join(cache, `mnist-${await keyOf(train, seed)}.safetensors`);
  const known = file === null ? null : await readCached(file);
  if (known) {
    signal?.throwIfAborted();
    return accept(new MnistClassifier(known.network, known.accuracy, seed, true), minAccuracy);
  }
  const network = await trainNetwork(train, seed, options);
  try {
    const accuracy = await examine(network, test, signal);
    if (file !== null) await saveModel(file, network, { metadata: { [accuracyKey]: String(accuracy) } });
    return accept(new MnistClassifier(network, accuracy, seed, false), minAccuracy);
  } catch (error) {
    network.dispose();
    throw error;
  }
}

function accept(classifier: MnistClassifier, minAccuracy: number): MnistClassifier {
  if (classifier.accuracy >= minAccuracy) return classifier;
  classifier.dispose();
  const percent = (x: number): string => `${(100 * x).toFixed(2)} %`;
  throw new UsageError(
    `mnistClassifier: it reads ${percent(classifier.accuracy)} of the test images, less than the ${percent(minAccuracy)} asked for (minAccuracy)`,
  );
}

async function openSplits(data: MnistClassifierOptions["data"]): Promise<{ train: Dataset; test: Dataset }> {
  if (data === null || data === undefined)
    throw new UsageError(`mnistClassifier: expected { data: a folder, or { train, test } }, got ${show(data)}`);
  const { train, test } =
    typeof data === "string" ? { train: await mnist(data), test: await mnist(data, { split: "test" }) } : data;
  for (const set of [train, test]) {
    if (String(set?.shape) !== "28,28,1" || set.length === 0)
      throw new DataError(`mnistClassifier: expected images of 28×28×1, got ${set?.name} of ${show(set?.shape)}`);
    if ((set.classes?.length ?? classCount) > classCount)
      throw new DataError(
        `mnistClassifier: expected at most ${classCount} classes, ${set.name} has ${set.classes?.length}`,
      );
  }
  return { train, test };
}

/** A classifier from its file, or nothing when there is none that can be used. */
async function readCached(file: string): Promise<{ network: DigitNetwork; accuracy: number } | null> {
  const network = new DigitNetwork();
  try {
    await using opened = await SafetensorsFile.open(file);
    const accuracy = Number(opened.metadata.get(accuracyKey));
    await loadModel(file, network);
    if (accuracy > 0 && accuracy <= 1) return { network, accuracy };
  } catch (error) {
    // A missing or damaged file is made anew.
    if (!(error instanceof CheckpointError || error instanceof DataError)) throw error;
  }
  network.dispose();
  return null;
}

/** Images that are examined at once. */
const examinedAtOnce = 500;

/** The share of a data set that the network reads rightly. */
async function examine(network: DigitNetwork, test: Dataset, signal?: AbortSignal): Promise<number> {
  const reader = compile((net: DigitNetwork, x: Tensor) => net.forward(x).argmax(1), { mode: "eval", name: "reader" });
  const batches = test.loader({
    batchSize: Math.min(examinedAtOnce, test.length),
    shuffle: false,
    dropLast: false,
    signal,
  });
  let right = 0;
  try {
    for await (const { image, label } of batches) {
      const guessed = reader(network, image);
      const [guesses, labels] = [(await guessed.data()) as Int32Array, await label.data()];
      guessed.dispose();
      right += guesses.reduce((sum, guess, i) => sum + Number(guess === labels[i]), 0);
    }
  } finally {
    reader.dispose();
  }
  return right / test.length;
}
