// Floats of eight bits, each value of which f32 holds exactly. E4M3 and E5M2: P. Micikevicius et al., "FP8 Formats for Deep
// Learning" (2022). FNUZ ("finite, no negative zero"): B. Noune et al., "8-bit Numerical Formats for Deep Neural Networks"
// (2022). E8M0: OCP Microscaling Formats (MX) v1.0, section 5.4.1.

import type { FileType } from "./types.js";

/** Where a format keeps what is no finite number. */
type Specials = "ieee" | "finite" | "unsigned zero";

interface Format {
  readonly mantissaBits: number;
  readonly bias: number;
  readonly specials: Specials;
}

const formats: Readonly<Partial<Record<FileType, Format>>> = {
  F8_E4M3: { mantissaBits: 3, bias: 7, specials: "finite" },
  F8_E5M2: { mantissaBits: 2, bias: 15, specials: "ieee" },
  F8_E4M3FNUZ: { mantissaBits: 3, bias: 8, specials: "unsigned zero" },
  F8_E5M2FNUZ: { mantissaBits: 2, bias: 16, specials: "unsigned zero" },
};

/** The value of each of the 256 patterns of a type, or nothing for types of other widths. */
export function float8Values(type: FileType): Float32Array | undefined {
  if (type === "F8_E8M0") {
    return Float32Array.from({ length: 256 }, (_, pattern) => (pattern === 255 ? Number.NaN : 2 ** (pattern - 127)));
  }
  const format = formats[type];
  return format && Float32Array.from({ length: 256 }, (_, pattern) => numberOf(pattern, format));
}

function numberOf(pattern: number, { mantissaBits, bias, specials }: Format): number {
  const sign = pattern & 0x80 ? -1 : 1;
  const steps = 2 ** mantissaBits;
  const exponent = (pattern & 0x7f) >> mantissaBits;
  const mantissa = pattern & (steps - 1);
  if (specials === "unsigned zero" && pattern === 0x80) return Number.NaN;
  if (specials === "finite" && (pattern & 0x7f) === 0x7f) return Number.NaN;
  if (specials === "ieee" && exponent === 0x7f >> mantissaBits) return mantissa === 0 ? sign * Infinity : Number.NaN;
  if (exponent === 0) return sign * (mantissa / steps) * 2 ** (1 - bias);
  return sign * (1 + mantissa / steps) * 2 ** (exponent - bias);
}
