// Training the main job's model in bf16 reaches the loss of f32: what rounding changes is small beside what another
// seed changes.

import { assertNoLeaks } from "figment";
import { afterAll, describe, expect, it } from "vitest";
import { trained } from "./support/firstLight.js";

const steps = 200;
const seeds = [0, 1, 2];
/** Of the loss: measured differences are below 0.01 where seeds differ by 0.2. */
const tolerance = 0.03;

afterAll(() => assertNoLeaks());

/** The mean of the last tenth of the losses. */
const finalLoss = (seed: number, precision: "f32" | "bf16"): Promise<number> =>
  trained({ steps, seed, precision }, (_step, losses) => mean(losses.slice(-steps / 10)));

const mean = (list: readonly number[]): number => list.reduce((sum, x) => sum + x, 0) / list.length;

describe("training in bf16", () => {
  it("ends at the loss of f32, within the noise of seeds", async () => {
    const exact: number[] = [];
    const rounded: number[] = [];
    for (const seed of seeds) {
      exact.push(await finalLoss(seed, "f32"));
      rounded.push(await finalLoss(seed, "bf16"));
    }
    console.info(`final losses after ${steps} steps, seeds ${seeds}: f32 ${exact}, bf16 ${rounded}`);
    const centre = mean(exact);
    const noise = Math.sqrt(mean(exact.map((loss) => (loss - centre) ** 2)));
    expect(Math.abs(mean(rounded) - centre)).toBeLessThan(noise);
    exact.forEach((loss, i) => {
      expect(Math.abs((rounded[i] as number) / loss - 1), `seed ${seeds[i]}`).toBeLessThan(tolerance);
    });
    expect(rounded).not.toEqual(exact);
  });
});
