// PNDM (Liu et al. 2022): a linear multistep on the network's own output with DDIM's transfer, begun by Runge–Kutta steps or
// by one step taken twice.

import { checkChoice, checkFlags } from "@figment/nn";
import { checkObject, UsageError } from "@figment/tensor";
import {
  alphaBarAt,
  combine,
  epsilonFromModel,
  kept,
  type Mix,
  now,
  output,
  type Process,
  type Sampler,
  type SamplerRow,
  x0Coefficients,
} from "./row.js";
import { spacedTimesteps, type TimestepOptions } from "./timesteps.js";

/** Options of {@link pndm}. */
export interface PndmOptions extends TimestepOptions {
  /** Default 50. */
  readonly steps?: number;
  /** Whether to begin with three Runge–Kutta steps of four evaluations each, instead of one step taken twice. Default false. */
  readonly rungeKutta?: boolean;
  /**
   * Whether every step goes ⌊T/steps⌋ down instead of to the next timestep, as diffusers does. They differ where T/steps is no
   * integer and with the spacing "linspace". Default false.
   */
  readonly evenSteps?: boolean;
  /** ᾱ at the end: 1, or that of the first training step. Default "first". */
  readonly finalAlpha?: "one" | "first";
}

/** Runge–Kutta steps that give a multistep of fourth order its past. */
const firstSteps = 3;

/** Weights of the latest outputs in a step of Adams and Bashforth of each order. */
const adams: readonly (readonly number[])[] = [
  [1],
  [3 / 2, -1 / 2],
  [23 / 12, -16 / 12, 5 / 12],
  [55 / 24, -59 / 24, 37 / 24, -9 / 24],
];

/**
 * Pseudo numerical methods (Liu et al. 2022, eq. 11–13).
 *
 * @throws UsageError for a process whose network predicts x₀.
 * @example
 * const images = await diffusion.sample(model, { shape: [4, 28, 28, 1], sampler: pndm({ steps: 10 }), rng: rng(0) });
 */
export function pndm(options: PndmOptions = {}): Sampler {
  const {
    steps = 50,
    rungeKutta = false,
    evenSteps = false,
    finalAlpha = "first",
    ...spacing
  } = checkObject("pndm", "options", options);
  checkFlags("pndm", { rungeKutta, evenSteps });
  checkChoice("pndm", "finalAlpha", finalAlpha, ["one", "first"]);
  return {
    name: "pndm",
    rows: (process) => {
      const total = process.alphasCumprod.length;
      if (process.predict === "x0") throw new UsageError("pndm: the network must predict epsilon or v, not x0");
      if (steps < 2 || (rungeKutta && steps <= firstSteps))
        throw new UsageError(`pndm: expected at least ${rungeKutta ? firstSteps + 1 : 2} steps, got ${steps}`);
      const times = spacedTimesteps(steps, total, spacing);
      const transfer = transferOf(process, finalAlpha === "one" ? 1 : alphaBarAt(process.alphasCumprod, 0));
      const ratio = Math.floor(total / steps);
      const after = (i: number): number => (evenSteps ? (times[i] as number) - ratio : (times[i + 1] ?? -1));
      const name = (i: number): string => `output ${i % firstSteps}`;
      /** One evaluation at t, then the step from `from` to `to` along a mix of outputs. */
      const row = (
        t: number,
        from: number,
        to: number,
        start: Mix,
        mix: Mix,
        keep: Record<string, Mix>,
      ): SamplerRow => ({
        timestep: t,
        ...x0Coefficients(process.predict, alphaBarAt(process.alphasCumprod, t)),
        ...transfer(from, to, start, mix),
        onNoise: 0,
        keep,
      });
      /** The i-th output's step of the highest order that the past allows. */
      const multistep = (t: number, i: number): SamplerRow => {
        const weights = adams[Math.min(i, adams.length - 1)] as readonly number[];
        const mix = combine(...weights.map((w, k): [number, Mix] => [w, k === 0 ? output : kept(name(i - k))]));
        return row(t, t, after(i), now, mix, { [name(i)]: output });
      };
      if (rungeKutta) {
        const first = times.slice(0, firstSteps).flatMap((t, i): SamplerRow[] => {
          const next = times[i + 1] as number;
          const half = Math.floor((evenSteps ? ratio : t - next) / 2);
          const middle = next + half;
          const sum = combine([1 / 6, kept(name(i))], [1 / 3, kept("second")], [1 / 3, kept("third")], [1 / 6, output]);
          return [
            row(t, t, evenSteps ? t - half : middle, now, output, { [name(i)]: output, start: now }),
            row(middle, t, middle, kept("start"), output, { second: output }),
            row(middle, t, middle - half, kept("start"), output, { third: output }),
            row(next, t, next, kept("start"), sum, {}),
          ];
        });
        return [...first, ...times.slice(firstSteps).map((t, i) => multistep(t, i + firstSteps))];
      }
      const [t0, t1] = times as [number, number];
      return [
        row(t0, t0, after(0), now, output, { [name(0)]: output, start: now }),
        row(t1, evenSteps ? t1 + ratio : t0, t1, kept("start"), combine([0.5, output], [0.5, kept(name(0))]), {}),
        ...times.slice(1).map((t, i) => multistep(t, i + 1)),
      ];
    },
  };
}

/** DDIM's transfer from one time to another along ε (Liu et al. 2022, eq. 11), which the outputs are made into at `from`. */
function transferOf(
  { alphasCumprod, predict }: Process,
  end: number,
): (from: number, to: number, x: Mix, outputs: Mix) => Required<Mix> {
  return (from, to, x, outputs) => {
    const alphaBar = alphaBarAt(alphasCumprod, from);
    const next = alphaBarAt(alphasCumprod, to, end);
    const { onX: ofX, onModel: ofOutputs } = { onX: 0, onModel: 0, ...epsilonFromModel(predict, alphaBar) };
    const epsilon = combine([ofX, x], [ofOutputs, outputs]);
    const scale = alphaBar * Math.sqrt(1 - next) + Math.sqrt(alphaBar * (1 - alphaBar) * next);
    return combine([Math.sqrt(next / alphaBar), x], [-(next - alphaBar) / scale, epsilon]);
  };
}
