import { msSsim, psnr, ssim } from "@figment/metrics";
import {
  DTypeError,
  full,
  NonFiniteError,
  rng,
  ShapeError,
  type Tensor,
  tensor,
  UsageError,
  zeros,
} from "@figment/tensor";
import { describe, expect, it } from "vitest";
import { golden, picture } from "./numbers.js";

const range = [0, 255] as const;
const small = [picture(1, 28, 31, 3), picture(2, 28, 31, 3)] as const;
const large = [picture(3, 177, 190, 1), picture(4, 177, 190, 1)] as const;
const random = rng(5);
const images = random.uniform([3, 24, 20, 2]);
const others = random.uniform([3, 24, 20, 2]);

describe("psnr", () => {
  it("is what PyTorch finds", async () => {
    expect((await psnr(...small, { range })).mean).toBeCloseTo(golden.psnr[0], 10);
    expect((await psnr(...large, { range })).mean).toBeCloseTo(golden.psnr[1], 10);
  });

  it("is infinite for equal images and symmetric for others", async () => {
    expect((await psnr(images, images)).perImage).toEqual(Float64Array.of(Infinity, Infinity, Infinity));
    expect(await psnr(images, others)).toEqual(await psnr(others, images));
  });

  it("falls by 20 dB where the difference is tenfold, and counts it in widths of the range", async () => {
    const at = async (difference: number, high: number) =>
      (await psnr(zeros([4, 4, 1]), full([4, 4, 1], difference), { range: [0, high] })).mean;
    expect((await at(0.05, 1)) - (await at(0.5, 1))).toBeCloseTo(20, 6);
    expect(await at(0.5, 1)).toBeCloseTo(await at(64, 128), 6);
  });
});

describe("ssim", () => {
  it("is what PyTorch finds", async () => {
    expect((await ssim(...small, { range })).mean).toBeCloseTo(golden.ssim[0], 10);
    expect((await ssim(...large, { range })).mean).toBeCloseTo(golden.ssim[1], 10);
  });

  it("is 1 for equal images and symmetric for others", async () => {
    for (const x of (await ssim(images, images)).perImage) expect(x).toBeCloseTo(1, 12);
    const [there, back] = [await ssim(images, others), await ssim(others, images)];
    expect(there.mean).toBeCloseTo(back.mean, 12);
    expect(there.mean).toBeLessThan(0.5);
  });

  it("does not depend on the unit of the pixels", async () => {
    const [a, b] = [images.mul(64), others.mul(64)];
    const scaled = await ssim(a, b, { range: [0, 64] });
    expect(scaled.mean).toBeCloseTo((await ssim(images, others, { range: [0, 1] })).mean, 12);
  });

  it("scores each image by itself", async () => {
    const { perImage } = await ssim(images, others);
    const alone = await ssim(images.at(1), others.at(1));
    expect(alone.perImage[0]).toBe(perImage[1]);
  });

  it("of constant images is their luminance term", async () => {
    const { mean } = await ssim(full([12, 12, 1], 0.25), full([12, 12, 1], 0.5), { range: [0, 1] });
    expect(mean).toBeCloseTo((2 * 0.25 * 0.5 + 1e-4) / (0.25 ** 2 + 0.5 ** 2 + 1e-4), 6);
  });
});

describe("msSsim", () => {
  it("is what PyTorch finds", async () => {
    expect((await msSsim(...large, { range })).mean).toBeCloseTo(golden.msSsim, 10);
  });

  it("of one scale is ssim", async () => {
    const one = await msSsim(...small, { range, weights: [1] });
    expect(one.mean).toBeCloseTo((await ssim(...small, { range })).mean, 12);
  });

  it("is 0, not NaN, where a scale is of opposite structure", async () => {
    const negative = small[0].mul(-1).add(255);
    expect((await msSsim(small[0], negative, { range, weights: [0.5, 0.5] })).mean).toBe(0);
  });
});

describe("comparisons of images", () => {
  const nan = tensor(new Float32Array(242).fill(Number.NaN), { shape: [2, 11, 11, 1] });
  const wrong: [string, () => Promise<unknown>, new (...args: never[]) => Error][] = [
    ["other shapes", () => psnr(zeros([2, 4, 4, 1]), zeros([2, 4, 5, 1])), ShapeError],
    ["another rank", () => psnr(zeros([4, 4]), zeros([4, 4])), ShapeError],
    ["images smaller than the window", () => ssim(zeros([10, 40, 1]), zeros([10, 40, 1])), ShapeError],
    ["images too small for five scales", () => msSsim(zeros([160, 161, 1]), zeros([160, 161, 1])), ShapeError],
    ["NaN", () => ssim(nan, nan), NonFiniteError],
    ["a range that is none", () => psnr(images, images, { range: [1, 1] }), UsageError],
    ["integers", () => psnr(images.cast("i32"), images.cast("i32")), DTypeError],
    ["what is no tensor", () => psnr([0] as unknown as Tensor, images), DTypeError],
    ["weights below zero", () => msSsim(images, images, { weights: [1, -1] }), UsageError],
    ["no images", () => psnr(zeros([0, 4, 4, 1]), zeros([0, 4, 4, 1])), UsageError],
  ];
  it.each(wrong)("refuse %s", async (_what, call, type) => {
    await expect(call()).rejects.toThrow(type);
  });
});
