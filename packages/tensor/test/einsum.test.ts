// Einstein summation against its definition: a loop over every index.

import {
  assertNoLeaks,
  DTypeError,
  einsum,
  grad,
  type OpenScope,
  openScope,
  ShapeError,
  sum,
  type Tensor,
  tensor,
  UsageError,
  zeros,
} from "@figment/tensor";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { sizeOf } from "#shape";
import { Draws } from "./support/draws.ts";

const seed = 77;
console.info(`einsum: seed ${seed}`);

let draws: Draws;
let open: OpenScope;
const run = <T>(fn: () => T): T => open.run(fn);
const drawn = (shape: readonly number[]): Tensor => tensor(draws.array(sizeOf(shape)), { shape, dtype: "f64" });

/** The sum over all values of the letters; the equation has an arrow and no ellipsis. */
function byDefinition(equation: string, operands: readonly Tensor[]): number[] {
  const [inputs = "", output = ""] = equation.split("->");
  const texts = inputs.split(",");
  const extents = new Map<string, number>();
  texts.forEach((text, i) => {
    [...text].forEach((letter, axis) => {
      extents.set(letter, operands[i]?.dim(axis) as number);
    });
  });
  const letters = [...extents.keys()];
  const data = operands.map((x) => x.dataSync());
  const place = (text: string, at: ReadonlyMap<string, number>): number =>
    [...text].reduce((n, letter) => n * (extents.get(letter) as number) + (at.get(letter) as number), 0);
  const result = new Array<number>(sizeOf([...output].map((letter) => extents.get(letter) as number))).fill(0);
  const count = sizeOf(letters.map((letter) => extents.get(letter) as number));
  for (let i = 0; i < count; i++) {
    let rest = i;
    const at = new Map<string, number>();
    for (const letter of letters) {
      at.set(letter, rest % (extents.get(letter) as number));
      rest = Math.floor(rest / (extents.get(letter) as number));
    }
    const product = texts.reduce((p, text, k) => p * (data[k]?.[place(text, at)] as number), 1);
    const to = place(output, at);
    result[to] = (result[to] as number) + product;
  }
  return result;
}

function expectSame(actual: Tensor, expected: readonly number[]): void {
  const data = actual.dataSync();
  expect(data).toHaveLength(expected.length);
  expected.forEach((x, i) => {
    expect(data[i]).toBeCloseTo(x, 10);
  });
}

beforeEach(() => {
  draws = new Draws(seed);
  open = openScope();
});
afterEach(() => open[Symbol.dispose]());
afterAll(() => assertNoLeaks());

const equations: readonly (readonly [equation: string, shapes: readonly (readonly number[])[]])[] = [
  ["ij->ij", [[2, 3]]],
  ["ij->ji", [[2, 3]]],
  ["ijk->j", [[2, 3, 4]]],
  ["ij->", [[2, 3]]],
  ["ii->", [[3, 3]]],
  ["ii->i", [[3, 3]]],
  ["iji->j", [[3, 2, 3]]],
  ["iijj->ij", [[2, 2, 3, 3]]],
  ["iiii->i", [[2, 2, 2, 2]]],
  [
    "ij,jk->ik",
    [
      [2, 3],
      [3, 4],
    ],
  ],
  [
    "ji,jk->ki",
    [
      [3, 2],
      [3, 4],
    ],
  ],
  [
    "bij,bjk->bik",
    [
      [2, 3, 4],
      [2, 4, 5],
    ],
  ],
  [
    "bqhd,bkhd->bhqk",
    [
      [2, 3, 2, 4],
      [2, 5, 2, 4],
    ],
  ],
  ["i,j->ij", [[3], [4]]],
  ["i,j->ji", [[3], [4]]],
  ["i,i->i", [[3], [3]]],
  ["i,i->", [[3], [3]]],
  ["ij,i->j", [[3, 2], [3]]],
  ["ab,b,c->a", [[2, 3], [3], [4]]],
  [
    "ij,jk,kl->il",
    [
      [2, 7],
      [7, 3],
      [3, 5],
    ],
  ],
  [
    "ij,ij,ij->j",
    [
      [2, 3],
      [2, 3],
      [2, 3],
    ],
  ],
  [
    "nchw,oc->nohw",
    [
      [2, 3, 2, 2],
      [4, 3],
    ],
  ],
  [
    "aB,Bc->ac",
    [
      [2, 3],
      [3, 2],
    ],
  ],
  [",->", [[], []]],
  [
    "ii,jj->ij",
    [
      [2, 2],
      [3, 3],
    ],
  ],
];

describe("einsum", () => {
  it.each(equations)("%s is the sum over every index", (equation, shapes) =>
    run(() => {
      const operands = shapes.map(drawn);
      expectSame(einsum(equation, ...operands), byDefinition(equation, operands));
    }),
  );

  it.each([
    ["ij,jk", "ij,jk->ik"],
    ["ba", "ba->ab"],
    [" i j , j -> i ", "ij,j->i"],
  ])("%s means %s", (short, long) =>
    run(() => {
      const operands = [drawn([2, 2]), drawn(long.includes("jk") ? [2, 2] : [2])].slice(0, long.includes(",") ? 2 : 1);
      expectSame(einsum(short, ...operands), byDefinition(long, operands));
    }),
  );

  it("broadcasts axes under an ellipsis from the right", () =>
    run(() => {
      const [a, b] = [drawn([5, 1, 2, 3]), drawn([4, 3, 2])];
      const wide = a.reshape([5, 2, 3]);
      expect(einsum("...ij,...jk->...ik", a, b).shape).toEqual([5, 4, 2, 2]);
      expectSame(einsum("...ij,...jk->...ik", a, b), byDefinition("aij,bjk->abik", [wide, b]));
      expectSame(einsum("i...,i...", b, b), byDefinition("ijk,ijk->jk", [b, b]));
      const square = drawn([2, 3, 3]);
      expectSame(einsum("...ii->...i", square), byDefinition("bii->bi", [square]));
    }));

  it("has the derivative of a product: each operand's, times the operand, gives the value", () =>
    run(() => {
      const [a, b] = [drawn([2, 3, 4]), drawn([2, 5, 4])];
      const weight = drawn([2, 3, 5]);
      const f = (x: Tensor, y: Tensor): Tensor => sum(einsum("bij,bkj->bik", x, y).mul(weight));
      const value = f(a, b).itemSync();
      expect(
        grad((x: Tensor) => f(x, b))(a)
          .mul(a)
          .sum()
          .itemSync(),
      ).toBeCloseTo(value, 10);
      expect(
        grad((y: Tensor) => f(a, y))(b)
          .mul(b)
          .sum()
          .itemSync(),
      ).toBeCloseTo(value, 10);
    }));

  it("leaves its operand alone where there is nothing to do", () =>
    run(() => {
      const x = drawn([3]);
      einsum("i->i", x).dispose();
      expect(x.disposed).toBe(false);
    }));

  it.each([
    ["ij,jk->ik", [[2, 3]], /names 2 operands, 1 were given/],
    ["ij", [[2, 3, 4]], /"ij" names 2 axes of the operand \[2, 3, 4\]/],
    [
      "ij,jk",
      [
        [2, 3],
        [4, 5],
      ],
      /j is 3 in one place and 4 in the operand \[4, 5\]/,
    ],
    ["ii", [[2, 3]], /i is 2 in one place and 3/],
    ["ij->ik", [[2, 3]], /k of the result is in no operand/],
    ["ij->ii", [[2, 3]], /i is named twice in the result/],
    ["i1", [[2, 3]], /"1" is no letter/],
    ["...i...", [[2]], /more than one ellipsis/],
    ["...i->i", [[2, 3]], /must say where the axes under the ellipsis go/],
    ["i->i->i", [[2]], /"->" occurs more than once/],
    ["...,...", [[2], [3]], /einsum "...,..."/],
  ] as const)("%s of the wrong shapes is refused", (equation, shapes, message) =>
    run(() => {
      const call = (): Tensor => einsum(equation, ...shapes.map((shape) => zeros([...shape])));
      expect(call).toThrow(ShapeError);
      expect(call).toThrow(message);
    }),
  );

  it("refuses an equation that is no text, and products of integers", () =>
    run(() => {
      expect(() => einsum(zeros([2]) as never)).toThrow(UsageError);
      expect(() => einsum("i,i", zeros([2], "i32"), zeros([2], "i32"))).toThrow(DTypeError);
      expect(
        einsum(
          "ii",
          tensor(
            [
              [1, 2],
              [3, 4],
            ],
            { dtype: "i32" },
          ),
        ).itemSync(),
      ).toBe(5);
    }));
});
