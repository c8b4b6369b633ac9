// What the vectorised variants of the dense ops have in common: their preference, and how scratch
// memory is cut into aligned pieces. Variants are constexpr objects, so that registering them at
// start-up runs no instruction that the machine may lack.
#pragma once

#include "../isa_name.h"

namespace figment::FIGMENT_ISA {

constexpr int kVariantPreference = 10 * (1 + FIGMENT_LEVEL);

/// Variants compute in f32; f64 is the reference's.
inline int supportsF32(const OpCall& call) {
  return call.in[0].format == Format::f32 ? kVariantPreference : -1;
}

/// a·b + c where rounding once or twice does not matter: fused wherever the hardware can.
FIGMENT_INLINE F32 mulAdd(F32 a, F32 b, F32 c) {
#if FIGMENT_LEVEL > 0 || defined(__FP_FAST_FMAF)
  return fma(a, b, c);
#else
  return a * b + c;
#endif
}

/// Floats in whole cache lines, so that pieces of scratch do not share one.
constexpr int64_t alignedFloats(int64_t count) { return (count + 15) & ~int64_t{15}; }
constexpr int64_t ceilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/// Calls f(vector offset, lanes) over [0, count): whole vectors, then the rest.
template <class F>
FIGMENT_INLINE void forLanes(int64_t count, F&& f) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) f(i, kLanes);
  if (i < count) f(i, int(count - i));
}
FIGMENT_INLINE F32 loadLanes(const float* p, int lanes) {
  return lanes == kLanes ? F32::load(p) : F32::loadPartial(p, lanes);
}
FIGMENT_INLINE void storeLanes(float* p, F32 a, int lanes) {
  lanes == kLanes ? a.store(p) : a.storePartial(p, lanes);
}

}  // namespace figment::FIGMENT_ISA
