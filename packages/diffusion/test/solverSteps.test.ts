// What the steps of solvers are exact for: x₀ (of DEIS: ε) as a polynomial of λ = ln(α/σ).

import { deis, linearBetas } from "@figment/diffusion";
import { describe, expect, it } from "vitest";
import { dpmStep, type Level } from "#samplers/solvers";
import { alphasCumprod } from "#schedule";

/** The level of variance-preserving noise at λ. */
function levelAt(lambda: number): Level {
  const alpha = 1 / Math.sqrt(1 + Math.exp(-2 * lambda));
  return { alpha, noise: alpha * Math.exp(-lambda), lambda };
}

/** Where steps begin, and how far behind it the earlier predictions of x₀ lie. */
const start = 0.3;
const behind: readonly number[] = [0, 0.17, 0.41];

/** c·∫ e^(−c(h − u))·uᵏ du from 0 to h: what x₀ = uᵏ adds to x/α over a step h in λ; c is 1, with noise 2. */
function exactPart(power: number, h: number, c: number): number {
  return power === 0 ? -Math.expm1(-c * h) : h ** power - (power / c) * exactPart(power - 1, h, c);
}

/** What a step adds to x/α where x₀ = uᵏ, u counted from its beginning, less what it should. */
function errorOf(order: number, power: number, h: number, kind: "midpoint" | "heun", sde: boolean): number {
  const used = behind.slice(0, order);
  const predictions = used.map((_, i) => ({ onKept: { [i]: 1 } }));
  const lambdas = used.map((distance) => start - distance);
  const [from, to] = [levelAt(start), levelAt(start + h)];
  const { onKept } = dpmStep(from, to, {}, predictions, lambdas, { kind, sde });
  const added = used.reduce((sum, distance, i) => sum + (onKept[i] as number) * (-distance) ** power, 0) / to.alpha;
  return added - exactPart(power, h, sde ? 2 : 1);
}

describe.each([false, true])("a step of DPM-Solver++ (with noise: %s)", (sde) => {
  it.each([
    ["of first order", "constant", 1, 0, "midpoint"],
    ["of second order, heun,", "constant", 2, 0, "heun"],
    ["of second order, heun,", "a straight line", 2, 1, "heun"],
    ["of second order, midpoint,", "constant", 2, 0, "midpoint"],
    ["of third order", "a straight line", 3, 1, "midpoint"],
  ] as const)("%s is exact where x₀ is %s", (_step, _x0, order, power, kind) => {
    for (const h of [0.1, 0.4, 1.5]) expect(errorOf(order, power, h, kind, sde)).toBeCloseTo(0, 12);
  });

  it.each([
    ["of second order, midpoint,", "a straight line", 2, 1],
    ["of third order", "a parabola", 3, 2],
  ] as const)("%s errs by h³ where x₀ is %s", (_step, _x0, order, power) => {
    const [coarse, fine] = [0.02, 0.01].map((h) => errorOf(order, power, h, "midpoint", sde)) as [number, number];
    expect(fine).not.toBe(0);
    expect(coarse / fine).toBeGreaterThan(7.5);
    expect(coarse / fine).toBeLessThan(8.5);
  });
});

/** ∫ (−ln ρ)ᵏ dρ. */
function integralOf(power: number, rho: number): number {
  return power === 0 ? rho : rho * (-Math.log(rho)) ** power + power * integralOf(power - 1, rho);
}

describe("a step of DEIS", () => {
  it.each([1, 2, 3])("of order %i is exact where ε is a polynomial of a degree below it", (order) => {
    const process = { alphasCumprod: alphasCumprod(linearBetas(1000)), predict: "epsilon" } as const;
    const rows = deis({ steps: 20, order, lowerOrderFinal: false }).rows(process);
    const partsAt = (i: number): readonly [number, number] => rows[i]?.level as readonly [number, number];
    const epsilonAt = (i: number): number => Math.log(partsAt(i)[0] / partsAt(i)[1]) ** (order - 1);
    const at = 10;
    const [[alpha, noise], [nextAlpha, nextNoise]] = [partsAt(at), partsAt(at + 1)];
    const { onX, onX0, onKept = {} } = rows[at] as (typeof rows)[number];
    // From x = α·x₀ + σ·ε with x = 1: what the row makes of it, and what dx/α = ε·d(σ/α) does.
    const x0 = (1 - noise * epsilonAt(at)) / alpha;
    const kept = Object.entries(onKept).reduce((sum, [name, weight]) => {
      const place = Number(name.split(" ")[1]);
      const from = [1, 2].map((back) => at - back).find((i) => i % order === place) as number;
      return sum + weight * epsilonAt(from);
    }, 0);
    const flown = integralOf(order - 1, nextNoise / nextAlpha) - integralOf(order - 1, noise / alpha);
    const exact = nextAlpha * (1 / alpha + flown);
    expect(onX + onX0 * x0 + kept).toBeCloseTo(exact, 6);
  });
});
