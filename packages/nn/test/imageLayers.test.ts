// Layers that change the resolution of images: shapes, agreement with what they are the transpose of, and errors that
// say what was given. Their numbers are compared with PyTorch's in golden.test.ts.

import {
  AvgPool2d,
  BilinearUpsample,
  Conv2d,
  ConvTranspose2d,
  MaxPool2d,
  Module,
  PixelShuffle,
  PixelUnshuffle,
  ReflectionPad2d,
  Sequential,
  summary,
} from "@figment/nn";
import {
  assertNoLeaks,
  compile,
  grad,
  rng,
  ShapeError,
  scope,
  type Tensor,
  tensor,
  UsageError,
  zeros,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

const seed = 11;
console.info(`image layers: seed ${seed}`);
afterAll(() => assertNoLeaks());

describe("ConvTranspose2d", () => {
  it("is the derivative of the convolution of the same weight", () => {
    const random = rng(seed);
    const layer = new ConvTranspose2d(5, 3, [3, 2], { stride: [2, 1], padding: 1, outputPadding: [1, 0], bias: false });
    layer.init(random);
    // The convolution takes 3 channels to 5 with weights [5, kH, kW, 3]: the layer's.
    const conv = new Conv2d(3, 5, [3, 2], { stride: [2, 1], padding: 1, bias: false });
    scope(() => {
      conv.loadStateDict({ weight: layer.weight.value });
      const y = random.normal([2, 4, 5, 5]);
      const x = layer.forward(y);
      const back = grad((image: Tensor) => conv.forward(image).mul(y).sum())(zeros(x.shape));
      expect(x.shape).toEqual([2, 8, 4, 3]);
      expect([...x.dataSync()]).toEqual([...back.dataSync()]);
    });
    for (const module of [layer, conv]) module.dispose();
    random.dispose();
  });

  it("adds rows and columns beyond its stride where the dilation allows them, by the definition and with its gradients", () => {
    const [stride, dilation, outputPadding] = [[1, 2] as const, [3, 5] as const, [2, 4] as const];
    const layer = new ConvTranspose2d(2, 3, 2, { stride, dilation, outputPadding, padding: 1, bias: false });
    const random = rng(seed);
    layer.init(random);
    scope(() => {
      const [x, weight] = [random.normal([1, 3, 4, 2]), layer.weight.value];
      const extents = [3, 4].map(
        (n, i) => (n - 1) * (stride[i] ?? 0) - 2 + (dilation[i] ?? 0) + (outputPadding[i] ?? 0) + 1,
      );
      const y = layer.forward(x);
      const shape = [1, ...extents, 3];
      expect(y.shape).toEqual(shape);
      const factor = random.normal(shape);
      const byX = grad((image: Tensor) => layer.forward(image).mul(factor).sum())(x);
      const [xs, ws, fs] = [x, weight, factor].map((t) => t.dataSync() as Float32Array) as [
        Float32Array,
        Float32Array,
        Float32Array,
      ];
      const [sum, back] = [new Float64Array(y.size), new Float64Array(x.size)];
      const [height, width] = extents as [number, number];
      for (let i = 0; i < 3 * 4 * 2 * 2 * 2 * 3; i++) {
        const [c, kw, kh] = [i % 3, Math.floor(i / 3) % 2, Math.floor(i / 6) % 2];
        const [channel, column, row] = [Math.floor(i / 12) % 2, Math.floor(i / 24) % 4, Math.floor(i / 96)];
        const [r, q] = [row * 1 + kh * 3 - 1, column * 2 + kw * 5 - 1];
        if (r < 0 || r >= height || q < 0 || q >= width) continue;
        const [from, at] = [(row * 4 + column) * 2 + channel, (r * width + q) * 3 + c];
        const w = ws[((channel * 2 + kh) * 2 + kw) * 3 + c] as number;
        sum[at] = (sum[at] as number) + w * (xs[from] as number);
        back[from] = (back[from] as number) + w * (fs[at] as number);
      }
      for (const [i, value] of y.dataSync().entries()) expect(value).toBeCloseTo(sum[i] as number, 5);
      for (const [i, value] of byX.dataSync().entries()) expect(value).toBeCloseTo(back[i] as number, 5);
    });
    layer.dispose();
    random.dispose();
  });

  it("doubles the resolution with the settings of DCGAN", () => {
    const layer = new ConvTranspose2d(8, 4, 4, { stride: 2, padding: 1 }).init(rng(seed));
    scope(() => expect(layer.forward(zeros([1, 7, 7, 8])).shape).toEqual([1, 14, 14, 4]));
    layer.dispose();
  });

  it("counts the operations of the convolution that it transposes", () => {
    const layer = new ConvTranspose2d(8, 4, 4, { stride: 2, padding: 1 }).init(rng(seed));
    scope(() => {
      const x = zeros([1, 7, 7, 8]);
      expect(summary(layer, x).flops).toBe(2 * x.size * 4 * 4 * 4);
    });
    layer.dispose();
  });

  it("refuses channels that do not divide, images of others, and padding that leaves nothing", () => {
    expect(() => new ConvTranspose2d(5, 4, 3, { groups: 2 })).toThrow(UsageError);
    expect(() => new ConvTranspose2d(4, 4, 3, { stride: 2, outputPadding: 2 })).toThrow(
      /outputPadding must be in \[0, 2\)/,
    );
    const layer = new ConvTranspose2d(2, 1, 2, { padding: 2 }).init(rng(seed));
    scope(() => {
      expect(() => layer.forward(zeros([1, 4, 4, 3]))).toThrow(
        /expected x of shape \[N, H, W, 2\], got \[1, 4, 4, 3\]/,
      );
      expect(() => layer.forward(zeros([1, 2, 2, 2]))).toThrow(/leaves nothing/);
    });
    layer.dispose();
  });
});

describe("layers without parameters", () => {
  it.each([
    ["MaxPool2d", new MaxPool2d(3, { stride: 2, padding: 1 }), [1, 7, 8, 2], [1, 4, 4, 2]],
    ["AvgPool2d", new AvgPool2d([2, 4]), [1, 6, 8, 2], [1, 3, 2, 2]],
    ["BilinearUpsample", new BilinearUpsample(3), [1, 2, 3, 2], [1, 6, 9, 2]],
    ["PixelShuffle", new PixelShuffle(2), [1, 2, 3, 8], [1, 4, 6, 2]],
    ["PixelUnshuffle", new PixelUnshuffle(2), [1, 4, 6, 2], [1, 2, 3, 8]],
    ["ReflectionPad2d", new ReflectionPad2d([1, 2]), [1, 4, 5, 2], [1, 6, 9, 2]],
  ] as const)("%s hold none, have the shapes they say, and compile", (_name, layer, from, to) => {
    expect(layer).toBeInstanceOf(Module);
    expect(layer.parameterCount).toBe(0);
    const program = compile((input: Tensor) => layer.forward(input));
    scope(() => {
      const input = zeros(from);
      expect(layer.forward(input).shape).toEqual(to);
      expect(program(input).shape).toEqual(to);
    });
    program.dispose();
  });

  it("stand in a Sequential between others", () => {
    const net = new Sequential(new ReflectionPad2d(1), new Conv2d(3, 8, 3), new MaxPool2d(2), new PixelShuffle(2));
    net.init(rng(seed));
    scope(() => expect(net.forward(zeros([1, 6, 6, 3])).shape).toEqual([1, 6, 6, 2]));
    net.dispose();
  });

  it("refuse images that are too small, naming the operation", () =>
    scope(() => {
      expect(() => new ReflectionPad2d(2).forward(tensor([1, 2], { shape: [1, 1, 2, 1] }))).toThrow(ShapeError);
      expect(() => new MaxPool2d(3).forward(zeros([1, 2, 2, 1]))).toThrow(/maxPool/);
    }));
});
