// Max pooling of channels-last images. Its derivative gives each window's cotangent to the place of its largest
// element: maxPoolGrad(x, dy), linear in dy. The transpose of that takes what stands at those places:
// maxPoolTake(x, v), linear in v. Each is the other's derivative, so pooling closes at every order. The places are
// found again from x instead of being stored, so that no index that could be wrong is ever followed.

import { applyOne } from "../core/apply.js";
import type { Tensor } from "../core/tensor.js";
import { ShapeError } from "../errors.js";
import type { Aval, Node } from "../ir/graph.js";
import { type Shape, showShape, sizeOf } from "../shape.js";
import { checkOptions, checkTensor, expectCompute, expectCount, expectShape, paddingOf, pairOf } from "./checks.js";
import { defineOp, type KernelCall, nativeSchema, type OpDef, type Sample } from "./definition.js";
import { expectImage, expectPixels, type Image } from "./images.js";
import { type PoolAttrs, type PoolOptions, poolFields, poolParams } from "./resize.js";

const maxPoolSchema = nativeSchema("maxPool", poolFields);
const maxPoolGradSchema = nativeSchema("maxPoolGrad", poolFields);
const maxPoolTakeSchema = nativeSchema("maxPoolTake", poolFields);

function pooledShape(op: string, x: Aval, { kernel, stride, padLo, padHi }: PoolAttrs): Shape {
  expectImage(op, "x", x);
  expectPixels(op, x);
  const [n, h, w, c] = x.shape as Image;
  const extent = (axis: 0 | 1, length: number): number => {
    if (padLo[axis] >= kernel[axis] || padHi[axis] >= kernel[axis]) {
      throw new ShapeError(
        `${op}: padding [[${padLo[0]}, ${padHi[0]}], [${padLo[1]}, ${padHi[1]}]] must be smaller than the ${kernel[0]}×${kernel[1]} window, or a window would hold nothing`,
      );
    }
    const room = length + padLo[axis] + padHi[axis] - kernel[axis];
    if (room < 0) {
      throw new ShapeError(
        `${op}: the ${kernel[0]}×${kernel[1]} window does not fit into the image ${showShape(x.shape)} with its padding`,
      );
    }
    return Math.floor(room / stride[axis]) + 1;
  };
  return [n, extent(0, h), extent(1, w), c];
}

function callOf(schema: KernelCall["schema"], node: Node, windows: Aval, attrs: PoolAttrs): KernelCall {
  return {
    schema,
    params: poolParams(node.inputs[0] as Aval, windows, attrs),
    inputs: node.inputs.map(({ shape }, index) => ({ index, dims: shape })),
    outputs: node.outputs.map(({ shape }, index) => ({ index, dims: shape })),
  };
}

/** For each window and channel, in order, the element of x that is the largest: the first one, or a NaN. */
function largestPlaces(x: Float64Array, image: Aval, attrs: PoolAttrs): number[] {
  const [, h, w, c] = image.shape as Image;
  const [n, ho, wo] = pooledShape("maxPool", image, attrs) as Image;
  const { kernel, stride, padLo } = attrs;
  const places: number[] = [];
  for (let window = 0; window < n * ho * wo * c; window++) {
    const [channel, position] = [window % c, Math.floor(window / c)];
    const row = Math.floor(position / wo);
    let found = -1;
    for (let tap = 0; tap < kernel[0] * kernel[1]; tap++) {
      const i = (row % ho) * stride[0] - padLo[0] + Math.floor(tap / kernel[1]);
      const j = (position % wo) * stride[1] - padLo[1] + (tap % kernel[1]);
      if (i < 0 || i >= h || j < 0 || j >= w) continue;
      const at = ((Math.floor(row / ho) * h + i) * w + j) * c + channel;
      const value = x[at] as number;
      if (found < 0 || value > (x[found] as number) || Number.isNaN(value)) found = at;
    }
    places.push(found);
  }
  return places;
}

const cases: readonly (readonly [Image, PoolAttrs])[] = [
  [[1, 1, 1, 1], { kernel: [1, 1], stride: [1, 1], padLo: [0, 0], padHi: [0, 0] }],
  [[2, 4, 6, 3], { kernel: [2, 2], stride: [2, 2], padLo: [0, 0], padHi: [0, 0] }],
  [[1, 7, 5, 2], { kernel: [3, 2], stride: [2, 1], padLo: [1, 0], padHi: [0, 1] }],
  [[1, 9, 7, 3], { kernel: [3, 3], stride: [2, 2], padLo: [1, 1], padHi: [1, 1] }],
  [[2, 5, 4, 1], { kernel: [2, 2], stride: [3, 3], padLo: [0, 1], padHi: [0, 0] }],
  [[1, 5, 5, 9], { kernel: [5, 5], stride: [5, 5], padLo: [0, 0], padHi: [0, 0] }],
  [[2, 14, 14, 33], { kernel: [3, 3], stride: [2, 2], padLo: [1, 1], padHi: [1, 1] }],
  [[1, 61, 40, 20], { kernel: [3, 3], stride: [1, 1], padLo: [1, 1], padHi: [1, 1] }],
];

/** One sample for each case; `beside` is the shape of the second operand. */
const samplesOf = (beside: (x: Aval, attrs: PoolAttrs) => Shape | null): Sample<PoolAttrs>[] =>
  cases.map(([shape, attrs]) => {
    const second = beside({ shape, dtype: "f32" }, attrs);
    return { inputs: [{ shape }, ...(second ? [{ shape: second }] : [])], attrs };
  });

const gradient = (x: Tensor, dy: Tensor, attrs: PoolAttrs): Tensor => applyOne(maxPoolGradDef, [x, dy], attrs);

export const maxPoolDef: OpDef<PoolAttrs> = defineOp({
  name: "maxPool",
  effect: "pure",
  infer: (inputs, attrs) => {
    expectCount("maxPool", inputs, 1);
    const x = inputs[0] as Aval;
    return [{ shape: pooledShape("maxPool", x, attrs), dtype: expectCompute("maxPool", { x }) }];
  },
  vjp: ({ inputs, cotangent, attrs }) => [gradient(inputs[0] as Tensor, cotangent(), attrs)],
  lower: {
    kind: "kernel",
    call: (node, attrs) => callOf(maxPoolSchema, node, node.outputs[0] as Aval, attrs),
  },
  reference: ([x], [aval], attrs) => [
    Float64Array.from(largestPlaces(x as Float64Array, aval as Aval, attrs), (at) => (x as Float64Array)[at] as number),
  ],
  samples: () => samplesOf(() => null),
});

export const maxPoolTakeDef: OpDef<PoolAttrs> = defineOp({
  name: "maxPoolTake",
  effect: "pure",
  infer: (inputs, attrs) => {
    expectCount("maxPoolTake", inputs, 2);
    const [x, v] = inputs as readonly [Aval, Aval];
    const dtype = expectCompute("maxPoolTake", { x, v });
    const shape = pooledShape("maxPoolTake", x, attrs);
    expectShape("maxPoolTake", "v", v, x.shape);
    return [{ shape, dtype }];
  },
  vjp: ({ inputs, cotangent, attrs, needs }) => [
    undefined,
    needs(1) ? gradient(inputs[0] as Tensor, cotangent(), attrs) : undefined,
  ],
  lower: {
    kind: "kernel",
    call: (node, attrs) => callOf(maxPoolTakeSchema, node, node.outputs[0] as Aval, attrs),
  },
  reference: ([x, v], [aval], attrs) => [
    Float64Array.from(largestPlaces(x as Float64Array, aval as Aval, attrs), (at) => (v as Float64Array)[at] as number),
  ],
  samples: () => samplesOf((x) => x.shape),
});

export const maxPoolGradDef: OpDef<PoolAttrs> = defineOp({
  name: "maxPoolGrad",
  effect: "pure",
  infer: (inputs, attrs) => {
    expectCount("maxPoolGrad", inputs, 2);
    const [x, dy] = inputs as readonly [Aval, Aval];
    const dtype = expectCompute("maxPoolGrad", { x, dy });
    expectShape("maxPoolGrad", "dy", dy, pooledShape("maxPoolGrad", x, attrs));
    return [{ shape: x.shape, dtype }];
  },
  vjp: ({ inputs, cotangent, attrs, needs }) => [
    undefined,
    needs(1) ? applyOne(maxPoolTakeDef, [inputs[0] as Tensor, cotangent()], attrs) : undefined,
  ],
  lower: {
    kind: "kernel",
    call: (node, attrs) => callOf(maxPoolGradSchema, node, node.inputs[1] as Aval, attrs),
  },
  reference: ([x, dy], [aval], attrs) => {
    const out = new Float64Array(sizeOf((aval as Aval).shape));
    largestPlaces(x as Float64Array, aval as Aval, attrs).forEach((at, window) => {
      out[at] = (out[at] as number) + ((dy as Float64Array)[window] as number);
    });
    return [out];
  },
  samples: () => samplesOf((x, attrs) => pooledShape("maxPoolGrad", x, attrs)),
});

/**
 * The largest element of each window, channel by channel. Padding takes no part. The derivative goes to the largest
 * element, the first one in row-major order where several are equal; NaN counts as larger than any number.
 *
 * @param x [N, H, W, C], of a float type.
 * @param options `padding` must be smaller than `kernel`, so that no window is empty.
 * @returns [N, Ho, Wo, C] with Ho = ⌊(H + padding − kernel) / stride⌋ + 1, padding that of both sides.
 * @throws ShapeError when the window does not fit or lies in the padding alone.
 * @example
 * maxPool(tensor([1, 5, 2, 3], { shape: [1, 2, 2, 1] }), { kernel: 2 }).at(0, 0, 0, 0); // 5
 */
export function maxPool(x: Tensor, options: PoolOptions): Tensor {
  checkTensor("maxPool", "x", x);
  checkOptions("maxPool", options, ["kernel", "stride", "padding"]);
  const kernel = pairOf("maxPool", "kernel", options.kernel, 1);
  const stride = pairOf("maxPool", "stride", options.stride ?? kernel, 1);
  return applyOne(maxPoolDef, [x], { kernel, stride, ...paddingOf("maxPool", options.padding ?? 0) });
}
