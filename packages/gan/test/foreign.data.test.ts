// Public weights in the networks of this package: what they make of recorded inputs agrees with PyTorch, and they do what they
// were trained for: draw the digits that are asked for, denoise, enlarge.

import path from "node:path";
import {
  CompactUpscaler,
  compactUpscalerNames,
  DnCnn,
  dnCnnNames,
  generate,
  ResizeGenerator,
  resizeGeneratorNames,
} from "@figment/gan";
import { loadImage, loadTorch, mnist } from "@figment/io";
import { importTorch, type Module, type TorchRules } from "@figment/nn";
import { assertNoLeaks, compile, rng, scope, type Tensor, tensor } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { goldenFile } from "./golden.js";

const data = process.env.FIGMENT_DATA ?? "";
const golden = goldenFile("checkpoints");
afterAll(() => assertNoLeaks());

it("golden vectors were recorded by the script beside them, from PyTorch 2", () => {
  expect(golden.metadata.script_sha256).toBe(golden.scriptHash());
  expect(golden.metadata.torch).toMatch(/^2\./);
});

/** A network with public weights, in evaluation mode. */
async function load<M extends Module>(module: M, file: string, rules: TorchRules, select?: string): Promise<M> {
  const tensors = await loadTorch(path.join(data, "checkpoints", file), { select });
  importTorch(module, tensors, { rules }).eval();
  for (const tensor of Object.values(tensors)) tensor.dispose();
  return module;
}

const cwganGp = (): Promise<ResizeGenerator> => {
  const generator = new ResizeGenerator({ classes: 10 });
  return load(generator, "cwgan-gp-mnist/generator.pth", resizeGeneratorNames(generator));
};
const dnCnn = (): Promise<DnCnn> => {
  const denoiser = new DnCnn();
  return load(denoiser, "dncnn/dncnn_25.pth", dnCnnNames(denoiser));
};
const compact = (): Promise<CompactUpscaler> => {
  const upscaler = new CompactUpscaler();
  return load(upscaler, "realesr-animevideov3/realesr-animevideov3.pth", compactUpscalerNames(upscaler), "params");
};

/** The largest difference of two tensors. */
const largest = (a: Tensor, b: Tensor): number => a.sub(b).abs().max().itemSync();

/** Peak signal-to-noise ratio of images in [0, 1], in dB. */
const psnr = (a: Tensor, b: Tensor): number => scope(() => -10 * Math.log10(a.sub(b).square().mean().itemSync()));

describe.skipIf(!data)("outputs agree with PyTorch to 1e-4, element by element", () => {
  it("the conditional WGAN-GP on MNIST", async () => {
    const generator = await cwganGp();
    scope(() => {
      const y = generator.forward(golden.tensor("cwganGp/z"), golden.tensor("cwganGp/label"));
      expect(largest(y, golden.tensor("cwganGp/y"))).toBeLessThan(1e-4);
    });
    generator.dispose();
  });

  it("DnCNN-25", async () => {
    const denoiser = await dnCnn();
    scope(() => {
      expect(largest(denoiser.forward(golden.tensor("dncnn/x")), golden.tensor("dncnn/y"))).toBeLessThan(1e-4);
    });
    denoiser.dispose();
  });

  it("the compact Real-ESRGAN", async () => {
    const upscaler = await compact();
    scope(() => {
      expect(largest(upscaler.forward(golden.tensor("compact/x")), golden.tensor("compact/y"))).toBeLessThan(1e-4);
    });
    upscaler.dispose();
  });
});

describe.skipIf(!data)("the conditional WGAN-GP", () => {
  it("draws the digits that are asked for: the mean of each digit's images is nearest to that of MNIST's", async () => {
    const generator = await cwganGp();
    const each = 100;
    const label = tensor(new Int32Array(10 * each).map((_, i) => Math.floor(i / each)));
    const random = rng(0);
    const images = await generate(generator, { count: 10 * each, rng: random, label });
    const drawn = scope(() => images.reshape([10, each, 28 * 28]).mean(1));
    const digits = await mnist(path.join(data, "mnist"), { split: "test" });
    const sums = Array.from({ length: 10 }, () => new Float64Array(28 * 28));
    for (let i = 0; i < 2000; i++) {
      const { image, label: digit } = digits.get(i);
      image.forEach((byte, pixel) => {
        (sums[digit] as Float64Array)[pixel] = ((sums[digit] as Float64Array)[pixel] as number) + byte;
      });
    }
    const correlations = scope(() => {
      // Rows of unit length and mean 0.
      const unit = (x: Tensor): Tensor => {
        const centred = x.sub(x.mean(1, { keepDims: true }));
        return centred.div(centred.square().sum(1, { keepDims: true }).sqrt());
      };
      const real = tensor(Float32Array.from(sums.flatMap((sum) => [...sum])), { shape: [10, 28 * 28] });
      return unit(drawn).matmul(unit(real), { transposeB: true }).argmax(1).dataSync();
    });
    expect([...correlations]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    for (const owner of [generator, label, random, images, drawn]) owner.dispose();
  });
});

describe.skipIf(!data)("on Set5", () => {
  const names = ["baby", "bird", "butterfly", "head", "woman"];
  const image = (name: string, channels: 1 | 3): Promise<Tensor> =>
    loadImage(path.join(data, "set5", `${name}.png`), { channels, range: [0, 1] });

  it("DnCNN-25 takes noise of σ = 25/255 from 20.2 dB to more than 31 dB", { timeout: 300_000 }, async () => {
    const denoiser = await dnCnn();
    const restore = compile((net: DnCnn, x: Tensor) => net.forward(x), { mode: "eval" });
    const random = rng(0);
    const gains: [noisy: number, restored: number][] = [];
    for (const name of names) {
      const clean = await image(name, 1);
      scope(() => {
        const [height, width] = clean.dims(3);
        const original = clean.reshape([1, height, width, 1]);
        const noisy = original.add(random.normal(original.shape).mul(25 / 255));
        gains.push([psnr(noisy, original), psnr(restore(denoiser, noisy).clamp(0, 1), original)]);
      });
      clean.dispose();
    }
    const [noisy, restored] = [0, 1].map((i) => gains.reduce((sum, pair) => sum + pair[i as 0 | 1], 0) / gains.length);
    console.log(`DnCNN-25 on Set5 at σ = 25: ${noisy?.toFixed(2)} dB → ${restored?.toFixed(2)} dB`);
    expect(noisy).toBeCloseTo(20 * Math.log10(255 / 25), 1);
    expect(restored).toBeGreaterThan(31);
    for (const owner of [denoiser, restore, random]) owner.dispose();
  });

  it("the compact Real-ESRGAN enlarges fourfold, true to the image that it was given", {
    timeout: 300_000,
  }, async () => {
    const upscaler = await compact();
    const enlarge = compile((net: CompactUpscaler, x: Tensor) => net.forward(x), { mode: "eval" });
    for (const name of names) {
      const full = await image(name, 3);
      scope(() => {
        const [height, width] = full.dims(3).map((side) => 4 * Math.floor(side / 4)) as [number, number];
        const cropped = full.slice([0, 0, 0], [height, width, 3]);
        const small = averaged(cropped);
        const large = enlarge(upscaler, small.reshape([1, height / 4, width / 4, 3])).reshape([height, width, 3]);
        // Averaged again it is the small image, and it is more like the original than repeated pixels are.
        expect(psnr(averaged(large), small), name).toBeGreaterThan(26);
        const repeated = small
          .reshape([height / 4, 1, width / 4, 1, 3])
          .broadcastTo([height / 4, 4, width / 4, 4, 3])
          .reshape([height, width, 3]);
        expect(psnr(large, cropped), name).toBeGreaterThan(psnr(repeated, cropped));
        console.log(
          `compact Real-ESRGAN ×4, ${name}: ${psnr(large, cropped).toFixed(2)} dB, repeated pixels ${psnr(repeated, cropped).toFixed(2)} dB`,
        );
      });
      full.dispose();
    }
    for (const owner of [upscaler, enlarge]) owner.dispose();
  });
});

/** The mean of each block of 4×4 pixels: [H,W,C] → [H/4,W/4,C]. */
const averaged = (x: Tensor): Tensor => {
  const [height, width, channels] = x.dims(3);
  return x.reshape([height / 4, 4, width / 4, 4, channels]).mean([1, 3]);
};
