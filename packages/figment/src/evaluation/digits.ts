// Drawn digits beside real ones, whatever family draws them: distances over the features of the judge of digits, which digits
// occur, and whether those that were asked for are there.

import type { Dataset } from "@figment/io";
import { type EvaluationRow, evaluateSamples, mnistClassifier, type SampleSource } from "@figment/metrics";
import { type Progress, showProgress } from "@figment/nn";
import { type Rng, type Tensor, tensor, UsageError } from "@figment/tensor";
import { ability, type OpenedModel } from "../recipe/savedModel.js";

/** What the judge takes. */
const digitShape = "28,28,1";
const digitCount = 10;

/** How digits are drawn and judged. */
export interface DigitOptions {
  /** Digits to draw, and real ones to set beside them. */
  readonly count: number;
  /** Everything that is drawn comes from here. */
  readonly rng: Rng;
  readonly signal?: AbortSignal;
}

/** What was found. */
export interface DigitScores extends Pick<EvaluationRow, "precision" | "recall" | "density" | "coverage"> {
  readonly samples: number;
  /** Over the judge's raw features, to test images. */
  readonly frechet: number;
  /** The same of as many training images. */
  readonly frechetFloor: number;
  /** The distance as a multiple of the floor. */
  readonly frechetRatio: number;
  readonly kernelDistance: number;
  /** The share of test images that the judge reads rightly. */
  readonly judgeAccuracy: number;
  /** The share of samples that the judge reads as each digit. */
  readonly digitShares: readonly number[];
  /** The share of samples that the judge reads as the digit that was asked for; for models that are told. */
  readonly labelAgreement?: number;
}

/**
 * Draws digits with a model and judges them. The judge is trained the first time, which takes minutes, and then kept.
 *
 * @throws UsageError for a model that draws no images of 28×28×1, or that has no data set; what {@link evaluateSamples} throws.
 */
export async function evaluateDigits(
  model: OpenedModel,
  data: { readonly train: Dataset; readonly test: Dataset },
  { count, rng, signal }: DigitOptions,
): Promise<DigitScores> {
  if (String(model.facts.shape) !== digitShape)
    throw new UsageError(
      `${model.recipe.name}: samples are judged as digits of 28×28×1, this model's are ${model.facts.shape.join("×")}`,
    );
  const sample = ability(model, "sample");
  const told = new Told();
  const judge = await mnistClassifier({
    data,
    signal,
    progress: ({ step, total }) => told.of("Training the judge of digits", step, total),
  });
  try {
    const { classes } = model;
    const read = new Float64Array(digitCount);
    let agreed = 0;
    const source: SampleSource = async (asked, first) => {
      const wanted = classes > 0 ? await labelsOf(data.train, first, asked) : new Int32Array();
      const label = classes > 0 ? tensor(wanted) : undefined;
      try {
        using drawn = await sample(asked, { rng, ...(signal ? { signal } : {}), ...(label ? { label } : {}) });
        const images = inJudgesRange(drawn, model.range);
        for (const [i, digit] of (await judge.classify(images)).entries()) {
          read[digit] = (read[digit] as number) + 1;
          if (digit === wanted[i]) agreed++;
        }
        return images;
      } finally {
        label?.dispose();
      }
    };
    const { floor, rows } = await evaluateSamples({
      data,
      features: judge.features,
      sources: { samples: source },
      count,
      signal,
      progress: ({ name, done, total }) => told.of(`Looking at ${name}`, done, total),
    });
    const { frechet, ratio, kernel, precision, recall, density, coverage } = rows[0] as EvaluationRow;
    return {
      samples: count,
      frechet,
      frechetFloor: floor.frechet,
      frechetRatio: ratio,
      kernelDistance: kernel,
      ...{ precision, recall, density, coverage },
      judgeAccuracy: judge.accuracy,
      digitShares: Array.from(read, (n) => n / count),
      ...(classes > 0 ? { labelAgreement: agreed / count } : {}),
    };
  } finally {
    judge.dispose();
    await told.end();
  }
}

/** Labels of training images, so that digits are asked for as often as they occur: real digits are not evenly spread. */
async function labelsOf(train: Dataset, first: number, count: number): Promise<Int32Array> {
  const examples = Array.from({ length: count }, (_, i) => train.get((first + i) % train.length));
  return Int32Array.from(await Promise.all(examples), ({ label }) => label);
}

/** The same images in [-1, 1]; the caller's own. */
function inJudgesRange(images: Tensor, [low, high]: readonly [number, number] = [-1, 1]): Tensor {
  return low === -1 && high === 1
    ? images.clone()
    : images
        .sub(low)
        .mul(2 / (high - low))
        .sub(1);
}

/** Progress of one part of the work after the other. */
class Told {
  private title = "";
  private progress: Promise<Progress> | undefined;

  of(title: string, done: number, total: number): void {
    if (title !== this.title) {
      const before = this.progress;
      this.title = title;
      this.progress = (async () => {
        (await before)?.stop();
        return showProgress(title, 0, total);
      })();
    }
    this.progress?.then((progress) => progress.update(done, ""));
  }

  async end(): Promise<void> {
    (await this.progress)?.stop();
  }
}
