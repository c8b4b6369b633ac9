// One step of any sampler, compiled once for all steps: the network at one timestep, guidance, then the update whose
// coefficients are data. What is frozen into the program is only which parts there are.

import {
  type CellTree,
  type Compiled,
  compile,
  concat,
  type Precision,
  type Rng,
  samplerStep,
  type Tensor,
  UsageError,
} from "@figment/tensor";
import type { Mix, SamplerRow } from "./samplers/row.js";

/**
 * A network that is told a noisy image [N,H,W,C], its timesteps [N] (i32, or f32 where a sampler stops between training
 * steps) and, if it has classes, its labels i32 [N], and gives a prediction of x's shape; of twice the channels, if it
 * says variances too.
 */
export interface Denoiser extends CellTree {
  /** The label that stands for no class, of a network that was trained to do without. */
  readonly nullLabel?: number | null;
  forward(x: Tensor, t: Tensor, label?: Tensor): Tensor;
}

/** What the network sees: x, and beside it the channels of a condition [N,H,W,K], where there is one. */
export const beside = (x: Tensor, condition: Tensor | undefined): Tensor =>
  condition ? concat([x, condition], x.rank - 1) : x;

/** What the network says of variances. */
export type LearnedVariance = "learned" | "learned-range";

/** What is frozen into the program of a sampling step. */
export type StepStatics = {
  readonly noise: boolean;
  /** Bounds of x₀; equal to each other for none. */
  readonly lo: number;
  readonly hi: number;
  readonly predictions: boolean;
  /** Whether the network sees x scaled. */
  readonly scaled: boolean;
  /** How many mixes are kept. */
  readonly keeps: number;
  /** What a network's second half of channels is for. */
  readonly variance: "none" | "unused" | LearnedVariance;
  /** Whether labels are given to guide by, and rescaled. */
  readonly guidance: "none" | "plain" | "rescaled";
  /** The label that stands for no class. */
  readonly nullLabel: number;
};

/** The tensors of a step besides x; those that a sampler does not use are missing. */
export type StepTensors = {
  /** What earlier steps kept. */
  readonly kept: readonly Tensor[];
  /** The noise of this step, where it is not drawn from the stream. */
  readonly drawn?: Tensor;
  readonly label?: Tensor;
  /** Channels that the network sees beside x. */
  readonly condition?: Tensor;
  /** Known pixels and where they are known (1) or not (0). */
  readonly known?: { readonly image: Tensor; readonly mask: Tensor };
};

/** What a step gives. */
export type StepResult = { x: Tensor; x0?: Tensor; kept: Tensor[] };

/** The networks' side of one sampling step, compiled once for all steps. */
export type DenoiseStep = Compiled<
  [net: Denoiser, x: Tensor, timestep: Tensor, coef: Tensor, random: Rng, statics: StepStatics, tensors: StepTensors],
  StepResult
>;

export const compileDenoiseStep = (precision: Precision): DenoiseStep =>
  compile(denoise, { mode: "eval", name: "sampling step", precision });

/** Coefficients that the kernel takes. */
const kernelCoefficients = 12;
/** The most tensors that the kernel mixes: x, the output, and what was kept. */
const mostKept = 4;
/** Places of the further coefficients, and where those of what is kept begin. */
const at = {
  inputScale: 12,
  guidance: 13,
  rescale: 14,
  small: 15,
  large: 16,
  signal: 17,
  level: 18,
  again: 19,
  fresh: 20,
};
const keepsFrom = 21;

/** Numbers of a step beyond its row. */
export interface StepNumbers {
  readonly guidance: number;
  readonly rescale: number;
  /** Of known pixels at the level that the step ends at, √ᾱ and √(1 − ᾱ). */
  readonly known?: readonly [signal: number, noise: number];
  /** What x is scaled by afterwards and how much fresh noise it gets, where a step is to be taken again. */
  readonly again?: readonly [scale: number, noise: number];
}

/** A row as data of the compiled step. `names`: of what is kept, in the order of the tensors; `keeps`: of what the row keeps. */
export function coefficientsOf(
  row: SamplerRow,
  names: readonly string[],
  keeps: readonly (Mix | undefined)[],
  numbers: StepNumbers,
): Float32Array {
  if (names.length > mostKept) throw new UsageError(`sampler: a step can use at most ${mostKept} kept tensors`);
  const onKept = (mix: Mix | undefined): number[] => names.map((name) => mix?.onKept?.[name] ?? 0);
  const [small, large] = row.logVariance ?? [0, 0];
  const coefficients = new Float32Array(keepsFrom + keeps.length * (3 + names.length));
  coefficients.set([row.x0FromX, row.x0FromModel, row.onX0, row.onNoise, row.onX, row.onModel ?? 0, ...onKept(row)]);
  const further = [row.inputScale ?? 1, numbers.guidance, numbers.rescale, small, large];
  coefficients.set([...further, ...(numbers.known ?? [0, 0]), ...(numbers.again ?? [1, 0])], at.inputScale);
  keeps.forEach((mix, i) => {
    const values = [mix?.onX0 ?? 0, mix?.onX ?? 0, mix?.onModel ?? 0, ...onKept(mix)];
    coefficients.set(values, keepsFrom + i * values.length);
  });
  return coefficients;
}

function denoise(
  net: Denoiser,
  x: Tensor,
  timestep: Tensor,
  coef: Tensor,
  random: Rng,
  statics: StepStatics,
  { kept, drawn, label, condition, known }: StepTensors,
): StepResult {
  const { noise, lo, hi, predictions, keeps, variance } = statics;
  const { output, spread } = predict(net, x, timestep, coef, statics, label, condition);
  const clamp = lo < hi ? ([lo, hi] as const) : undefined;
  const own = noise && (drawn !== undefined || variance === "learned" || variance === "learned-range");
  const tensors = [x, output, ...kept];
  const kernel = coef.slice([0], [kernelCoefficients]);
  let next = samplerStep({ coef: kernel, random, tensors, clamp, noise: noise && !own });
  if (own) {
    const z = drawn ?? random.normal(x.shape);
    const scale = coef.at(3);
    // The weight of the noise says whether there is any at all.
    next = next.add(z.mul(spread ? deviation(spread, coef, statics).mul(scale.gt(0).cast("f32")) : scale));
  }
  if (known) {
    const noised = known.image.mul(coef.at(at.signal)).add(random.normal(x.shape).mul(coef.at(at.level)));
    next = next.add(known.mask.mul(noised.sub(next)));
    next = next.mul(coef.at(at.again)).add(random.normal(x.shape).mul(coef.at(at.fresh)));
  }
  if (!predictions && keeps === 0) return { x: next, kept: [] };
  const free = x.mul(coef.at(0)).add(output.mul(coef.at(1)));
  const x0 = clamp ? free.maximum(lo).minimum(hi) : free;
  const width = 3 + kept.length;
  const mixes = Array.from({ length: keeps }, (_, i) =>
    [x0, ...tensors]
      .map((part, k) => part.mul(coef.at(keepsFrom + i * width + k)))
      .reduce((sum, part) => sum.add(part)),
  );
  return { x: next, kept: mixes, ...(predictions ? { x0 } : {}) };
}

/** The network's prediction, guided if labels are to guide it, and what it says of the variance. */
function predict(
  net: Denoiser,
  x: Tensor,
  timestep: Tensor,
  coef: Tensor,
  { scaled, variance, guidance, nullLabel }: StepStatics,
  label: Tensor | undefined,
  condition: Tensor | undefined,
): { output: Tensor; spread?: Tensor } {
  const [n, channels] = [x.dim(0), x.shape.at(-1) as number];
  const input = beside(scaled ? x.mul(coef.at(at.inputScale)) : x, condition);
  const parts = (whole: Tensor): [Tensor, Tensor | undefined] => {
    if (variance === "none") return [whole, undefined];
    const begin = (from: number): number[] => whole.shape.map((_, axis) => (axis === whole.rank - 1 ? from : 0));
    const half = [...whole.shape.slice(0, -1), channels];
    return [whole.slice(begin(0), half), whole.slice(begin(channels), half)];
  };
  if (guidance === "none" || !label) {
    const [output, spread] = parts(net.forward(input, timestep.broadcastTo([n]), label));
    return { output, spread };
  }
  // Both answers come from one call: [without the class, with it].
  const none = label.mul(0).add(nullLabel);
  const both = net.forward(concat([input, input], 0), timestep.broadcastTo([2 * n]), concat([none, label], 0));
  const side = (from: number): Tensor =>
    both.slice(
      both.shape.map((_, axis) => (axis === 0 ? from : 0)),
      [n, ...both.shape.slice(1)],
    );
  const [without] = parts(side(0));
  const [withClass, spread] = parts(side(n));
  const guided = without.add(withClass.sub(without).mul(coef.at(at.guidance)));
  if (guidance === "plain") return { output: guided, spread };
  const axes = x.shape.slice(1).map((_, axis) => axis + 1);
  const ratio = withClass.std(axes, { keepDims: true }).div(guided.std(axes, { keepDims: true }));
  const share = coef.at(at.rescale);
  return { output: guided.mul(ratio.mul(share).add(share.neg().add(1))), spread };
}

/** The standard deviation that a network says (Nichol & Dhariwal 2021, eq. 15). */
function deviation(spread: Tensor, coef: Tensor, { variance }: StepStatics): Tensor {
  if (variance === "learned") return spread.mul(0.5).exp();
  const [small, large] = [coef.at(at.small), coef.at(at.large)];
  return small
    .add(spread.add(1).mul(0.5).mul(large.sub(small)))
    .mul(0.5)
    .exp();
}
