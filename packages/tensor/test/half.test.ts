// bf16 and f16: JavaScript and every native kernel narrow and widen to the same bits.

import { loadBinding } from "@figment/native";
import {
  assertNoLeaks,
  compile,
  type DType,
  DTypeError,
  fromBits,
  full,
  ones,
  ShapeError,
  scope,
  type Tensor,
  tensor,
  transpose,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { fromBf16, fromF16, nanBits, toBf16, toF16 } from "#dtype";
import { definedOp } from "#ops/definition";
import { runNode } from "#runtime/eager";
import { Draws } from "./support/draws.ts";

const seed = 1616;
const half = { bf16: { narrow: toBf16, widen: fromBf16 }, f16: { narrow: toF16, widen: fromF16 } } as const;
const types = ["bf16", "f16"] as const;
const variants = loadBinding()
  .variants("elementwise")
  .map(({ name }) => name);
const everyPattern = Uint16Array.from({ length: 1 << 16 }, (_, i) => i);

console.info(`16-bit floats: seed ${seed}`);
afterAll(() => assertNoLeaks());

const castOn = (x: Tensor, dtype: DType, variant: string): Tensor =>
  runNode(definedOp("cast"), [x], { dtype }, { variant })[0] as Tensor;

/** The places where two lists differ, a NaN being equal to a NaN. */
const differences = (a: ArrayLike<number>, b: ArrayLike<number>): number[] =>
  Array.from({ length: Math.max(a.length, b.length) }, (_, i) => i).filter((i) => !Object.is(a[i], b[i]));

/** f32 numbers around every place where narrowing decides: values of the type, midpoints, their neighbours, any bits. */
function hardFloats(widen: (bits: number) => number): Float32Array {
  const draws = new Draws(seed);
  const floats = new Float32Array(6 * (1 << 16));
  const words = new Uint32Array(floats.buffer);
  for (let i = 0; i < 1 << 16; i++) {
    const at = 6 * i;
    const next = widen(i + 1);
    floats[at] = widen(i);
    floats[at + 1] = Number.isFinite(next) ? (widen(i) + next) / 2 : widen(i);
    words[at + 2] = (words[at + 1] as number) + 1;
    words[at + 3] = (words[at + 1] as number) - 1;
    words[at + 4] = draws.integer(0, 2 ** 32);
    floats[at + 5] = draws.uniform(-1, 1) * 2 ** draws.integer(-30, 20);
  }
  return floats;
}

describe.each(types)("%s", (dtype) => {
  const { narrow, widen } = half[dtype];

  it.each(variants)("is narrowed by the kernel %s to the bits that JavaScript gives", (variant) =>
    scope(() => {
      const floats = hardFloats(widen);
      const expected = Uint16Array.from(floats, narrow);
      expect(differences(castOn(tensor(floats), dtype, variant).bitsSync(), expected)).toEqual([]);
    }),
  );

  it.each(variants)("is widened by the kernel %s to the numbers that JavaScript gives, denormals kept", (variant) =>
    scope(() => {
      const x = fromBits(everyPattern, [256, 256], dtype);
      const expected = Float32Array.from(everyPattern, widen);
      expect(differences(castOn(x, "f32", variant).dataSync(), expected)).toEqual([]);
      expect(differences(x.dataSync(), expected)).toEqual([]);
    }),
  );

  it("comes back from its own numbers with the same bits, every NaN as one", () => {
    const same = everyPattern.filter((bits) => narrow(widen(bits)) !== bits && !Number.isNaN(widen(bits)));
    expect([...same]).toEqual([]);
    expect(narrow(Number.NaN)).toBe(nanBits[dtype]);
  });

  it("keeps the bits that it is made from, NaNs included", async () => {
    using x = fromBits(everyPattern, [1 << 16], dtype);
    expect(differences(await x.bits(), everyPattern)).toEqual([]);
    expect(x.dtype).toBe(dtype);
  });

  it("moves through views unchanged", () =>
    scope(() => {
      const bits = Uint16Array.of(0x0001, 0x8001, 0x3c00, 0xbc00, 0x7f00 & 0x77ff, 0x0000);
      const turned = transpose(fromBits(bits, [2, 3], dtype), [1, 0]);
      expect([...turned.bitsSync()]).toEqual([0, 3, 1, 4, 2, 5].map((i) => bits[i]));
    }));
});

it.each(["bf16", "f16"] as const)("meets plain numbers rounded as %s, in compiled functions too", (dtype) =>
  scope(() => {
    const x = tensor(Float64Array.from({ length: 70 }, (_, i) => (i + 1) / 37)).cast(dtype);
    const rounded = tensor([0.3]).cast(dtype);
    for (const f of [(y: Tensor) => y.mul(0.3), (y: Tensor) => y.mul(full([70], 0.3, dtype))]) {
      const compiled = compile(f);
      const expected = x.mul(rounded).bitsSync();
      expect(f(x).bitsSync()).toEqual(expected);
      expect(compiled(x).bitsSync()).toEqual(expected);
      compiled.dispose();
    }
  }),
);

it("is only made from and read as 16-bit numbers", async () => {
  expect(() => fromBits(new Uint8Array(2) as never, [2], "bf16")).toThrow(DTypeError);
  expect(() => fromBits(new Uint16Array(2), [2], "f32" as never)).toThrow(/must be bf16 or f16, got "f32"/);
  expect(() => fromBits(new Uint16Array(2), [3], "f16")).toThrow(ShapeError);
  using x = ones([2]);
  await expect(x.bits()).rejects.toThrow(/the tensor is f32; only bf16 and f16 are read as bits/);
  expect(() => x.bitsSync()).toThrow(DTypeError);
});
