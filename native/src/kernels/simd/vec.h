// One SIMD vocabulary for three instruction sets. A kernel is written once over F32, I32, F64 and
// Mask; which registers they are depends on FIGMENT_ISA (generic, avx2, avx512), which the build
// defines per translation unit. Everything lives in `namespace figment::FIGMENT_ISA`, so that no
// two units ever define the same symbol differently.
//
//   F32 / I32   kLanes 32-bit lanes (4, 8, 16);  F64  kLanes / 2 64-bit lanes;  Mask  one bool a
//   lane min, max    second operand when unordered (as x86); minimum, maximum propagate NaN
//   fma(a,b,c)  a*b + c, rounded once;  fnma(a,b,c)  c - a*b, rounded once
//   blend(m,a,b) a where m, b elsewhere
#pragma once

#include <cstddef>
#include <cstdint>

#include "half.h"

#ifndef FIGMENT_ISA
#define FIGMENT_ISA generic
#endif

#define FIGMENT_LEVEL_generic 0
#define FIGMENT_LEVEL_avx2 1
#define FIGMENT_LEVEL_avx512 2
#define FIGMENT_PASTE_(a, b) a##b
#define FIGMENT_PASTE(a, b) FIGMENT_PASTE_(a, b)
/// The instruction set as a number, for #if: 0 generic, 1 avx2, 2 avx512.
#define FIGMENT_LEVEL FIGMENT_PASTE(FIGMENT_LEVEL_, FIGMENT_ISA)

#define FIGMENT_INLINE inline __attribute__((always_inline))

#if FIGMENT_LEVEL == 2
#include "vec_avx512.h"
#elif FIGMENT_LEVEL == 1
#include "vec_avx2.h"
#else
#include "vec_generic.h"
#endif

namespace figment::FIGMENT_ISA {

constexpr int kLanes = F32::kLanes;

FIGMENT_INLINE F32 operator-(F32 a) { return asFloat(asInt(a) ^ I32::broadcast(INT32_MIN)); }
FIGMENT_INLINE F32 abs(F32 a) { return asFloat(asInt(a) & I32::broadcast(INT32_MAX)); }
/// The magnitude of the first with the sign of the second.
FIGMENT_INLINE F32 copysign(F32 magnitude, F32 sign) {
  const I32 bit = I32::broadcast(INT32_MIN);
  return asFloat((asInt(magnitude) & ~bit) | (asInt(sign) & bit));
}
FIGMENT_INLINE F32& operator+=(F32& a, F32 b) { return a = a + b; }
FIGMENT_INLINE F32& operator-=(F32& a, F32 b) { return a = a - b; }
FIGMENT_INLINE F32& operator*=(F32& a, F32 b) { return a = a * b; }
FIGMENT_INLINE I32& operator+=(I32& a, I32 b) { return a = a + b; }
FIGMENT_INLINE F64& operator+=(F64& a, F64 b) { return a = a + b; }

FIGMENT_INLINE I32 interleaveLow(I32 a, I32 b) {
  return asInt(interleaveLow(asFloat(a), asFloat(b)));
}
FIGMENT_INLINE I32 interleaveHigh(I32 a, I32 b) {
  return asInt(interleaveHigh(asFloat(a), asFloat(b)));
}

/// The smaller; NaN when either is NaN.
FIGMENT_INLINE F32 minimum(F32 a, F32 b) { return blend(isNan(a), a, min(a, b)); }
/// The larger; NaN when either is NaN.
FIGMENT_INLINE F32 maximum(F32 a, F32 b) { return blend(isNan(a), a, max(a, b)); }

/// Truncates toward zero, saturates at the ends of i32, and takes NaN to 0.
FIGMENT_INLINE I32 toIntSaturated(F32 a) {
  const F32 two31 = F32::broadcast(2147483648.0f);
  const Mask high = ge(a, two31);
  const Mask low = lt(a, -two31);
  const I32 inside = toIntTrunc(blend(high | low | isNan(a), F32::zero(), a));
  return blend(high, I32::broadcast(INT32_MAX), blend(low, I32::broadcast(INT32_MIN), inside));
}

/// Numbers whose upper halves are those of a rounded to bf16, to nearest even; any NaN becomes the
/// one of half.h.
FIGMENT_INLINE I32 roundToBf16(F32 a) {
  const I32 bits = asInt(a);
  const I32 odd = shr(bits, 16) & I32::broadcast(1);
  return blend(isNan(a), I32::broadcast(int32_t(uint32_t(kNanBf16) << 16)),
               bits + odd + I32::broadcast(0x7fff));
}
/// The same as bits of bf16 in the low halves of the lanes.
FIGMENT_INLINE I32 toBf16Bits(F32 a) { return shr(roundToBf16(a), 16); }
FIGMENT_INLINE F32 loadBf16(const uint16_t* p) { return asFloat(shl(I32::loadU16(p), 16)); }
FIGMENT_INLINE void storeBf16(uint16_t* p, F32 a) { toBf16Bits(a).storeLow16(p); }
/// Two vectors, one behind the other.
FIGMENT_INLINE void storeBf16(uint16_t* p, F32 a, F32 b) {
  storeHigh16(p, roundToBf16(a), roundToBf16(b));
}

FIGMENT_INLINE F32 loadBf16Partial(const uint16_t* p, int count) {
  return asFloat(shl(I32::loadU16Partial(p, count), 16));
}
FIGMENT_INLINE void storeBf16Partial(uint16_t* p, F32 a, int count) {
  uint16_t staged[F32::kLanes];
  storeBf16(staged, a);
  __builtin_memcpy(p, staged, size_t(count) * 2);
}
FIGMENT_INLINE F32 loadF16Partial(const uint16_t* p, int count) {
  uint16_t staged[F32::kLanes] = {};
  __builtin_memcpy(staged, p, size_t(count) * 2);
  return loadF16(staged);
}
FIGMENT_INLINE void storeF16Partial(uint16_t* p, F32 a, int count) {
  uint16_t staged[F32::kLanes];
  storeF16(staged, a);
  __builtin_memcpy(p, staged, size_t(count) * 2);
}

}  // namespace figment::FIGMENT_ISA
