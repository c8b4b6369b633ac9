// One element at a time between 32-bit floats and the 16-bit formats, in integer arithmetic: what
// portable code uses, and what the vector conversions must equal bit for bit. Denormals are kept;
// every NaN narrows to one quiet NaN, because JavaScript does not keep the bits of others.
#pragma once

#include <cstdint>
#include <cstring>

namespace figment {

__attribute__((always_inline)) inline float fromBits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
__attribute__((always_inline)) inline uint32_t toBits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

constexpr uint16_t kNanBf16 = 0x7fc0, kNanF16 = 0x7e00;

/// binary32 to bfloat16, to nearest even.
__attribute__((always_inline)) inline uint16_t narrowBf16(uint32_t f) {
  if ((f & 0x7fffffff) > 0x7f800000) return kNanBf16;
  return uint16_t((f + 0x7fff + ((f >> 16) & 1)) >> 16);
}

/// binary16 to binary32 by integer arithmetic; NaN becomes quiet, as the hardware does it.
__attribute__((always_inline)) inline uint32_t widenF16(uint16_t h) {
  const uint32_t sign = uint32_t(h & 0x8000) << 16;
  const uint32_t exponent = (h >> 10) & 31;
  uint32_t mantissa = h & 0x3ff;
  if (exponent == 31)
    return sign | 0x7f800000 | (mantissa << 13) | (mantissa != 0 ? 0x400000u : 0u);
  if (exponent != 0) return sign | ((exponent + 112) << 23) | (mantissa << 13);
  if (mantissa == 0) return sign;
  const int shift = __builtin_clz(mantissa) - 21;
  mantissa = (mantissa << shift) & 0x3ff;
  return sign | (uint32_t(113 - shift) << 23) | (mantissa << 13);
}
/// binary32 to binary16, to nearest even.
__attribute__((always_inline)) inline uint16_t narrowF16(uint32_t f) {
  const uint32_t sign = (f >> 16) & 0x8000;
  const uint32_t magnitude = f & 0x7fffffff;
  if (magnitude > 0x7f800000) return kNanF16;
  if (magnitude >= 0x477ff000) return uint16_t(sign | 0x7c00);  // rounds past 65504
  if (magnitude >= 0x38800000) {                                // normal in binary16
    const uint32_t rebased = magnitude - 0x38000000;
    return uint16_t(sign | ((rebased + 0xfff + ((rebased >> 13) & 1)) >> 13));
  }
  if (magnitude < 0x33000000) return uint16_t(sign);  // below half the least denormal
  const int shift = 126 - int(magnitude >> 23);
  const uint32_t mantissa = (magnitude & 0x7fffff) | 0x800000;
  const uint32_t kept = mantissa >> shift;
  const uint32_t rest = mantissa & ((1u << shift) - 1);
  const uint32_t half = 1u << (shift - 1);
  return uint16_t(sign | (kept + ((rest > half || (rest == half && (kept & 1))) ? 1u : 0u)));
}

}  // namespace figment
