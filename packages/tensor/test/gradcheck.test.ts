// The gradient checker itself: it must find derivatives that are wrong.

import { assertNoLeaks, cos, mul, stopGradient, type Tensor } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { definedOp, type OpDef } from "#ops/definition";
import { Draws } from "./support/draws.ts";
import { checkDerivatives } from "./support/gradcheck.ts";

const tolerance = 1e-6;
const sample = { inputs: [{ shape: [3, 5] }], attrs: {} };

/** The sine with another derivative rule. */
const sineWith = (rule: (x: Tensor, cotangent: Tensor) => Tensor): OpDef => ({
  ...definedOp("sin"),
  vjp: ({ inputs, cotangent }) => [rule(inputs[0] as Tensor, cotangent())],
});

afterAll(() => assertNoLeaks());

describe("the gradient checker", () => {
  it("accepts a right derivative", () => {
    const right = sineWith((x, cotangent) => mul(cotangent, cos(x)));
    const { first, second } = checkDerivatives(right, sample, new Draws(1));
    expect(first.error).toBeLessThanOrEqual(tolerance);
    expect(second.error).toBeLessThanOrEqual(tolerance);
  });

  it("finds a derivative that is off by a thousandth of a percent", () => {
    const wrong = sineWith((x, cotangent) => mul(cotangent, mul(cos(x), 1.00001)));
    expect(checkDerivatives(wrong, sample, new Draws(1)).first.error).toBeGreaterThan(tolerance);
  });

  it("finds a derivative that ignores its cotangent", () => {
    const wrong = sineWith((x) => cos(x));
    expect(checkDerivatives(wrong, sample, new Draws(1)).first.error).toBeGreaterThan(tolerance);
  });

  it("finds a second derivative that is cut off", () => {
    const wrong = sineWith((x, cotangent) => mul(cotangent, cos(stopGradient(x))));
    const { first, second } = checkDerivatives(wrong, sample, new Draws(1));
    expect(first.error).toBeLessThanOrEqual(tolerance);
    expect(second.error).toBeGreaterThan(tolerance);
  });

  it("finds a derivative that a cotangent of second order does not reach", () => {
    const wrong = sineWith((x, cotangent) => mul(stopGradient(cotangent), cos(x)));
    const { first, second } = checkDerivatives(wrong, sample, new Draws(1));
    expect(first.error).toBeLessThanOrEqual(tolerance);
    expect(second.error).toBeGreaterThan(tolerance);
  });
});
