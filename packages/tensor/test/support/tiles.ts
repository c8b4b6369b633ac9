// Which kernels serve a test: with matrix tiles, which few machines have, or without them on any machine.

import { loadBinding } from "@figment/native";
import { afterAll, beforeAll, describe } from "vitest";

const binding = loadBinding();

/** Has the tests of a suite choose among kernels as a machine without matrix tiles does. */
export function withoutTiles(): void {
  const { isa } = binding.cpu();
  beforeAll(() => {
    if (isa === "amx" || isa === "avx512bf16") binding.setIsa("avx512");
  });
  afterAll(() => binding.setIsa(isa));
}

/** Has them choose as one with matrix tiles does, on emulated ones. */
export function withEmulatedTiles(): void {
  beforeAll(() => binding.setEmulatedTiles(true));
  afterAll(() => binding.setEmulatedTiles(false));
}

/** Describes what holds of products whichever kernels serve them: those on vectors, on emulated tiles, and this machine's. */
export function describeOnTiles(products: string, holds: () => void): void {
  describe(`${products} on vectors`, () => {
    withoutTiles();
    holds();
  });
  describe(`${products} on emulated tiles`, () => {
    withEmulatedTiles();
    holds();
  });
  describe(`${products} on what this machine has`, holds);
}
