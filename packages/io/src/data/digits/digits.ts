// The embedded data set: handwritten-like digits, drawn on demand. Item i is a pure function of the options and i,
// so that nothing is downloaded or stored and any worker can draw any item.

import { checkObject, UsageError } from "@figment/tensor";
import { CounterRandom, seedWords } from "../counterRandom.js";
import { Dataset, type DatasetSource, type Example, type ImmediateDataset } from "../dataset.js";
import { Pen } from "./pen.js";
import { type DigitStyles, stylesOf } from "./skeletons.js";

/** Options of {@link digits}. */
export interface DigitsOptions {
  /** Which hand writes. Default 0. */
  readonly seed?: number;
  /** Pixels a side. Default 28. */
  readonly size?: number;
  /** How many items. Default 60,000 for the training split and 10,000 for the test split. */
  readonly count?: number;
  /** Every digit has several styles, some of which are held out of training. Default "train". */
  readonly styles?: DigitStyles;
  /** "train" and "test" never share an item. Default "train". */
  readonly split?: "train" | "test";
}

const digitNames = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"] as const;

const defaultCounts = { train: 60_000, test: 10_000 } as const;

/** Largest side: beyond it a stroke drawn from so few points looks like wire. */
const maxSize = 1024;

class Digits extends Dataset {
  readonly name = "digits";
  readonly length: number;
  readonly shape: readonly [number, number, number];
  override readonly classes = digitNames;
  readonly source: DatasetSource;
  private readonly options: Required<DigitsOptions>;
  private readonly random = new CounterRandom();
  private readonly pen = new Pen();

  constructor(options: Required<DigitsOptions>) {
    super();
    this.options = options;
    this.length = options.count;
    this.shape = [options.size, options.size, 1];
    this.source = { module: import.meta.url, open: "digits", options: { ...options } };
  }

  /** Item i shows the digit i mod 10, so that any run of ten items has every digit once. */
  get(index: number): Example {
    this.checkIndex(index);
    const { seed, size, styles, split } = this.options;
    const label = index % digitNames.length;
    this.random.rekey(...seedWords(seed), split === "train" ? 0 : 1, index);
    const choices = stylesOf(label, styles);
    const skeleton = choices[this.random.below(choices.length)] as (typeof choices)[number];
    const image = new Uint8Array(size * size);
    this.pen.draw(skeleton, this.random, image, size);
    return { image, label };
  }
}

/**
 * Handwritten-like digits of ten classes, [size, size, 1], white ink on black, drawn from a seed.
 *
 * @throws UsageError for options out of range.
 * @example
 * const { image, label } = digits({ seed: 1 }).get(7); // label 7
 */
export function digits(options: DigitsOptions = {}): ImmediateDataset {
  const { seed = 0, size = 28, split = "train", styles = "train" } = checkObject("digits", "options", options);
  const { count = defaultCounts[split] } = options;
  if (!Number.isSafeInteger(seed)) throw new UsageError(`digits: seed must be an integer, got ${seed}`);
  if (!Number.isInteger(size) || size < 8 || size > maxSize) {
    throw new UsageError(`digits: size must be an integer from 8 to ${maxSize}, got ${size}`);
  }
  if (!Number.isInteger(count) || count < 1 || count > 0xffffffff) {
    throw new UsageError(`digits: count must be a positive integer below 2^32, got ${count}`);
  }
  if (!["train", "heldOut", "all"].includes(styles)) {
    throw new UsageError(`digits: styles must be "train", "heldOut" or "all", got ${JSON.stringify(styles)}`);
  }
  if (split !== "train" && split !== "test") {
    throw new UsageError(`digits: split must be "train" or "test", got ${JSON.stringify(split)}`);
  }
  return new Digits({ seed, size, count, styles, split });
}
