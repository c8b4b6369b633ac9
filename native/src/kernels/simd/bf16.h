// Runs of numbers rounded to bf16, with the bits of vec.h's storeBf16, by the processor's own
// instruction where it has one. That takes denormals for zeros and keeps what a NaN carries, so
// vectors with either, which are rare, are rounded again.
#pragma once

#include "vec.h"

namespace figment {

/// Whether AVX-512 kernels may use AVX512_BF16.
bool roundsToBf16();

namespace FIGMENT_ISA {

#if FIGMENT_LEVEL == 2
/// Out of line and in terms of plain vectors: the way that is not taken.
__attribute__((noinline, cold)) inline void storeRareBf16(uint16_t* p, __m512 a, __m512 b) {
  storeBf16(p, F32{a}, F32{b});
}

/// Two vectors, one behind the other.
FIGMENT_INLINE void storeBf16ByProcessor(uint16_t* p, F32 a, F32 b) {
  constexpr int kQuietNan = 0x01, kDenormal = 0x20, kSignallingNan = 0x80;
  constexpr int kRare = kQuietNan | kDenormal | kSignallingNan;
  __m512i pairs;
  __asm__("vcvtne2ps2bf16 %1, %2, %0" : "=v"(pairs) : "v"(a.v), "v"(b.v));
  _mm512_storeu_si512(p, pairs);
  const __mmask16 rareA = _mm512_fpclass_ps_mask(a.v, kRare);
  const __mmask16 rareB = _mm512_fpclass_ps_mask(b.v, kRare);
  if (__builtin_expect(!_mm512_kortestz(rareA, rareB), 0)) storeRareBf16(p, a.v, b.v);
}
#endif

/// Writes value(i, lanes), a vector that begins with element i, for the `count` elements of `to`.
template <class Value>
FIGMENT_INLINE void writeBf16(uint16_t* to, int64_t count, Value&& value) {
  int64_t i = 0;
#if FIGMENT_LEVEL == 2
  if (roundsToBf16())
    for (; i + 2 * kLanes <= count; i += 2 * kLanes)
      storeBf16ByProcessor(to + i, value(i, kLanes), value(i + kLanes, kLanes));
#endif
  for (; i + 2 * kLanes <= count; i += 2 * kLanes)
    storeBf16(to + i, value(i, kLanes), value(i + kLanes, kLanes));
  for (; i + kLanes <= count; i += kLanes) storeBf16(to + i, value(i, kLanes));
  if (i < count) storeBf16Partial(to + i, value(i, int(count - i)), int(count - i));
}

/// Rounds floats.
inline void narrowToBf16(uint16_t* to, const float* from, int64_t count) {
  writeBf16(to, count, [&](int64_t i, int lanes) {
    return lanes == kLanes ? F32::load(from + i) : F32::loadPartial(from + i, lanes);
  });
}

}  // namespace FIGMENT_ISA
}  // namespace figment
