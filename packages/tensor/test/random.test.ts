// The random stream: its specification against the published test vector, and what holds for any stream.

import { assertNoLeaks, scope, tensor } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { advancedState, normalStream, uniformStream } from "#ops/philox";
import { randomNormal, randomUniform } from "#ops/random";

/** Philox4x32-10 for key and counter zero (Salmon et al. 2011, the known-answer test of Random123). */
const zeroBlock = [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8];

const draw = (op: typeof randomNormal, state: readonly number[], count: number): { sample: number[]; next: number[] } =>
  scope(() => {
    const [sample, next] = op(tensor(Int32Array.from(state)), [count]);
    return { sample: [...sample.dataSync()], next: [...next.dataSync()] };
  });

afterAll(() => assertNoLeaks());

describe("the random stream", () => {
  it("is Philox4x32-10: the published words for key and counter zero", () => {
    const expected = zeroBlock.map((word) => (word >>> 8) / 2 ** 24);
    expect([...uniformStream([0, 0, 0, 0], 4)]).toEqual(expected);
    expect(draw(randomUniform, [0, 0, 0, 0], 4).sample).toEqual(expected);
  });

  it("carries its counter into the high word", () => {
    const state = [5, 6, -2, 7];
    expect([...advancedState(state, 13)]).toEqual([5, 6, 2, 8]);
    const { sample, next } = draw(randomUniform, state, 13);
    expect(next).toEqual([5, 6, 2, 8]);
    expect(sample).toEqual([...uniformStream(state, 13)]);
  });

  it.each([1, 3, 6, 9, 15, 16, 17])("carries it %i blocks into a run of many", (blocks) => {
    const state = [5, 6, -blocks, 7];
    expect(draw(randomUniform, state, 150).sample).toEqual([...uniformStream(state, 150)]);
  });

  it("gives the same numbers in two draws as in one, block by block", () => {
    const whole = draw(randomNormal, [1, 2, 3, 4], 20);
    const first = draw(randomNormal, [1, 2, 3, 4], 8);
    const rest = draw(randomNormal, first.next, 12);
    expect([...first.sample, ...rest.sample]).toEqual(whole.sample);
    expect(rest.next).toEqual(whole.next);
  });

  it("does not advance for an empty draw", () => {
    expect(draw(randomNormal, [1, 2, 3, 4], 0)).toEqual({ sample: [], next: [1, 2, 3, 4] });
  });

  it("is finite at the extremes of the uniform words", () => {
    const { sample } = draw(randomNormal, [9, 9, 0, 0], 200_000);
    expect(sample.every(Number.isFinite)).toBe(true);
    expect(Math.max(...sample.slice(0, 50_000).map(Math.abs))).toBeLessThan(Math.sqrt(-2 * Math.log(2 ** -24)) + 1e-3);
  });

  it("is normal: moments and tails within five standard errors", () => {
    const n = 200_000;
    const { sample } = draw(randomNormal, [123, 456, 0, 0], n);
    const moment = (k: number): number => sample.reduce((total, x) => total + x ** k, 0) / n;
    const error = (variance: number): number => 5 * Math.sqrt(variance / n);
    expect(Math.abs(moment(1))).toBeLessThan(error(1));
    expect(Math.abs(moment(2) - 1)).toBeLessThan(error(2));
    expect(Math.abs(moment(3))).toBeLessThan(error(15));
    expect(Math.abs(moment(4) - 3)).toBeLessThan(error(96));
    const beyondTwo = sample.filter((x) => Math.abs(x) > 2).length / n;
    expect(Math.abs(beyondTwo - 0.0455)).toBeLessThan(error(0.0455 * 0.9545));
  });

  it("has JavaScript and native normals that agree to f32 rounding", () => {
    const native = draw(randomNormal, [7, 8, 9, 10], 1001).sample;
    const spec = normalStream([7, 8, 9, 10], 1001);
    native.forEach((x, i) => {
      expect(Math.abs(x - (spec[i] as number))).toBeLessThan(2e-6);
    });
  });
});
