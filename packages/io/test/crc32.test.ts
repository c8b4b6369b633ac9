import { expect, it } from "vitest";
import { crc32, slicedCrc32 } from "#files/crc32";
import { seeded } from "./support.js";

it("the checksum is that of the standard, in one piece and in several, with zlib and without", () => {
  const random = seeded(301);
  expect(slicedCrc32(new TextEncoder().encode("123456789"))).toBe(0xcbf43926);
  for (const length of [0, 1, 3, 4, 5, 1000, 1003]) {
    const bytes = Uint8Array.from({ length }, () => random.below(256));
    expect(slicedCrc32(bytes)).toBe(crc32(bytes));
    expect(crc32(new Uint8Array(new ArrayBuffer(0)), crc32(bytes)), "no more bytes").toBe(crc32(bytes));
    const cut = length >> 1;
    expect(slicedCrc32(bytes.subarray(cut), crc32(bytes.subarray(0, cut)))).toBe(crc32(bytes));
  }
});
