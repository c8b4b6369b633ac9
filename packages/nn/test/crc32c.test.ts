import { describe, expect, it } from "vitest";
import { crc32c, maskedCrc32c } from "#trainer/events/crc32c";
import { crc32cOf } from "./support/eventFile.js";

describe("CRC-32C", () => {
  it("gives the checksums of RFC 3720, B.4", () => {
    const ascending = Uint8Array.from({ length: 32 }, (_, i) => i);
    expect(crc32c(new Uint8Array(32)).toString(16)).toBe("8a9136aa");
    expect(crc32c(new Uint8Array(32).fill(255)).toString(16)).toBe("62a8ab43");
    expect(crc32c(ascending).toString(16)).toBe("46dd794e");
    expect(crc32c(ascending.toReversed()).toString(16)).toBe("113fdb5c");
    expect(crc32c(new TextEncoder().encode("123456789")).toString(16)).toBe("e3069283");
  });

  it("agrees with the division done bit by bit, and is masked by rotation and a constant", () => {
    const bytes = Uint8Array.from({ length: 1000 }, (_, i) => (i * 7919) % 256);
    expect(crc32c(bytes)).toBe(crc32cOf(bytes));
    expect(maskedCrc32c(new Uint8Array(0))).toBe(0xa282ead8);
  });
});
