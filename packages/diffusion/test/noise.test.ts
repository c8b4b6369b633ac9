// PyTorch's noise: numbers that torch.randn gave on the CPU.

import { TorchNoise, torchNoise } from "@figment/diffusion";
import { assertNoLeaks, UsageError } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

afterAll(() => assertNoLeaks());

describe("noise of seed 42", () => {
  // torch 2.13: generator.manual_seed(42); randn(2, 3, 4, 5); randn(5); randn(19).
  const first = [1.9269152879714966, 1.4872840642929077, 0.9007171988487244, -2.1055209636688232];
  const last = [-0.5628241896629333, 0.6793403625488281, 0.44053012132644653];
  const few = [-0.23872417211532593, -0.5049903988838196, -2.475163221359253, -0.931602954864502, -0.13348686695098877];
  const odd = [0.2694815397262573, -0.21037597954273224, -0.7328027486801147];
  const tail = [-1.158583402633667, -0.9636622667312622, -0.3749968111515045];
  const close = (found: ArrayLike<number>, wanted: readonly number[]): void => {
    wanted.forEach((value, i) => {
      expect(found[i]).toBe(Math.fround(value));
    });
  };

  it("is PyTorch's, in whole blocks, one by one, and where the last block overlaps the one before", () => {
    const noise = torchNoise(42);
    const block = noise.draw(120);
    close(block, first);
    close(block.subarray(117), last);
    close(noise.draw(5), few);
    const overlapping = noise.draw(19);
    close(overlapping, odd);
    close(overlapping.subarray(16), tail);
  });

  it("fills images channel by channel, as PyTorch lays them out", () => {
    using image = new TorchNoise(42).normal([2, 4, 5, 3]);
    const data = image.dataSync();
    const plain = torchNoise(42).draw(120);
    // Pixel (1, 2) of the second image in each channel.
    for (let c = 0; c < 3; c++) expect(data[((4 + 1) * 5 + 2) * 3 + c]).toBe(plain[((3 + c) * 4 + 1) * 5 + 2]);
  });

  it.each([
    [5, 160_000, 4039182072, 2400580058],
    [2 ** 40 + 7, 1003, 1153189359, 3522055967],
  ])("of seed %i is the same in every bit of %i numbers", (seed, count, xor, sum) => {
    // Of the numbers' bits, in torch 2.13.
    const words = new Uint32Array(torchNoise(seed).draw(count).buffer);
    expect(words.reduce((all, word) => (all ^ word) >>> 0)).toBe(xor);
    expect(words.reduce((all, word) => (all + word) % 2 ** 32)).toBe(sum);
  });

  it("needs an integer", () => expect(() => torchNoise(0.5)).toThrow(UsageError));
});
