// Resizing, pooling and filtering of images on the GPU beyond the samples of their definitions: channels that fill vectors
// and that don't, phases of filters, windows that overlap, skip and hang over, equal elements and NaN.

import { loadBinding } from "@figment/native";
import { assertNoLeaks, scope, type Tensor, tensor } from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { definedOps, type OpDef } from "#ops/definition";
import { onDevice } from "#runtime/device";
import { runNode } from "#runtime/eager";
import { cudaDevice } from "./support/cuda.ts";
import { Draws } from "./support/draws.ts";

const seed = 1103;
const binding = loadBinding();
const device = cudaDevice();
const index = device.index ?? 0;
console.info(`CUDA images: seed ${seed}`);

beforeAll(() => {
  if (device.index !== undefined) binding.setPoison(true, index);
});
afterAll(() => {
  if (device.index !== undefined) binding.setPoison(false, index);
  assertNoLeaks();
});

type Attrs = Record<string, unknown>;
type Shape = readonly number[];
interface Input {
  readonly shape: Shape;
  readonly data: Float32Array;
}

const named = (name: string): OpDef => definedOps().find((def) => def.name === name) as OpDef;
const drawn = (shape: Shape, salt: number): Input => {
  const draws = new Draws(seed + salt);
  return { shape, data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => draws.uniform(-1, 1)) };
};

/** Runs every variant on the GPU, and expects what the CPU's plain kernel gives. */
function compare(name: string, inputs: readonly Input[], attrs: Attrs): void {
  const run = (on: number, variant: string): { shape: Shape; data: Float32Array } =>
    onDevice(on, () =>
      scope(() => {
        const operands = inputs.map(({ shape, data }): Tensor => tensor(data, { shape }));
        const [result] = runNode(named(name), operands, attrs, { variant }) as [Tensor];
        return { shape: result.shape, data: result.dataSync() as Float32Array };
      }),
    );
  const expected = run(0, "reference");
  for (const { name: variant } of binding.variants(name, index)) {
    let result: ReturnType<typeof run>;
    try {
      result = run(index, variant);
    } catch (error) {
      // One that is not made for this call says so; the plain one takes all.
      expect(variant).not.toBe("plain");
      expect(String(error)).toMatch(/variant|kernel/);
      continue;
    }
    expect(result.shape).toEqual(expected.shape);
    let worst = 0;
    for (let i = 0; i < expected.data.length; i++) {
      const [is, wanted] = [result.data[i] as number, expected.data[i] as number];
      if (Number.isNaN(wanted)) expect(is, `${variant} at ${i}`).toBeNaN();
      else worst = Math.max(worst, Number.isNaN(is) ? Number.POSITIVE_INFINITY : Math.abs(is - wanted));
    }
    expect(worst, variant).toBeLessThanOrEqual(2e-5);
  }
}

const pools: readonly (readonly [Shape, Attrs])[] = [
  [[2, 8, 6, 4], { kernel: [2, 2], stride: [2, 2], padLo: [0, 0], padHi: [0, 0] }],
  [[1, 11, 13, 8], { kernel: [3, 3], stride: [2, 2], padLo: [1, 1], padHi: [1, 1] }],
  [[3, 7, 5, 12], { kernel: [3, 2], stride: [1, 3], padLo: [2, 1], padHi: [0, 1] }],
  [[1, 9, 10, 20], { kernel: [2, 2], stride: [3, 4], padLo: [0, 1], padHi: [1, 0] }],
  [[2, 5, 7, 7], { kernel: [5, 7], stride: [1, 1], padLo: [4, 6], padHi: [4, 6] }],
  [[1, 64, 64, 16], { kernel: [3, 3], stride: [1, 1], padLo: [1, 1], padHi: [1, 1] }],
];
const sizes: readonly (readonly [Shape, readonly [number, number]])[] = [
  [
    [2, 4, 5, 4],
    [8, 10],
  ],
  [
    [1, 7, 3, 8],
    [5, 11],
  ],
  [
    [1, 16, 16, 12],
    [5, 1],
  ],
  [
    [2, 1, 1, 16],
    [6, 7],
  ],
  [
    [1, 13, 17, 5],
    [29, 31],
  ],
  [
    [1, 31, 29, 4],
    [13, 17],
  ],
  [
    [1, 2, 3, 4],
    [64, 96],
  ],
];
const pooled = ([n, h, w, c]: Shape, { kernel, stride, padLo, padHi }: Attrs): Shape => {
  const out = (d: 0 | 1, size: number): number => {
    const at = (x: unknown): number => (x as readonly number[])[d] as number;
    return Math.floor((size + at(padLo) + at(padHi) - at(kernel)) / at(stride)) + 1;
  };
  return [n as number, out(0, h as number), out(1, w as number), c as number];
};

describe.skipIf(device.index === undefined)("images on the GPU", () => {
  it.each(pools)("are pooled as on the CPU: %j %j", (shape, attrs) => {
    const windows = pooled(shape, attrs);
    compare("maxPool", [drawn(shape, 1)], attrs);
    compare("maxPoolTake", [drawn(shape, 2), drawn(shape, 3)], attrs);
    compare("maxPoolGrad", [drawn(shape, 4), drawn(windows, 5)], attrs);
    compare("avgPool", [drawn(shape, 6)], attrs);
    compare("avgPoolGrad", [drawn(windows, 7)], { ...attrs, inputSize: shape.slice(1, 3) });
  });

  it("have one largest element in a window, the first of equal ones, and the last NaN", () => {
    const [shape, attrs] = pools[1] as readonly [Shape, Attrs];
    const x = drawn(shape, 8);
    for (let i = 0; i < x.data.length; i++)
      x.data[i] = i % 37 === 5 ? Number.NaN : Math.round((x.data[i] as number) * 2);
    compare("maxPool", [x], attrs);
    compare("maxPoolTake", [x, drawn(shape, 9)], attrs);
    compare("maxPoolGrad", [x, drawn(pooled(shape, attrs), 10)], attrs);
  });

  it.each(sizes)("are resized as on the CPU: %j to %j", (shape, size) => {
    const [n, h, w, c] = shape as readonly [number, number, number, number];
    compare("resizeNearest", [drawn(shape, 11)], { size });
    compare("resizeNearestGrad", [drawn([n, ...size, c], 12)], { size: [h, w] });
    for (const alignCorners of [false, true]) {
      compare("resizeBilinear", [drawn(shape, 13)], { size, alignCorners });
      compare("resizeBilinearGrad", [drawn([n, ...size, c], 14)], { size: [h, w], alignCorners });
    }
  });

  const filters = [1, 2].flatMap((up) =>
    [1, 2].flatMap((down) =>
      [[4, 4] as const, [3, 5] as const].flatMap((taps) =>
        [4, 3].flatMap((channels) =>
          [-2, -1, 0, 1, 2, 3].map((pad) => ({ up, down, taps, channels, pad, flip: (pad + channels) % 2 === 0 })),
        ),
      ),
    ),
  );
  it.each(filters)(
    "are filtered as on the CPU: up $up, down $down, $taps taps, $channels channels, padding $pad",
    ({ up, down, taps, channels, pad, flip }) => {
      const attrs = { up: [up, up], down: [down, down], padLo: [pad, 1 - pad], padHi: [2 - pad, pad], flip };
      compare("upfirdn2d", [drawn([2, 9, 11, channels], 15), drawn(taps, 16)], attrs);
    },
  );
});
