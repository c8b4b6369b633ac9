// The modulated convolution against PyTorch and against finite differences, to the second order, which path-length
// regularisation differentiates through; both of its forms, eager and compiled.

import { type ModulatedConv2dOptions, modulatedConv2d } from "@figment/nn";
import {
  assertNoLeaks,
  compile,
  grad,
  norm,
  type OpenScope,
  openScope,
  rng,
  ShapeError,
  type Tensor,
  zeros,
} from "@figment/tensor";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { casesOf, expectGolden, golden } from "./golden.js";

const seed = 5;
console.info(`modulated convolution: seed ${seed}`);

let open: OpenScope;
beforeEach(() => {
  open = openScope();
});
afterEach(() => open[Symbol.dispose]());
afterAll(() => assertNoLeaks());

const names = ["x", "weight", "styles"] as const;
type Primals = readonly [x: Tensor, weight: Tensor, styles: Tensor];
type Convolve = (primals: Primals) => Tensor;

/** The derivatives of f by each of the primals. */
const slopes = (f: (primals: Primals) => Tensor, primals: Primals): Tensor[] =>
  primals.map((primal, i) => grad((x: Tensor) => f(primals.toSpliced(i, 1, x) as unknown as Primals))(primal));

/** Σ over samples of the length of ∂(y·dy)/∂styles, as path-length regularisation has it. */
const lengthOf = (convolve: Convolve, dy: Tensor, [x, weight, styles]: Primals): Tensor =>
  norm(grad((s: Tensor) => convolve([x, weight, s]).mul(dy).sum())(styles), 1).sum();

describe("agrees with PyTorch", () => {
  const cases = casesOf("modulatedConv2d").flatMap((name) =>
    [false, true].flatMap((perSample) => [false, true].map((compiled) => ({ name, perSample, compiled }))),
  );

  it.each(cases)("$name, a group for each sample: $perSample, compiled: $compiled", ({ name, perSample, compiled }) => {
    const measure = (primals: Primals, dy: Tensor, filter: Tensor) => {
      const options = {
        demodulate: name !== "modulated",
        perSample,
        ...(name === "up" && { upFilter: filter }),
      };
      const convolve: Convolve = (inputs) => modulatedConv2d(...inputs, options);
      return {
        y: convolve(primals),
        length: lengthOf(convolve, dy, primals),
        first: slopes((inputs) => convolve(inputs).mul(dy).sum(), primals),
        second: slopes((inputs) => lengthOf(convolve, dy, inputs), primals),
      };
    };
    const program = compiled ? compile(measure) : undefined;
    open.run(() => {
      const at = (part: string): Tensor => golden(`modulatedConv2d/${name}/${part}`);
      const primals = names.map(at) as unknown as Primals;
      const { y, length, first, second } = (program ?? measure)(primals, at("dy"), at("filter"));
      expectGolden(y, `modulatedConv2d/${name}/y`);
      expectGolden(length, `modulatedConv2d/${name}/length`);
      names.forEach((part, i) => {
        expectGolden(first[i] as Tensor, `modulatedConv2d/${name}/d${part}`);
        expectGolden(second[i] as Tensor, `modulatedConv2d/${name}/lengthd${part}`);
      });
    });
    program?.dispose();
  });
});

describe("has the derivatives of finite differences", () => {
  const step = 1e-5;
  const tolerance = 1e-7;

  /** Compares ⟨∇f, v⟩ with (f(x + hv) − f(x − hv)) / 2h. */
  function expectSlopes(f: (primals: Primals) => Tensor, primals: Primals, directions: readonly Tensor[]): void {
    const along = slopes(f, primals).map((slope, i) => slope.mul(directions[i] as Tensor).sum());
    const expected = along.reduce((sum, x) => sum.add(x)).itemSync();
    const moved = (by: number): number =>
      f(primals.map((x, i) => x.add((directions[i] as Tensor).mul(by))) as unknown as Primals).itemSync();
    expect(Math.abs((moved(step) - moved(-step)) / (2 * step) - expected)).toBeLessThan(
      tolerance * Math.max(1, Math.abs(expected)),
    );
  }

  const options: readonly (readonly [string, boolean, ModulatedConv2dOptions])[] = [
    ["plain", false, {}],
    ["with a group for each sample", false, { perSample: true }],
    ["without demodulation or padding", false, { demodulate: false, padding: 0 }],
    ["doubling the resolution", true, {}],
    ["doubling the resolution, with a group for each sample", true, { perSample: true }],
  ];

  it.each(options)("of order 1 and 2, %s", (_, up, rest) => {
    const random = rng(seed);
    open.run(() => {
      const draw = (shape: readonly number[]): Tensor => random.normal(shape).cast("f64");
      const shapes = [
        [2, 4, 3, 3],
        [2, 3, 3, 3],
        [2, 3],
      ];
      const primals = shapes.map(draw) as unknown as Primals;
      const directions = shapes.map(draw);
      const filter = draw([4]);
      const convolve: Convolve = (inputs) => modulatedConv2d(...inputs, up ? { ...rest, upFilter: filter } : rest);
      const dy = draw(convolve(primals).shape);
      expectSlopes((inputs) => convolve(inputs).mul(dy).sum(), primals, directions);
      expectSlopes((inputs) => lengthOf(convolve, dy, inputs), primals, directions);
    });
    random.dispose();
  });
});

describe("refuses", () => {
  it("weights and styles that do not belong to the image", () =>
    open.run(() => {
      const call = (): Tensor => modulatedConv2d(zeros([2, 4, 4, 3]), zeros([5, 3, 3, 3]), zeros([1, 3]));
      expect(call).toThrow(ShapeError);
      expect(call).toThrow(/styles \[2, 3\] for x \[2, 4, 4, 3\]/);
    }));
});
